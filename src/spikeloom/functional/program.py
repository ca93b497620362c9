"""A trained network as a program: sums of spikes, neurons, counts. What ``deploy`` makes of one.

Activations are numbered: 0 is the input, node i computes number i + 1. Each has a shape (C, H, W);
vectors are (C, 1, 1). A linear layer behind a flattening is a convolution whose kernel is the
image.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from spikeloom.functional.coded import Coded
from spikeloom.functional.neurons import alif, cuba_lif, li, lif
from spikeloom.functional.sequence import check_sequence

Pair = tuple[int, int]
Shape = tuple[int, int, int]

EXACT = 2**24  # float32 holds the integers below it

NEURONS: dict[str, Callable[..., tuple[Tensor, Any]]] = {
    "lif": lif,
    "alif": alif,
    "cuba_lif": cuba_lif,
    "li": li,
}


@dataclass(frozen=True)
class Window:
    """Where a convolution or pooling looks."""

    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)


@dataclass(frozen=True, eq=False)
class Term:
    """A part of a sum: an activation times weights [O, C / groups, *kernel]; as it is without them.

    ``coded`` weights may stand in the place of ``weight``; the activation is then spikes or counts
    of them. ``dense`` and ``density`` are the plan: whether the product runs on all values instead
    of set bits, and the share of bits that were set in the sample. ``name``: of the layer whose
    weights they are.
    """

    source: int
    weight: Tensor | None = None
    window: Window = Window()
    dense: bool = False
    density: float = 1.0
    coded: Coded | None = None
    name: str = ""

    @property
    def sizes(self) -> tuple[int, int, int, int] | None:
        """(O, C / groups, *kernel) of the weights; None without them."""
        if self.coded is not None:
            return self.coded.shape
        if self.weight is None:
            return None
        outputs, inputs, height, width = self.weight.shape
        return outputs, inputs, height, width


@dataclass(frozen=True, eq=False)
class Neurons:
    """A neuron's function, its arguments and its layer's name; values per neuron have C first."""

    kind: str
    arguments: Mapping[str, Any]
    name: str = ""


@dataclass(frozen=True, eq=False)
class Sum:
    """neuron(bias + terms); without a neuron the sum itself."""

    name: str
    shape: Shape
    terms: tuple[Term, ...]
    bias: Tensor
    neurons: Neurons | None = None


@dataclass(frozen=True, eq=False)
class Count:
    """``scale`` times what all sources have in a window: average pooling, and adding up spikes."""

    name: str
    shape: Shape
    sources: tuple[int, ...]
    window: Window = Window()
    scale: float = 1.0


@dataclass(frozen=True, eq=False)
class AnySpike:
    """Whether a source has a spike in the window: max-pooling of spikes."""

    name: str
    shape: Shape
    source: int
    window: Window


@dataclass(frozen=True, eq=False)
class Other:
    """Any layer without state, run as it is on real values [M, C, H, W]."""

    name: str
    shape: Shape
    source: int
    layer: Callable[[Tensor], Tensor]


Node = Sum | Count | AnySpike | Other


@dataclass(frozen=True, eq=False)
class Program:
    """Nodes in the order of their computation; the last one's activation comes out.

    ``flat``: the output is [T, N, C], not [T, N, C, H, W]. ``steps``: the only T it is right for.
    """

    in_shape: tuple[int, ...]
    nodes: tuple[Node, ...]
    flat: bool = True
    steps: int | None = None
    scales: tuple[float, ...] = field(init=False)
    levels: tuple[int | None, ...] = field(init=False)

    def __post_init__(self) -> None:
        scales: list[float] = [1.0]
        levels: list[int | None] = [None]
        for node in self.nodes:
            _check_coded(node, levels)
            scale, level = _range(node, scales, levels)
            scales.append(scale)
            levels.append(level)
        object.__setattr__(self, "scales", tuple(scales))
        object.__setattr__(self, "levels", tuple(levels))

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """(C, H, W) of every activation."""
        return (image_shape(self.in_shape), *(node.shape for node in self.nodes))


def image_shape(shape: tuple[int, ...]) -> Shape:
    """The shape of a sample as (C, H, W): what is no image is a vector."""
    if len(shape) == 3:
        return shape[0], shape[1], shape[2]
    count = 1
    for length in shape:
        count *= length
    return count, 1, 1


def _range(node: Node, scales: list[float], levels: list[int | None]) -> tuple[float, int | None]:
    """An activation's values are scale times 0 ... level; level None: real values."""
    if isinstance(node, Sum) and node.neurons is not None and node.neurons.kind != "li":
        return 1.0, 1
    if isinstance(node, AnySpike):
        return scales[node.source], 1
    if isinstance(node, Count):
        taps = node.window.kernel[0] * node.window.kernel[1]
        return node.scale * scales[node.sources[0]], taps * sum(
            levels[s] or 0 for s in node.sources
        )
    return 1.0, None


