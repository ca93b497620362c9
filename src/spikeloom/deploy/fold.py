"""From the steps of a model to a program: norms fold into weights, shortcuts into sums.

A value is an activation, or a sum that is still open: terms and a bias, to which a norm, an
addition or a neuron may yet be applied.
"""

from collections import Counter
from collections.abc import Container
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spikeloom.deploy.layers import (
    Flat,
    affine,
    check_axes,
    kernel,
    neurons_of,
    pooling,
    stateless,
    zeros,
)
from spikeloom.deploy.record import Joined, Step
from spikeloom.functional.program import (
    NEURONS,
    AnySpike,
    Count,
    Node,
    Other,
    Program,
    Shape,
    Sum,
    Term,
    image_shape,
)
from spikeloom.registry import Unsupported


@dataclass(frozen=True)
class Open:
    """A sum that is not computed yet."""

    name: str
    shape: Shape
    terms: tuple[Term, ...]
    bias: Tensor


Value = int | Open


class Folder:
    """Turns steps into nodes, one after the other.

    Args:
        in_shape: of a sample.
        steps: what the model does.
        out: number of the value that comes out.
        kinds: of neurons that may be part of it.
        also: layers of images without state that may be, too, and are run as they are.
        coded: whether weights of one bit and less stay what they are; else they become floats.
        dtype: of weights and numbers.
    """

    def __init__(
        self,
        in_shape: tuple[int, ...],
        steps: list[Step],
        out: int,
        kinds: Container[str] = NEURONS,
        *,
        also: tuple[type[nn.Module], ...] = (),
        coded: bool = True,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.in_shape, self.kinds, self.also = in_shape, kinds, also
        self.coded, self.dtype = coded, dtype
        self.nodes: list[Node] = []
        self.values: dict[int, Value] = {0: 0}
        self.samples = {0: in_shape} | {step.out: step.shape for step in steps}  # in the model
        self.uses = Counter(number for step in steps for number in step.inputs)
        self.uses[out] += 1
        for step in steps:
            self.values[step.out] = self._apply(step)
        self.nodes = self.nodes[: self._close(out)]  # what nothing that comes out depends on
        self.out_shape = self.samples[out]

    def program(self) -> Program:
        """The nodes as a program.

        Raises:
            Unsupported: the network computes nothing, or neither vectors nor images.
        """
        if not self.nodes:
            raise Unsupported("the network has no layer that computes anything")
        if len(self.out_shape) not in (1, 3):
            raise Unsupported(
                f"the network returns samples of shape {self.out_shape}, expected vectors [K] or "
                "images [C, H, W]; end it with a flattening"
            )
        return Program(self.in_shape, tuple(self.nodes), len(self.out_shape) == 1)

    def _so_far(self) -> Program:
        return Program(self.in_shape, tuple(self.nodes))

    def _apply(self, step: Step) -> Value:
        if step.layer is None:
            return self._add(step)
        if isinstance(step.layer, Joined):
            return self._join(step)
        (number,) = step.inputs
        layer = stateless(step.name, step.layer, self.also)
        if layer is None:
            return self.values[number]
        if isinstance(layer, Flat):
            return self._close(number)
        check_axes(step.name, layer, self.samples[number], self.also)
        if isinstance(layer, nn.Conv2d | nn.Linear):
            return self._multiply(step, layer, self._close(number))
        if isinstance(layer, nn.MaxPool2d | nn.AvgPool2d | nn.AdaptiveAvgPool2d):
            return self._pool(step, layer, self._close(number))
        if isinstance(layer, self.also):
            source = self._close(number)
            return self._append(Other(step.name, image_shape(step.shape), source, layer))
        if scaled := affine(step.name, layer):
            return self._scale(step, scaled, number)
        return self._fire(step, layer, number)

    def _shape(self, index: int) -> Shape:
        return self.nodes[index - 1].shape if index else image_shape(self.in_shape)

    def _append(self, node: Node) -> int:
        self.nodes.append(node)
        return len(self.nodes)

    def _close(self, number: int) -> int:
        """The activation with a value, computed if it is still an open sum."""
        value = self.values[number]
        if isinstance(value, Open):
            value = self._append(Sum(value.name, value.shape, value.terms, value.bias))
            self.values[number] = value
        return value

    def _open(self, name: str, number: int) -> Open:
        """The value as a sum to go on with; one that is used elsewhere too is computed once."""
        value = self.values[number]
        if isinstance(value, Open) and self.uses[number] == 1:
            return value
        source = self._close(number)
        shape = self._shape(source)
        return Open(name, shape, (Term(source),), zeros(shape[0], self.dtype))

    def _multiply(self, step: Step, layer: nn.Conv2d | nn.Linear, source: int) -> Open:
        term, bias, shape = kernel(
            step.name, layer, source, self._shape(source), coded=self.coded, dtype=self.dtype
        )
        if term.coded is not None and self._so_far().levels[source] is None:
            raise Unsupported(
                f"{step.name}: weights of one bit or less count spikes, and this layer gets real "
                "values; keep it as it is in training, with its name among the transform's keep"
            )
        return Open(step.name, shape, (term,), bias)

    def _scale(self, step: Step, scaled: tuple[Tensor, Tensor], number: int) -> Open:
        scale, shift = scaled
        value = self._open(step.name, number)
        if len(scale) != value.shape[0]:
            raise Unsupported(f"{step.name}: normalises {len(scale)} channels of {value.shape}")
        terms = tuple(_scaled(term, scale, self.dtype) for term in value.terms)
        bias = value.bias.double() * scale + shift
        return replace(value, terms=terms, bias=bias.to(self.dtype))

    def _add(self, step: Step) -> Value:
        left, right = (self.values[number] for number in step.inputs)
        self._check_same(step, left, right)
        if isinstance(left, int) and isinstance(right, int):
            so_far = self._so_far()
            same = so_far.scales[left] == so_far.scales[right]
            if same and None not in (so_far.levels[left], so_far.levels[right]):
                return self._append(Count(step.name, self._shape(left), (left, right)))
        parts = [self._open(step.name, number) for number in step.inputs]
        terms = (*parts[0].terms, *parts[1].terms)
        return Open(step.name, parts[0].shape, terms, parts[0].bias + parts[1].bias)

    def _join(self, step: Step) -> Open:
        """Channels side by side: each value adds to channels of its own."""
        parts = [self._open(step.name, number) for number in step.inputs]
        total = sum(part.shape[0] for part in parts)
        terms, first = [], 0
        for part in parts:
            for term in part.terms:
                channels = self._shape(term.source)[0]
                terms.append(_placed(term, channels, first, total, self.dtype))
            first += part.shape[0]
        bias = torch.cat([part.bias for part in parts])
        return Open(step.name, (total, *parts[0].shape[1:]), tuple(terms), bias)

    def _check_same(self, step: Step, *values: Value) -> None:
        """Both sides of an addition have one shape, in the model and in the program."""
        samples = [self.samples[number] for number in step.inputs]
        shapes = [self._shape(v) if isinstance(v, int) else v.shape for v in values]
        for one, other in (samples, shapes):
            if one != other:
                raise Unsupported(f"{step.name}: adds {one} and {other}; both must have one shape")

    def _pool(
        self, step: Step, layer: nn.MaxPool2d | nn.AvgPool2d | nn.AdaptiveAvgPool2d, source: int
    ) -> int:
        shape = image_shape(step.shape)
        level = self._so_far().levels[source]
        window = pooling(step.name, layer, self._shape(source))
        if level is None or window is None or (level > 1 and isinstance(layer, nn.MaxPool2d)):
            return self._append(Other(step.name, shape, source, layer))
        if isinstance(layer, nn.MaxPool2d):
            return self._append(AnySpike(step.name, shape, source, window))
        scale = 1.0 / (window.kernel[0] * window.kernel[1])
        return self._append(Count(step.name, shape, (source,), window, scale))

    def _fire(self, step: Step, layer: nn.Module, number: int) -> int:
        value = self._open(step.name, number)
        neurons = neurons_of(
            step.name, layer, self.samples[number], value.shape, self.kinds, self.dtype
        )
        return self._append(Sum(value.name, value.shape, value.terms, value.bias, neurons))


def _scaled(term: Term, scale: Tensor, dtype: torch.dtype) -> Term:
    """The term with a factor on each output channel."""
    if term.coded is not None:
        coded = replace(term.coded, scale=(term.coded.scale.double() * scale).float())
        return replace(term, coded=coded)
    if term.weight is None:
        return replace(term, weight=scale.to(dtype).view(-1, 1, 1, 1))  # a group for each channel
    weight = term.weight.double() * scale.view(-1, 1, 1, 1)
    return replace(term, weight=weight.to(dtype))


def _placed(term: Term, channels: int, first: int, total: int, dtype: torch.dtype) -> Term:
    """The term, of a source with so many channels, as a part of ``total`` channels."""
    if term.coded is not None:
        raise Unsupported(
            f"{term.name}: weights of one bit or less whose outputs are put beside others have no "
            "packed form; leave this layer out of the transform with keep"
        )
    weight = torch.ones(channels, 1, 1, 1, dtype=dtype) if term.weight is None else term.weight
    groups = channels // weight.shape[1]
    if groups > 1 and len(weight) == groups:  # a kernel for each channel
        weight = weight[:, 0].permute(1, 2, 0).diag_embed().permute(2, 3, 0, 1)
    elif groups > 1:
        raise Unsupported(f"{term.name}: puts channels of a grouped convolution beside others")
    behind = total - first - len(weight)
    return replace(term, weight=F.pad(weight, (0, 0, 0, 0, 0, 0, first, behind)))
