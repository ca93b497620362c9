"""From a program of sums to populations and connections.

A sum without neurons is no thing that a chip has: whoever reads it hears all who write to it. Its
terms are followed back to spikes or to the input, and every way becomes a connection.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spikeloom.deploy.layers import pooling
from spikeloom.functional import Decay, token_mixing
from spikeloom.functional.events import (
    Connection,
    EventProgram,
    Hop,
    Mixing,
    Pool,
    Population,
    Weights,
)
from spikeloom.functional.neurons.lif import rest_potential
from spikeloom.functional.program import AnySpike, Count, Neurons, Node, Program, Sum, Term, Window
from spikeloom.layers import TokenMixing
from spikeloom.registry import Unsupported

Constants = Literal["refuse", "fold", "drop"]
Delays = Mapping[str, Tensor]
MULTIPLIED_OUT = 2**23  # weights of a way to the read-out that becomes one map
INFINITE = float("inf")


@dataclass(frozen=True, eq=False)
class Way:
    """From a population, over some hops, with a delay."""

    source: int
    hops: tuple[Hop, ...] = ()
    delay: int = 0


@dataclass(frozen=True, eq=False)
class Current:
    """What is heard at a point of the program: by several ways, and a constant of each step."""

    ways: tuple[Way, ...]
    bias: Tensor


class Wiring:
    """Turns the nodes of a program, one after the other, into populations and connections.

    Args:
        program: in float64.
        constants: what becomes of constants of every step.
        delays: steps on each synapse of a layer, by its name and in the shape of its weight.
    Raises:
        Unsupported: names the layer that cannot run event by event, and why.
        ValueError: delays that fit no layer.
    """

    def __init__(self, program: Program, constants: Constants, delays: Delays) -> None:
        self.program, self.constants = program, constants
        self.delays = dict(delays)
        self.populations: list[Population] = []
        self.connections: list[Connection] = []
        no_constant = torch.zeros(program.shapes[0], dtype=torch.float64)
        self.values = [Current((Way(0),), no_constant)]
        for node in program.nodes:
            self.values.append(self._node(node))
        if self.delays:
            raise ValueError(f"no weights to delay are those of {', '.join(sorted(self.delays))}")

    def program_of_events(self) -> EventProgram:
        """Everything; what comes out without neurons is read out as it is."""
        last = self.program.nodes[-1]
        if not isinstance(last, Sum) or last.neurons is None:
            zero = torch.zeros(last.shape, dtype=torch.float64)
            self._populate(_read_out(last.name, zero, zero + 1), self.values[-1])
        return EventProgram(self.program.in_shape, tuple(self.populations), tuple(self.connections))

    def _node(self, node: Node) -> Current:
        if isinstance(node, Sum):
            return self._sum(node)
        if isinstance(node, AnySpike) or isinstance(getattr(node, "layer", None), nn.MaxPool2d):
            raise Unsupported(f"{node.name}: {MAX_POOLING}")
        if isinstance(node, Count):
            hop = Pool(node.window, self.program.shapes[node.sources[0]], node.shape, node.scale)
            return self._over(hop, *(self.values[source] for source in node.sources))
        source, layer = self.program.shapes[node.source], node.layer
        if isinstance(layer, TokenMixing):
            mixing = Mixing(layer.weight.detach().double(), source)
            return self._weighted(mixing, node.name, self.values[node.source])
        assert isinstance(layer, nn.AvgPool2d | nn.AdaptiveAvgPool2d)
        window = pooling(node.name, layer, source)
        if window is None:
            raise Unsupported(f"{node.name}: averages over windows that are not all alike")
        scale = 1.0 / prod(window.kernel)
        return self._over(Pool(window, source, node.shape, scale), self.values[node.source])

    def _sum(self, node: Sum) -> Current:
        found = [self._term(term, node) for term in node.terms]
        bias = node.bias.double().view(-1, 1, 1) + sum(each.bias for each in found)
        ways = tuple(way for each in found for way in each.ways)
        current = Current(ways, bias.expand(node.shape))
        if node.neurons is None:
            return current
        if node.neurons.kind == "li" and node is not self.program.nodes[-1]:
            raise Unsupported(
                f"{node.neurons.name}: leaky integrators send numbers at every step, not events; "
                "they can only be the read-out"
            )
        self._populate(population(node.neurons, node.shape), current)
        silent = torch.zeros(node.shape, dtype=torch.float64)
        return Current((Way(len(self.populations)),), silent)

    def _term(self, term: Term, node: Sum) -> Current:
        source, shape = self.program.shapes[term.source], node.shape
        if term.weight is None:
            return self._over(Pool(Window(), source, shape), self.values[term.source])
        weight = term.weight.double()
        groups = source[0] // weight.shape[1]
        there = weight.flatten(1).any(1).nonzero().flatten()
        if groups > 1 or not len(there):
            return self._weighted(
                Weights(weight, term.window, source, shape), term.name, self.values[term.source]
            )
        first, end = int(there[0]), int(there[-1]) + 1  # the others are those of a neighbour
        hop = Weights(weight[first:end].contiguous(), term.window, source, shape, first)
        return self._weighted(hop, term.name, self.values[term.source])

    def _weighted(self, hop: Weights | Mixing, name: str, heard: Current) -> Current:
        """Over weights; those with other delays are ways of their own."""
        table = self.delays.pop(name, None)
        if table is None:
            return self._over(hop, heard)
        if table.is_floating_point() or table.numel() != hop.weight.numel() or table.lt(0).any():
            raise ValueError(
                f"{name}: delays are whole steps >= 0, one for each of {hop.weight.numel()} "
                f"weights, got {tuple(table.shape)} {table.dtype}"
            )
        own = table.reshape(hop.weight.shape)
        ways = []
        for delay in own.unique().tolist():
            part = replace(hop, weight=hop.weight * (own == delay))
            ways += [replace(w, delay=w.delay + delay) for w in self._over(part, heard).ways]
        return Current(tuple(ways), self._over(hop, heard).bias)

    def _over(self, hop: Hop, *heard: Current) -> Current:
        plain = isinstance(hop, Pool) and hop.window == Window() and hop.scale == 1
        ways = [
            way if plain and way.hops else replace(way, hops=(*way.hops, hop))
            for each in heard
            for way in each.ways
        ]
        return Current(tuple(ways), through(hop, sum(each.bias for each in heard)))

    def _populate(self, rule: Population, heard: Current) -> None:
        """Add a population that hears this."""
        bias = heard.bias.clone()
        if rule.fires and bias.any():
            if self.constants == "refuse":
                raise Unsupported(
                    f"{rule.name}: its neurons get a constant current in every step, as left by "
                    "folded norms and biases, and an asynchronous chip has no steps; "
                    "constants='fold' gives it to the neurons themselves, constants='drop' leaves "
                    "it out"
                )
            bias = bias.zero_() if self.constants == "drop" else bias
        self.populations.append(replace(rule, bias=bias))
        target = len(self.populations)
        for way in heard.ways:
            hops = way.hops if rule.fires else multiplied_out(way.hops)
            self.connections.append(Connection(way.source, target, hops, way.delay))


MAX_POOLING = (
    "max pooling lets through what came first, so that its result depends on the order of spikes; "
    "train with average pooling or strides"
)


def population(neurons: Neurons, shape: tuple[int, int, int]) -> Population:
    """The rule of neurons; their constant current is added later."""
    given = neurons.arguments
    decay: Decay = given["decay"]
    keep, gain = _each(decay.keep, shape), _each(decay.gain, shape)
    if neurons.kind == "li":
        return _read_out(neurons.name, keep, gain)
    return Population(
        neurons.name, shape, keep, gain, _each(given["v_threshold"], shape),
        torch.zeros(shape, dtype=torch.float64), given["reset"], given["v_reset"],
        rest_potential(given["reset"], given["v_reset"]), given["strict"],
    )  # fmt: skip


def through(hop: Hop, x: Any) -> Tensor:
    """What a hop makes of a constant.

    Shape:
        x [C, H, W] -> [C', H', W']
    """
    x = torch.as_tensor(x)
    if isinstance(hop, Mixing):
        mixed: Tensor = token_mixing(x.flatten(1), hop.weight)
        return mixed.reshape(hop.out_shape)
    w = hop.window
    if isinstance(hop, Pool):
        if w == Window():
            scaled: Tensor = x.reshape(hop.out_shape) * hop.scale
            return scaled
        pooled: Tensor = F.avg_pool2d(x[None], w.kernel, w.stride, w.padding, divisor_override=1)
        return pooled[0] * hop.scale
    groups = hop.in_shape[0] // hop.weight.shape[1]
    y: Tensor = F.conv2d(x[None], hop.weight, None, w.stride, w.padding, w.dilation, groups)[0]
    behind = hop.out_shape[0] - hop.first - len(y)
    return F.pad(y, (0, 0, 0, 0, hop.first, behind))


def multiplied_out(hops: tuple[Hop, ...]) -> tuple[Hop, ...]:
    """A way to few numbers as one map of all neurons, if that is not too large."""
    shape, out = hops[0].in_shape, hops[-1].out_shape
    if len(hops) == 1 or prod(shape) * prod(out) > MULTIPLIED_OUT:
        return hops
    x = torch.zeros(shape, dtype=torch.float64, requires_grad=True)
    y = x
    with torch.enable_grad():
        for hop in hops:
            y = through(hop, y)
    rows = [torch.autograd.grad(each, x, retain_graph=True)[0] for each in y.flatten()]
    as_vector = (prod(out), 1, 1)
    if out != as_vector:
        return hops
    return (Weights(torch.stack(rows), Window(shape[1:]), shape, as_vector),)


def _read_out(name: str, keep: Tensor, gain: Tensor) -> Population:
    never = torch.full_like(keep, INFINITE)
    shape = (keep.shape[0], keep.shape[1], keep.shape[2])
    bias = torch.zeros_like(keep)
    return Population(name, shape, keep, gain, never, bias, reset="none", fires=False)


def _each(value: Any, shape: tuple[int, int, int]) -> Tensor:
    return torch.as_tensor(value, dtype=torch.float64, device="cpu").expand(shape)