def _check_coded(node: Node, levels: list[int | None]) -> None:
    """Raise ValueError unless coded weights meet counts whose sums float32 holds exactly."""
    for term in node.terms if isinstance(node, Sum) else ():
        if term.coded is None:
            continue
        level = levels[term.source]
        if level is None:
            raise ValueError(
                f"{node.name}: coded weights count spikes, and get real values from activation "
                f"{term.source}"
            )
        if term.coded.fan_in * level >= EXACT:
            raise ValueError(
                f"{node.name}: sums of {term.coded.fan_in} counts up to {level} are too large for "
                f"float32 to hold exactly; expected below {EXACT} in all"
            )


def run_program(program: Program, x_seq: Tensor) -> Tensor:
    """Run a program on dense tensors.

    Shape:
        x_seq [T, N, *in_shape] -> [T, N, C], or [T, N, C, H, W] if the program is not flat

    Raises:
        ValueError: the input does not fit.
    """
    out = x_seq
    for out in activations(program, x_seq):  # noqa: B007 the last one
        pass
    return out.flatten(2) if program.flat else out


def activations(program: Program, x_seq: Tensor) -> Iterator[Tensor]:
    """The activation of every node, [T, N, C, H, W] each."""
    check_input(program, x_seq)
    T, N = x_seq.shape[:2]
    acts = [x_seq.reshape(T * N, *program.shapes[0]).float()]
    for node in program.nodes:
        acts.append(_value(node, acts, (T, N)))
        yield acts[-1].unflatten(0, (T, N))


def check_input(program: Program, x_seq: Tensor) -> None:
    """Raise ValueError unless the input fits the program."""
    check_sequence(x_seq)
    if tuple(x_seq.shape[2:]) != program.in_shape or x_seq.shape[0] * x_seq.shape[1] == 0:
        raise ValueError(
            f"the network was built for samples of shape {program.in_shape} and expects "
            f"[T, N, {', '.join(map(str, program.in_shape))}] with T and N >= 1, got "
            f"{tuple(x_seq.shape)}"
        )
    if program.steps is not None and x_seq.shape[0] != program.steps:
        raise ValueError(
            f"the thresholds of this network are those of T = {program.steps}, got an input of "
            f"T = {x_seq.shape[0]}"
        )


def _value(node: Node, acts: list[Tensor], sizes: Pair) -> Tensor:
    if isinstance(node, Sum):
        return _sum(node, acts, sizes)
    if isinstance(node, Other):
        return node.layer(acts[node.source])
    w = node.window
    if isinstance(node, AnySpike):
        return F.max_pool2d(acts[node.source], w.kernel, w.stride, w.padding, w.dilation)
    total = acts[node.sources[0]]
    for source in node.sources[1:]:
        total = total + acts[source]
    if w == Window():
        return total
    return F.avg_pool2d(total, w.kernel, w.stride, w.padding, divisor_override=1) * node.scale


def _sum(node: Sum, acts: list[Tensor], sizes: Pair) -> Tensor:
    x = node.bias.view(-1, 1, 1)
    for term in node.terms:
        x = x + weighted(term, acts[term.source])
    if node.neurons is None:
        return x
    function = NEURONS[node.neurons.kind]
    return function(x.unflatten(0, sizes), **node.neurons.arguments)[0].flatten(0, 1)


def weighted(term: Term, x: Tensor) -> Tensor:
    """The term's part of the sum; with coded weights the scale comes after an exact sum.

    Shape:
        x [M, C, H, W] -> [M, O, H', W']
    """
    w = term.window
    if term.coded is not None:
        signs = term.coded.signs().float()
        y = F.conv2d(x, signs, None, w.stride, w.padding, w.dilation)
        return y * term.coded.scale.view(-1, 1, 1)
    if term.weight is None:
        return x
    groups = x.shape[1] // term.weight.shape[1]
    return F.conv2d(x, term.weight, None, w.stride, w.padding, w.dilation, groups)


def bits_set(x_seq: Tensor, scale: float, level: int) -> float:
    """Set bits for each element of a sequence of values scale times 0 ... level."""
    counts = torch.round(x_seq / scale).to(torch.int32)
    total = 0
    for plane in range(level.bit_length()):
        total += int(((counts >> plane) & 1).sum())
    return total / x_seq.numel()
