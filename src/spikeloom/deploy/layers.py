"""What each kind of layer is in a program, and which cannot be part of one."""

from collections.abc import Container
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from spikeloom.deploy.record import BY_STEP, NOTHING
from spikeloom.functional import Decay
from spikeloom.functional.coded import Coded, of_index, of_signs
from spikeloom.functional.program import NEURONS, Neurons, Shape, Term, Window
from spikeloom.kernels import operator_of
from spikeloom.layers import (
    LI,
    BatchNorm,
    Neuron,
    NoNorm,
    OverTime,
    ThresholdBatchNorm,
    codes_of,
)
from spikeloom.registry import Unsupported


class Flat:
    """A flattening: what follows sees a vector."""


def stateless(
    name: str, layer: nn.Module, also: tuple[type[nn.Module], ...] = ()
) -> nn.Module | Flat | None:
    """The layer without the wrapper that runs it over time; None for one that does nothing.

    Args:
        name: of the layer.
        layer: as it was called.
        also: layers of images that may stand in the program beside the usual ones.
    Raises:
        Unsupported: a layer that no program has.
    """
    inner = layer.module if type(layer) is OverTime else layer
    if type(inner) is NoNorm and inner.bias is not None:
        return inner
    if type(inner) in NOTHING:
        return None
    if type(inner) is nn.Flatten and (inner.start_dim, inner.end_dim) == (1, -1):
        return Flat()
    plain = (nn.Conv2d, nn.Linear, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, *also)
    if isinstance(inner, plain) and inner is not layer and _ours(inner):
        return inner
    if type(inner) in (BatchNorm, ThresholdBatchNorm, LI) or isinstance(inner, Neuron):
        return inner
    if isinstance(inner, BY_STEP):
        kind = type(inner).__name__
        raise Unsupported(
            f"{name}: {kind} scales each step differently, which folds into no weights"
        )
    raise Unsupported(f"{name}: {type(inner).__name__} has no such form")


def zeros(count: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """A bias of nothing, whatever torch's default dtype and device are."""
    return torch.zeros(count, dtype=dtype, device="cpu")


def _ours(layer: nn.Module) -> bool:
    """Whether a layer computes what its torch class does: it is that, or one of this package."""
    own = parametrize.type_before_parametrizations(layer)  # a transformed weight is a weight
    return own.__module__.startswith(("torch.nn.modules.", "spikeloom.layers."))


def check_axes(
    name: str,
    layer: nn.Module,
    sample: tuple[int, ...],
    also: tuple[type[nn.Module], ...] = (),
) -> None:
    """Raise Unsupported unless a linear layer gets vectors, and what looks at images images."""
    if isinstance(layer, nn.Linear) and len(sample) != 1:
        raise Unsupported(
            f"{name}: maps {layer.in_features} values along the last axis of {sample}; flatten "
            "first"
        )
    images = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, *also)
    if isinstance(layer, images) and len(sample) != 3:
        raise Unsupported(f"{name}: takes images [C, H, W], not samples of shape {sample}")


def kernel(
    name: str,
    layer: nn.Conv2d | nn.Linear,
    source: int,
    shape: Shape,
    *,
    coded: bool = True,
    dtype: torch.dtype = torch.float32,
) -> tuple[Term, Tensor, Shape]:
    """The term of a convolution or linear layer, its bias and the shape that comes out.

    Args:
        name: of the layer.
        layer: what multiplies.
        source: number of the activation that it gets.
        shape: (C, H, W) of it.
        coded: whether weights of one bit and less stay what they are.
    Raises:
        Unsupported: a padding that is not zeros; coded weights in groups.
    """
    sizes, window = _looks(name, layer, shape)
    found = _coded(name, layer, sizes) if coded else None
    weight = None if found else layer.weight.detach().to(dtype, copy=True).view(sizes)
    bias = zeros(sizes[0], dtype)
    if layer.bias is not None:
        bias = layer.bias.detach().to(dtype, copy=True)
    out = (1, 1) if isinstance(layer, nn.Linear) else _seen(window, *shape[1:])
    return Term(source, weight, window, coded=found, name=name), bias, (sizes[0], *out)


