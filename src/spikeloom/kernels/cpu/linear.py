"""The fast twin of ``functional.linear``: sparse spikes choose rows, the rest goes to oneDNN.

Where all inputs are 0 or 1 they are packed into bits. Below a share of ones (``SPARSE``) the
forward and the weight's gradient add up rows that the bits choose, and the bits are all that is
kept for the backward. Else the products are dense; on AMD by oneDNN, because torch would take MKL,
which is half as fast there.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from spikeloom.kernels.cpu import native, neurons, ops, products
from spikeloom.kernels.cpu.pool import empty
from spikeloom.kernels.setting import current

SPARSE = 0.2  # ones among the inputs below which choosing rows is faster than multiplying
SMALL = 1 << 22  # multiplications below which a plain call is as fast


def linear(x_seq: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """:func:`spikeloom.functional.linear`, without multiplying by zeros."""
    if x_seq.numel() * weight.shape[0] < SMALL:
        return F.linear(x_seq, weight, bias)
    given = (x_seq, weight, None if bias is None else bias.contiguous())
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in given):
        y_seq: Tensor = Linear.apply(*given)  # type: ignore[no-untyped-call]
        return y_seq
    return _forward(*given)[0]


def objections(x_seq: Tensor, weight: Tensor, bias: Tensor | None = None) -> Iterator[str]:
    """Why this kernel cannot serve a call; nothing if it can."""
    if native.OPENED is None:
        yield native.PROBLEM
    for name, tensor in (("x_seq", x_seq), ("weight", weight), ("bias", bias)):
        if tensor is None:
            continue
        if tensor.device.type != "cpu":
            yield f"{name} is on {tensor.device}, not on the CPU"
        if tensor.dtype != torch.float32:
            yield f"{name} is {tensor.dtype}, not float32"
        if tensor.layout != torch.strided:
            yield f"{name} is {tensor.layout}, not strided"
    if x_seq.dim() < 1 or weight.dim() != 2 or x_seq.shape[-1] != weight.shape[1]:
        yield f"weight {tuple(weight.shape)} does not fit x_seq {tuple(x_seq.shape)}"
    if bias is not None and bias.shape != weight.shape[:1]:
        yield f"bias {tuple(bias.shape)} does not fit weight {tuple(weight.shape)}"
    if torch.is_autocast_enabled("cpu"):
        yield "autocast is on: the product is not meant to be float32"
    if torch.compiler.is_compiling():
        yield "torch is compiling or exporting: the plain product goes into the graph"
        return
    if not ops.plain(x_seq):
        yield "x_seq does not hold its data itself, or a dispatch mode watches"
    yield from neurons.watched()


Bits = Tensor | None


def _forward(x_seq: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Bits, bool]:
    """The result; the inputs as bits if they are spikes; and whether these are few."""
    x = x_seq.reshape(-1, x_seq.shape[-1])
    shape = (*x_seq.shape[:-1], weight.shape[0])
    packed = products.pack(x)
    if packed is not None and packed[1] <= SPARSE * x.numel():
        y = empty((x.shape[0], weight.shape[0]), (weight.shape[0], 1), torch.float32)
        if products.multiply(packed[0], weight.detach().t(), y, bias):
            return y.view(shape), packed[0], True
    bits = None if packed is None else packed[0]
    return product(x, weight, bias).view(shape), bits, False


class Linear(torch.autograd.Function):
    """Keeps bits instead of the inputs where they are few, or memory is to be saved."""

    @staticmethod
    def forward(ctx: Any, x_seq: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        y_seq, bits, few = _forward(x_seq, weight, bias)
        as_bits = bits is not None and (few or current().memory == "low")
        kept = bits if as_bits else x_seq
        x_wanted, weight_wanted, _ = ctx.needs_input_grad
        ctx.save_for_backward(weight if x_wanted else None, kept if weight_wanted else None)
        ctx.few, ctx.as_bits, ctx.inputs = few, as_bits, x_seq.shape[-1]
        return y_seq

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        ops.only_first("the fast linear map", *grads)
        weight, kept = ctx.saved_tensors
        grad = grads[0].reshape(-1, grads[0].shape[-1])
        x_wanted, weight_wanted, bias_wanted = ctx.needs_input_grad
        grad_x = None
        if x_wanted:
            grad_x = product(grad, weight.t()).view(*grads[0].shape[:-1], ctx.inputs)
        grad_weight = _weight_gradient(ctx, grad, kept) if weight_wanted else None
        return grad_x, grad_weight, grad.sum(0) if bias_wanted else None


def _weight_gradient(ctx: Any, grad: Tensor, kept: Tensor) -> Tensor:
    if ctx.few:
        return products.weight_gradient(grad, kept, ctx.inputs)
    x = products.unpack(kept, ctx.inputs) if ctx.as_bits else kept.reshape(-1, ctx.inputs)
    return product(grad.t(), x.t())


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``x weightᵀ + bias``, dense, by the library that is fast on this processor.

    Shape:
        x [R, K], weight [M, K], bias [M] -> [R, M]
    """
    if ONEDNN and torch.backends.mkldnn.enabled:
        found: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
        return found
    return F.linear(x, weight, bias)


def _onednn() -> bool:
    """Whether torch's own choice is slow here and its private oneDNN product is there."""
    if native.OPENED is None or not native.OPENED.spikeloom_amd():
        return False
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


ONEDNN = _onednn()
