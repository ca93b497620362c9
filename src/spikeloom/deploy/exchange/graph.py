"""A network as nodes and edges, as files of other libraries describe it, made of our layers.

What enters a node is the sum of what its edges bring. An edge that closes a cycle brings what its
source put out one step before, and at the first step what it puts out while all neurons are silent:
nothing, but for the bias of a map. Where ``at_rest`` is false it brings nothing at all then.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from spikeloom.functional.sequence import check_sequence, sequence
from spikeloom.layers import Temporal

INPUT, OUTPUT = "input", "output"
ALONE = "layer"  # the name of a layer that has none
Edge = tuple[str, str]


class Graph(nn.Module):
    """Layers joined by edges; from ``input`` to ``output``, which are names and no layers.

    Without cycles every layer runs once over the whole sequence, with cycles step by step.

    Args:
        layers: by name; each takes and returns a sequence.
        edges: pairs of names, in the order in which what they bring is added up.
        in_shape: [*] of one sample.
        delayed: edges that bring the step before; found by a walk from the input if None.
        at_rest: whether the bias of a map that leads back is there from the first step.
    Shape:
        x_seq [T, N, *in_shape] -> [T, N, *]
    Raises:
        ValueError: an edge to nowhere, the same edge twice, a layer that nothing enters, or a cycle
            without a delayed edge; when called, an input of another shape.
    Example:
        >>> import torch
        >>> from spikeloom.layers import LIF, Linear, OverTime
        >>> layers = {"map": OverTime(Linear(3, 2)), "fire": LIF(), "back": OverTime(Linear(2, 2))}
        >>> edges = [("input", "map"), ("map", "fire"), ("fire", "back"), ("back", "fire")]
        >>> graph = Graph(layers, [*edges, ("fire", "output")], in_shape=(3,))
        >>> graph.delayed, graph(torch.ones(5, 1, 3)).shape
        ((('back', 'fire'),), torch.Size([5, 1, 2]))
    """

    def __init__(
        self,
        layers: Mapping[str, nn.Module],
        edges: Sequence[Edge],
        *,
        in_shape: Sequence[int],
        delayed: Sequence[Edge] | None = None,
        at_rest: bool = True,
    ) -> None:
        super().__init__()
        self.names = tuple(layers)
        self.layers = nn.ModuleList(layers.values())  # a name may hold dots
        self.edges = tuple(edges)
        self.in_shape = tuple(in_shape)
        self.at_rest = at_rest
        _check(self.names, self.edges)
        self.delayed = tuple(closing(self.edges)) if delayed is None else tuple(delayed)
        ahead = [edge for edge in self.edges if edge not in self.delayed]
        self.order = [name for name in sorted_names(ahead) if name != INPUT]
        self.sources = {
            name: [(source, (source, name) in self.delayed) for source, to in edges if to == name]
            for name in (*self.names, OUTPUT)
        }

    def named(self) -> dict[str, nn.Module]:
        """The layers by name."""
        return dict(zip(self.names, self.layers, strict=True))

    def forward(self, x_seq: Tensor) -> Tensor:
        return self.activations(x_seq)[OUTPUT]

    def activations(self, x_seq: Tensor) -> dict[str, Tensor]:
        """What every layer puts out, [T, N, *] each; ``input`` and ``output`` too."""
        check_sequence(x_seq)
        if tuple(x_seq.shape[2:]) != self.in_shape:
            raise ValueError(
                f"the graph was built for samples of shape {self.in_shape} and expects "
                f"[T, N, *{self.in_shape}], got {tuple(x_seq.shape)}"
            )
        return self._by_step(x_seq) if self.delayed else self._whole(x_seq)

    def _whole(self, x_seq: Tensor) -> dict[str, Tensor]:
        layers, values = self.named(), {INPUT: x_seq}
        for name in self.order:
            entering = total(name, [values[source] for source, _ in self.sources[name]])
            values[name] = entering if name == OUTPUT else _put(name, layers[name], entering)
        return values

    def _by_step(self, x_seq: Tensor) -> dict[str, Tensor]:
        layers, states = self.named(), dict.fromkeys(self.names)
        passed: list[dict[str, Tensor]] = []
        silent = self._silent(x_seq[:1]) if self.at_rest else {}
        for x in x_seq.split(1):
            values = {INPUT: x}
            before = passed[-1] if passed else silent
            for name in self.order:
                parts = [(before if late else values).get(s) for s, late in self.sources[name]]
                value = total(name, [part for part in parts if part is not None])
                if name != OUTPUT:
                    layer = layers[name]
                    if isinstance(layer, Temporal):
                        value, states[name] = _put(name, layer.scan, value, states[name])
                    else:
                        value = _put(name, layer, value)
                values[name] = value
            passed.append(values)
        return {name: sequence([values[name][0] for values in passed]) for name in passed[0]}

    def _silent(self, x: Tensor) -> dict[str, Tensor]:
        """What every layer puts out in a step without input in which no neuron fires."""
        layers, values = self.named(), {INPUT: torch.zeros_like(x)}
        for name in self.order:
            parts = [values[s] for s, late in self.sources[name] if not late and s in values]
            if name != OUTPUT and parts:
                value, layer = total(name, parts), layers[name]
                own = isinstance(layer, Temporal)
                values[name] = torch.zeros_like(value) if own else _put(name, layer, value)
        return values


def total(name: str, parts: Sequence[Tensor]) -> Tensor:
    """The sum of what enters a node, from left to right.

    Raises:
        ValueError: it has several shapes.
    """
    value = parts[0]
    for part in parts[1:]:
        if part.shape != value.shape:
            shapes = [tuple(part.shape[2:]) for part in parts]
            raise ValueError(f"{name} gets samples of shapes {shapes}, which do not add up")
        value = value + part
    return value


def _put(name: str, run: Callable[..., Any], value: Tensor, *state: Any) -> Any:
    """What a layer makes of a value; if it cannot take that, the error says which one it is."""
    try:
        return run(value, *state)
    except (RuntimeError, IndexError, ValueError) as error:
        shape = tuple(value.shape[2:])
        raise ValueError(f"{name} cannot take samples of shape {shape}: {error}") from error


def closing(edges: Sequence[Edge]) -> Iterator[Edge]:
    """Edges that lead back to a node on the way from the input to their source."""
    after = _after(edges)
    way: dict[str, Iterator[str]] = {}
    done: set[str] = set()
    for start in (INPUT, *after):
        if start in done:
            continue
        way[start] = iter(after.get(start, ()))
        while way:
            name = next(reversed(way))
            for target in way[name]:
                if target in way:
                    yield name, target
                elif target not in done:
                    way[target] = iter(after.get(target, ()))
                    break
            else:
                done.add(name)
                del way[name]


def sorted_names(edges: Sequence[Edge]) -> list[str]:
    """Every name after those that lead to it.

    Raises:
        ValueError: the edges hold a cycle.
    """
    after = _after(edges)
    waiting = {name: 0 for edge in edges for name in edge}
    for _, target in edges:
        waiting[target] += 1
    ready = [name for name, count in waiting.items() if not count]
    order = []
    while ready:
        name = ready.pop(0)
        order.append(name)
        for target in after.get(name, ()):
            waiting[target] -= 1
            if not waiting[target]:
                ready.append(target)
    if len(order) < len(waiting):
        left = ", ".join(name for name, count in waiting.items() if count)
        raise ValueError(f"a cycle without a delayed edge among {left}")
    return order


def _after(edges: Sequence[Edge]) -> dict[str, list[str]]:
    after: dict[str, list[str]] = {}
    for source, target in edges:
        after.setdefault(source, []).append(target)
    return after


def _check(names: Sequence[str], edges: Sequence[Edge]) -> None:
    known = {*names, INPUT, OUTPUT}
    for edge in edges:
        for name in edge:
            if name not in known:
                raise ValueError(f"the edge {edge} leads to no layer; there are {sorted(known)}")
    if len(set(edges)) != len(edges):
        twice = next(edge for edge in edges if edges.count(edge) > 1)
        raise ValueError(f"the edge {twice} is there twice; scale what it brings by 2 instead")
    entered = {target for _, target in edges}
    if alone := [name for name in (*names, OUTPUT) if name not in entered]:
        raise ValueError(f"nothing enters {', '.join(alone)}")
