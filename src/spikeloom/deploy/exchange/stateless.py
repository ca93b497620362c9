"""Layers without dynamics as nodes of NIR, and back."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from spikeloom.deploy.exchange.arrays import as_tensor, full
from spikeloom.deploy.exchange.pieces import Delay, Heaviside, Scale
from spikeloom.deploy.exchange.primitives import PRIMITIVES
from spikeloom.layers import Linear, OverTime
from spikeloom.registry import Unsupported

Shape = tuple[int, ...]


def stateless_node(name: str, layer: nn.Module, before: Shape, dt: float, nir: Any) -> Any:
    """The node of a layer without dynamics, or of a delay.

    Args:
        name: of the layer, for errors.
        layer: what it is.
        before: [*] of one sample that enters.
        dt: length of a step [s].
        nir: the package.
    Raises:
        Unsupported: no primitive does what the layer does.
    """
    inner = layer.module if isinstance(layer, OverTime) else layer
    if isinstance(inner, nn.Linear):
        weight = _array(inner.weight)
        if len(before) != 1:
            raise Unsupported(f"{name}: a linear map of samples {before}; flatten first")
        return nir.Linear(weight) if inner.bias is None else nir.Affine(weight, _array(inner.bias))
    if isinstance(inner, nn.Conv1d | nn.Conv2d):
        return _conv_node(name, inner, before, nir)
    if isinstance(inner, nn.AvgPool2d):
        return _pool_node(name, inner, nir)
    if isinstance(inner, nn.Flatten) and inner.start_dim > 0:
        end = inner.end_dim - 1 if inner.end_dim > 0 else inner.end_dim
        return nir.Flatten({"input": np.array(before)}, inner.start_dim - 1, end)
    if isinstance(inner, Scale) and inner.shift is None:
        return nir.Scale(full(inner.scale, before).astype(np.float32))
    if isinstance(inner, Heaviside):
        return nir.Threshold(full(inner.threshold, before).astype(np.float32))
    if isinstance(inner, Delay):
        return nir.Delay(full(inner.lag.double(), before) * dt)
    raise Unsupported(f"{name}: no primitive of NIR does what {type(inner).__name__} does")


def layer_from(name: str, node: Any, dt: float | None) -> nn.Module:
    """The layer of a node without dynamics, or of a delay.

    Raises:
        Unsupported: a primitive that is not known, or a delay without a dt.
    """
    match type(node).__name__:
        case "Linear" | "Affine":
            return _linear(name, node)
        case "Conv1d" | "Conv2d":
            return _conv(node)
        case "AvgPool2d":
            return OverTime(nn.AvgPool2d(*_window(node)))
        case "SumPool2d":
            kernel, stride, padding = _window(node)
            return OverTime(nn.AvgPool2d(kernel, stride, padding, divisor_override=1))
        case "Flatten":
            start, end = int(node.start_dim), int(node.end_dim)
            return OverTime(
                nn.Flatten(start + 1 if start >= 0 else start, end + 1 if end >= 0 else end)
            )
        case "Scale":
            return Scale(as_tensor(node.scale))
        case "Threshold":
            return Heaviside(as_tensor(node.threshold))
        case "Delay":
            return _delay(name, node, dt)
        case "Identity":
            return nn.Identity()
        case kind:
            raise Unsupported(
                f"{name}: a node of type {kind}, which is not known here; known are "
                f"{', '.join(PRIMITIVES)}"
            )


def checkable(node: Any) -> bool:
    """Whether the type check of nir 1.0.8 gets the node right: no groups, square kernels."""
    if type(node).__name__ == "Conv1d":
        return int(node.groups) == 1
    if type(node).__name__ == "Conv2d":
        return int(node.groups) == 1 and node.weight.shape[2] == node.weight.shape[3]
    return True


def _conv_node(name: str, conv: nn.Conv1d | nn.Conv2d, before: Shape, nir: Any) -> Any:
    if conv.padding_mode != "zeros":
        raise Unsupported(f"{name}: pads with {conv.padding_mode}, nodes pad with zeros")
    weight = _array(conv.weight)
    bias = np.zeros(len(weight), weight.dtype) if conv.bias is None else _array(conv.bias)
    pairs = {"stride": conv.stride, "padding": conv.padding, "dilation": conv.dilation}
    if isinstance(conv, nn.Conv1d):
        one = {key: pair if isinstance(pair, str) else int(pair[0]) for key, pair in pairs.items()}
        return nir.Conv1d(before[-1], weight, groups=conv.groups, bias=bias, **one)
    return nir.Conv2d(tuple(before[-2:]), weight, groups=conv.groups, bias=bias, **pairs)


def _pool_node(name: str, pool: nn.AvgPool2d, nir: Any) -> Any:
    sizes = [
        np.broadcast_to(np.asarray(size), 2).copy()
        for size in (pool.kernel_size, pool.stride, pool.padding)
    ]
    odd = pool.ceil_mode or (sizes[2].any() and not pool.count_include_pad)
    if odd or pool.divisor_override not in (None, 1):
        raise Unsupported(f"{name}: nodes sum or average whole windows, padding counted; {pool}")
    return (nir.AvgPool2d if pool.divisor_override is None else nir.SumPool2d)(*sizes)


def _linear(name: str, node: Any) -> nn.Module:
    if node.weight.ndim != 2:
        raise Unsupported(f"{name}: a weight of shape {node.weight.shape}, expected [out, in]")
    bias = getattr(node, "bias", None)
    layer = Linear(node.weight.shape[1], node.weight.shape[0], bias=bias is not None)
    return OverTime(_filled(layer, node.weight, bias))


def _conv(node: Any) -> nn.Module:
    kind = {3: nn.Conv1d, 4: nn.Conv2d}[node.weight.ndim]
    sizes = node.weight.shape
    groups, bias = int(node.groups), np.asarray(node.bias)
    padding = node.padding if isinstance(node.padding, str) else _ints(node.padding)
    layer: Any = kind(
        sizes[1] * groups, sizes[0], sizes[2:], _ints(node.stride), padding,
        _ints(node.dilation), groups, bool(bias.any()),
    )  # fmt: skip
    return OverTime(_filled(layer, node.weight, bias if bias.any() else None))


def _window(node: Any) -> list[Any]:
    return [_ints(part) for part in (node.kernel_size, node.stride, node.padding)]


def _delay(name: str, node: Any, dt: float | None) -> nn.Module:
    if dt is None:
        raise Unsupported(f"{name}: a delay of seconds, and no dt says how long a step is; give dt")
    lag = np.asarray(node.delay, dtype=np.float64) / dt
    if not np.allclose(lag, np.round(lag), atol=1e-3) or (lag < 0).any():
        raise Unsupported(
            f"{name}: delays of {lag.min():g} to {lag.max():g} steps of {dt:g} s; they must be "
            "whole and >= 0"
        )
    return Delay(torch.from_numpy(np.round(lag)))


def _filled(layer: Any, weight: Any, bias: Any) -> nn.Module:
    layer.weight.data = as_tensor(weight)
    if bias is not None:
        layer.bias.data = as_tensor(bias)
    module: nn.Module = layer
    return module


def _array(parameter: Tensor) -> Any:
    return parameter.detach().cpu().numpy()


def _ints(value: Any) -> Any:
    array = np.asarray(value)
    return int(array) if array.ndim == 0 else tuple(int(part) for part in array)
