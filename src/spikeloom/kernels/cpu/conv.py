"""A convolution that keeps spikes as bits for its backward: 1 bit an element, not 32 or 16."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from spikeloom.functional.images import Pair
from spikeloom.kernels.cpu import bits, native
from spikeloom.kernels.cpu.neurons import watched
from spikeloom.kernels.cpu.ops import only_first, plain
from spikeloom.kernels.setting import current

LARGE = 1 << 16  # elements from which on packing is worth its calls


class Shape(NamedTuple):
    """What ``aten::convolution`` is told besides tensors."""

    stride: Pair
    padding: Pair
    dilation: Pair
    groups: int


def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> Tensor:
    """:func:`spikeloom.functional.conv2d`; keeps an input of zeros and ones as bits."""
    if not _worthwhile(x, weight):
        return F.conv2d(x, weight, bias, stride, padding, dilation, groups)
    if torch.is_autocast_enabled("cpu"):
        # Here, where autograd sees it: the cast inside the function would not.
        dtype = torch.get_autocast_dtype("cpu")
        x, weight = x.to(dtype), weight.to(dtype)
        bias = None if bias is None else bias.to(dtype)
    y: Tensor = SpikeConv.apply(x, weight, bias, Shape(stride, padding, dilation, groups))  # type: ignore[no-untyped-call]
    return y


def objections(x: Tensor, weight: Tensor, *given: Any, **options: Any) -> Iterator[str]:
    """Why the twin cannot serve a call; nothing if it can."""
    if native.OPENED is None:
        yield native.PROBLEM
    if x.device.type != "cpu":
        yield f"x is on {x.device}, not on the CPU"
    if x.layout != torch.strided:
        yield f"x is {x.layout}, not strided"
    if x.dtype not in bits.DTYPES:
        yield f"x is {x.dtype}, not float32 or bfloat16"
    if torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") not in bits.DTYPES:
        yield f"autocast to {torch.get_autocast_dtype('cpu')} is on"
    if x.dim() != 4:
        yield f"x has shape {tuple(x.shape)}, which is not [N, C, H, W]"
    if not torch.compiler.is_compiling():
        yield from watched()


def _worthwhile(x: Tensor, weight: Tensor) -> bool:
    """Whether the input would be kept for the gradient of the weight, and may be packed.

    A compiler sees the plain convolution: what is kept is then its choice.
    """
    return (
        torch.is_grad_enabled()
        and weight.requires_grad
        and current().memory != "off"
        and x.numel() >= LARGE
        and not torch.compiler.is_compiling()
        and plain(x)
        and bits.packable(x)
    )


class SpikeConv(torch.autograd.Function):
    """A convolution whose input is packed if it holds nothing but zeros and ones."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, shape: Shape) -> Tensor:
        words = bits.pack(x)
        ctx.shape, ctx.packed = shape, words is not None
        ctx.layout = x.shape, x.stride(), x.dtype
        ctx.biased = None if bias is None else list(bias.shape)
        ctx.save_for_backward(x if words is None else words, weight)
        return F.conv2d(x, weight, bias, *shape)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        only_first("the packed convolution", *grads)
        x, weight = ctx.saved_tensors
        if ctx.packed:
            x = bits.unpack(x, *ctx.layout)
        stride, padding, dilation, groups = ctx.shape
        found = torch.ops.aten.convolution_backward(
            grads[0], x, weight, ctx.biased, stride, padding, dilation, False, (0, 0), groups,
            list(ctx.needs_input_grad[:3]),
        )  # fmt: skip
        return *found, None
