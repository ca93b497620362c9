"""How many operations each value that goes into a layer takes part in: exact, edges and all."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import type_before_parametrizations

from spikeloom.layers import TokenMixing

MAPS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, TokenMixing)
AVERAGES = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
MAXIMA = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
ADAPTIVE = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)
POOLS = (*AVERAGES, *MAXIMA, *ADAPTIVE)


def fan_out(layer: nn.Module, shape: tuple[int, ...], *, every: bool = False) -> Tensor:
    """For each input of one sample, the number of weights that are not zero it is multiplied by.

    A map with weights of zeros and ones is linear, so this is its adjoint, applied to ones:
    padding, stride, groups and dilation are in it whatever they are.

    Args:
        layer: one of ``MAPS``.
        shape: of one sample.
        every: count weights that are zero, too.
    Shape:
        [*shape]
    Example:
        >>> fan_out(nn.Conv1d(1, 2, 3, padding=1), (1, 4)).tolist()
        [[4.0, 6.0, 6.0, 4.0]]
    """
    ones = _of_ones(layer, every)
    x = torch.zeros(1, *shape, device=weights_of(layer).device, requires_grad=True)
    with torch.enable_grad(), torch.autocast(x.device.type, enabled=False):
        (found,) = torch.autograd.grad(ones(x).sum(), x)
    return found[0].double()


def windows(layer: nn.Module, shape: tuple[int, ...]) -> Tensor:
    """For each input of one sample, the number of a pooling's windows it lies in.

    Args:
        layer: one of ``POOLS``.
        shape: of one sample.
    Shape:
        [*shape]
    """
    axes = len(shape) - 1
    if isinstance(layer, ADAPTIVE):
        sizes = _each(layer.output_size, axes)
        along = [_bins(n, size) for n, size in zip(shape[1:], sizes, strict=True)]
    else:
        assert isinstance(layer, (*AVERAGES, *MAXIMA))
        dilation = _each(getattr(layer, "dilation", 1), axes)
        kernel, stride, padding = (
            _each(getattr(layer, name), axes) for name in ("kernel_size", "stride", "padding")
        )
        along = [
            _places(*each, layer.ceil_mode)
            for each in zip(shape[1:], kernel, stride, padding, dilation, strict=True)
        ]
    counts = torch.ones((), dtype=torch.float64)
    for axis in along:
        counts = counts[..., None] * axis
    return counts.expand(shape)


def weights_of(layer: nn.Module) -> Tensor:
    """The weights of a map, as it computes with them."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return weight.detach()


def with_weights(layer: nn.Module, weight: Tensor, bias: Tensor | None) -> nn.Module:
    """A map like this one but with these weights, without hooks, and without a transform of them.

    Args:
        layer: one of ``MAPS``.
        weight: what it computes with.
        bias: likewise.
    """
    kind: Any = type_before_parametrizations(layer)
    twin: nn.Module = object.__new__(kind)
    nn.Module.__init__(twin)
    twin.__dict__ |= {key: value for key, value in vars(layer).items() if key not in vars(twin)}
    twin.register_parameter("weight", nn.Parameter(weight, requires_grad=False))
    if "bias" in layer._parameters:
        kept = None if bias is None else nn.Parameter(bias, requires_grad=False)
        twin.register_parameter("bias", kept)
    return twin.train(layer.training)


def _of_ones(layer: nn.Module, every: bool) -> nn.Module:
    weight = weights_of(layer)
    there = torch.ones_like(weight) if every else (weight != 0)
    return with_weights(layer, there.float(), None)


def _each(value: Any, axes: int) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,) * axes


def _bins(length: int, size: int | None) -> Tensor:
    """Along one axis: how many of an adaptive pooling's windows hold each place."""
    count = torch.zeros(length, dtype=torch.float64)
    size = length if size is None else size
    for at in range(size):
        count[at * length // size : -(-(at + 1) * length // size)] += 1
    return count


def _places(
    length: int, kernel: int, stride: int, padding: int, dilation: int, ceil: bool
) -> Tensor:
    """Along one axis: how many windows look at each place."""
    span = length + 2 * padding - dilation * (kernel - 1) - 1
    last = -(-span // stride) if ceil else span // stride
    if ceil and last * stride >= length + padding:
        last -= 1  # a window that would start in the padding behind the end is left out
    count = torch.zeros(length, dtype=torch.float64)
    for start in range(-padding, last * stride - padding + 1, stride):
        for tap in range(kernel):
            place = start + tap * dilation
            if 0 <= place < length:
                count[place] += 1
    return count


__all__ = ["MAPS", "POOLS", "fan_out", "weights_of", "windows", "with_weights"]
