"""Max-pooling that keeps one byte an output for its backward, and not its input."""

import ctypes
from collections.abc import Iterator
from ctypes import c_int32, c_int64, c_void_p
from typing import Any

import torch
from torch import Tensor

from spikeloom.functional.images import Pair
from spikeloom.kernels.cpu import native
from spikeloom.kernels.cpu.neurons import watched
from spikeloom.kernels.cpu.ops import DTYPES, only_first, plain
from spikeloom.kernels.cpu.pool import empty

WINDOW = 255  # elements of a window that a byte can tell apart


class PoolCall(ctypes.Structure):
    """What one call hands over; mirrors ``PoolCall`` in maxpool.hpp."""

    _fields_ = (
        *((name, c_int32) for name in ("dtype", "threads")),
        *((name, c_int64) for name in ("images", "channels", "height", "width")),
        *((name, c_int64) for name in ("out_height", "out_width")),
        *((name, 2 * c_int32) for name in ("kernel", "stride", "padding", "dilation")),
        *((name, c_void_p) for name in ("x", "grad_out", "out", "grad_x", "places")),
    )


Window = tuple[Pair, Pair, Pair, Pair]  # kernel, stride, padding, dilation


def max_pool2d(
    x: Tensor,
    kernel_size: Pair,
    *,
    stride: Pair,
    padding: Pair = (0, 0),
    dilation: Pair = (1, 1),
) -> Tensor:
    """:func:`spikeloom.functional.max_pool2d` with the channels last."""
    window = kernel_size, stride, padding, dilation
    if torch.is_grad_enabled() and x.requires_grad:
        y: Tensor = MaxPool.apply(x, window)  # type: ignore[no-untyped-call]
        return y
    return forward(x, window, None)


def objections(
    x: Tensor,
    kernel_size: Pair,
    *,
    stride: Pair,
    padding: Pair = (0, 0),
    dilation: Pair = (1, 1),
) -> Iterator[str]:
    """Why the kernel cannot serve a call; nothing if it can."""
    if native.OPENED is None:
        yield native.PROBLEM
    if x.device.type != "cpu" or x.layout != torch.strided or x.dtype not in DTYPES:
        yield f"x is {x.dtype}, {x.layout} on {x.device}, not dense float32 or bfloat16 on the CPU"
    elif x.dim() != 4 or not x.is_contiguous(memory_format=torch.channels_last):
        yield "x is not [N, C, H, W] with the channels last in memory"
    elif min(_size(x.shape[2:], (kernel_size, stride, padding, dilation))) < 1 or not x.numel():
        yield "nothing comes out"
    if kernel_size[0] * kernel_size[1] > WINDOW:
        yield f"windows of more than {WINDOW} elements"
    if any(2 * pad > kernel for pad, kernel in zip(padding, kernel_size, strict=True)):
        yield "padding by more than half the window"
    if torch.compiler.is_compiling() or not plain(x):
        yield "the call is compiled or traced"
    else:
        yield from watched()


def forward(x: Tensor, window: Window, places: Tensor | None) -> Tensor:
    """The largest values, and where they are in their windows."""
    call = _structure(x.shape, x.dtype, window)
    out = _images((*x.shape[:2], call.out_height, call.out_width), x.dtype)
    call.x, call.out = x.data_ptr(), out.data_ptr()
    call.places = 0 if places is None else places.data_ptr()
    native.run("spikeloom_maxpool_forward", call)
    return out


class MaxPool(torch.autograd.Function):
    """Keeps the place of every maximum in its window, as a byte."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, window: Window) -> Tensor:
        height, width = _size(x.shape[2:], window)
        shape = x.shape[0], height, width, x.shape[1]
        places = torch.empty(shape, dtype=torch.uint8, device="cpu")
        ctx.shape, ctx.window = x.shape, window
        ctx.save_for_backward(places)
        return forward(x, window, places)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        only_first("the fast pooling", *grads)
        (places,) = ctx.saved_tensors
        grad = grads[0].contiguous(memory_format=torch.channels_last)
        call = _structure(ctx.shape, grad.dtype, ctx.window)
        grad_x = _images(ctx.shape, grad.dtype)
        call.grad_out, call.grad_x, call.places = (t.data_ptr() for t in (grad, grad_x, places))
        native.run("spikeloom_maxpool_backward", call)
        return grad_x, None


def _structure(shape: torch.Size, dtype: torch.dtype, window: Window) -> PoolCall:
    N, C, H, W = shape
    pairs = ((2 * c_int32)(*pair) for pair in window)
    return PoolCall(
        DTYPES[dtype], torch.get_num_threads(), N, C, H, W, *_size((H, W), window), *pairs
    )


def _size(size: tuple[int, ...], window: Window) -> tuple[int, int]:
    """Height and width of what comes out."""
    out = [
        (length + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
        for length, kernel, stride, padding, dilation in zip(size, *window, strict=True)
    ]
    return out[0], out[1]


def _images(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Uninitialised images with the channels last."""
    _, C, H, W = shape
    return empty(shape, (C * H * W, 1, W * C, C), dtype)