def _looks(
    name: str, layer: nn.Conv2d | nn.Linear, shape: Shape
) -> tuple[tuple[int, int, int, int], Window]:
    """(O, C / groups, kh, kw) of the weights, and where they look."""
    if isinstance(layer, nn.Linear):
        return (layer.out_features, *shape), Window(shape[1:])
    if layer.padding_mode != "zeros" or isinstance(layer.padding, str):
        raise Unsupported(
            f"{name}: pads by {layer.padding!r} with {layer.padding_mode}; give numbers of zeros"
        )
    window = Window(
        _pair(layer.kernel_size), _pair(layer.stride), _pair(layer.padding), _pair(layer.dilation)
    )
    return (layer.out_channels, layer.in_channels // layer.groups, *window.kernel), window


def _coded(name: str, layer: nn.Module, sizes: tuple[int, int, int, int]) -> Coded | None:
    """The weights of one bit or less of a layer; None for others."""
    codes = codes_of(layer)
    if codes is None:
        return None
    if isinstance(layer, nn.Conv2d) and layer.groups != 1:
        raise Unsupported(
            f"{name}: weights of one bit or less in {layer.groups} groups have no packed form; "
            "leave them out of the transform with keep"
        )
    if codes.signs is not None:
        return of_signs(codes.signs.view(sizes), codes.scale)
    assert codes.index is not None
    assert codes.codebook is not None
    return of_index(codes.index.flatten(1), codes.codebook, codes.scale, sizes)


def pooling(
    name: str, layer: nn.MaxPool2d | nn.AvgPool2d | nn.AdaptiveAvgPool2d, shape: Shape
) -> Window | None:
    """Where a pooling looks; None if it is no plain window over all of the image.

    Raises:
        Unsupported: a pooling that returns indices too.
    """
    if isinstance(layer, nn.AdaptiveAvgPool2d):
        whole = layer.output_size in (1, (1, 1))
        return Window((shape[1], shape[2]), (shape[1], shape[2])) if whole else None
    window = Window(_pair(layer.kernel_size), _pair(layer.stride), _pair(layer.padding))
    if layer.ceil_mode:
        return None
    if isinstance(layer, nn.MaxPool2d):
        if layer.return_indices:
            raise Unsupported(f"{name}: returns indices beside the values")
        return replace(window, dilation=_pair(layer.dilation))
    plain = layer.count_include_pad or window.padding == (0, 0)
    return window if plain and layer.divisor_override is None else None


def affine(name: str, layer: Any) -> tuple[Tensor, Tensor] | None:
    """Factor and shift of each channel that a norm applies in evaluation; None for no norm."""
    if isinstance(layer, NoNorm) and layer.bias is not None:
        shift = layer.bias.detach().double()
        return torch.ones_like(shift), shift
    if not isinstance(layer, BatchNorm):
        return None
    weight = layer.weight.detach().double()
    if isinstance(layer, ThresholdBatchNorm):
        weight = weight * layer.scale
    scale = weight / torch.sqrt(layer.running_var.double() + layer.eps)
    bias = torch.zeros_like(scale) if layer.bias is None else layer.bias.detach().double()
    return scale, bias - layer.running_mean.double() * scale


def neurons_of(
    name: str,
    layer: Any,
    sample: tuple[int, ...],
    shape: Shape,
    kinds: Container[str] = NEURONS,
    dtype: torch.dtype = torch.float32,
) -> Neurons:
    """The neuron's function with the values it has now.

    Args:
        name: of the layer.
        layer: the neurons.
        sample: [*] of what they get in the model.
        shape: (C, H, W) of the same in the program.
        kinds: functions that may be asked for.
        dtype: of the values.
    Raises:
        Unsupported: it has a forward of its own, a function that programs do not have, or values
            with more axes than a sample.
    """
    if isinstance(layer, LI):
        return Neurons("li", {"decay": _fixed(name, layer.decay.now(), sample, shape, dtype)}, name)
    kind = operator_of(layer.function)
    if kind is None or kind not in kinds:
        raise Unsupported(f"{name}: {type(layer).__name__} neurons have no such form")
    if type(layer).forward is not Neuron.forward:
        raise Unsupported(f"{name}: {type(layer).__name__} has a forward of its own")
    unused = ("surrogate", "detach_reset")
    given = {
        key: value.detach().clone()
        if key == "weight"
        else _fixed(name, value, sample, shape, dtype)
        for key, value in layer.arguments().items()
        if key not in unused
    }
    return Neurons(kind, given, name)


def _fixed(name: str, value: Any, sample: tuple[int, ...], shape: Shape, dtype: torch.dtype) -> Any:
    """The value as it is now: one, or as it is repeated over [C, H, W]."""
    if isinstance(value, Decay):
        return Decay(_fixed(name, value.keep, sample, shape, dtype), value.decay_input)
    if not isinstance(value, Tensor):
        return value
    if value.dim() > len(sample):
        raise Unsupported(f"{name}: a value of shape {tuple(value.shape)} for samples {sample}")
    value = value.detach().clone().to(dtype)
    if value.numel() == 1:
        return value.reshape(())
    if sample == shape:  # one per channel stays small
        return value.reshape((1,) * (len(shape) - value.dim()) + value.shape)
    return value.expand(sample).reshape(shape)


def _pair(value: int | tuple[int, ...]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def _seen(w: Window, height: int, width: int) -> tuple[int, int]:
    sizes = []
    for axis, length in enumerate((height, width)):
        reach = w.dilation[axis] * (w.kernel[axis] - 1) + 1
        sizes.append((length + 2 * w.padding[axis] - reach) // w.stride[axis] + 1)
    return sizes[0], sizes[1]
