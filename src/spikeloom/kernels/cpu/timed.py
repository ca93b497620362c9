"""The fast twin of ``functional.timed``: all steps of a layer in one call each way.

For the backward it keeps the current alone, and goes through it again, in blocks that fit the
cache.
"""

import ctypes
from collections.abc import Iterator
from ctypes import c_float, c_int32, c_int64, c_void_p
from typing import Any

import torch
from torch import Tensor

from spikeloom.functional import Value
from spikeloom.functional.neurons.inputs import wide
from spikeloom.functional.neurons.timed import LARGEST, prepared
from spikeloom.kernels.cpu import native, neurons
from spikeloom.kernels.cpu.layout import new_sequence, sequence_as, spread, with_dense_steps
from spikeloom.kernels.cpu.ops import only_first, plain

TENSORS = ("x", "grad_out", "out", "grad_x", "grad_link", "a", "b", "a_end", "b_end")
Numbers = tuple[float, float, float, float, float]  # keep_m, keep_s, keep_g, gain, clip


class TimedCall(ctypes.Structure):
    """What one call hands over; mirrors ``TimedCall`` in timed.hpp."""

    _fields_ = (
        *((name, c_int32) for name in ("threads", "strict")),
        *((name, c_int64) for name in ("steps", "neurons", "x_stride", "grad_stride")),
        *((name, c_float) for name in ("keep_m", "keep_s", "keep_g", "gain", "clip", "largest")),
        ("threshold", native.Value),
        *((name, c_void_p) for name in TENSORS),
    )


def timed(
    x_seq: Tensor,
    link_seq: Tensor | None = None,
    *,
    tau_m: float = 5.0,
    tau_s: float = 3.0,
    tau_grad: float = 2.5,
    v_threshold: Value = 1.0,
    clip: float = 4.0,
) -> Tensor:
    """:func:`spikeloom.functional.timed`, fused over time."""
    given, keep_g = prepared(x_seq, link_seq, tau_m, tau_s, tau_grad, v_threshold, clip)
    numbers = given.keep_m, given.keep_s, keep_g, given.gain, clip
    threshold, number = neurons.number_or_tensor(v_threshold)
    spike_seq: Tensor = _Timed.apply(x_seq, link_seq, threshold, number, numbers)  # type: ignore[no-untyped-call]
    return spike_seq


def objections(
    x_seq: Tensor,
    link_seq: Tensor | None = None,
    *,
    v_threshold: Value = 1.0,
    **options: Any,
) -> Iterator[str]:
    """Why the kernel cannot serve a call; nothing if it can."""
    yield from neurons.objections(x_seq, v_threshold=v_threshold)
    yield from traced(x_seq)


def traced(x_seq: Tensor) -> Iterator[str]:
    """Whether somebody else watches the call; these kernels are no operators of PyTorch."""
    if torch.compiler.is_compiling() or not plain(x_seq):
        yield "the call is compiled or traced"


class _Timed(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x_seq: Tensor,
        link_seq: Tensor | None,
        threshold: Tensor | None,
        number: float,
        numbers: Numbers,
    ) -> Tensor:
        x_seq = with_dense_steps(x_seq)
        ctx.save_for_backward(x_seq, threshold)
        ctx.numbers = number, numbers
        wide_seq = with_dense_steps(wide(x_seq))
        out = new_sequence(wide_seq, wide_seq.dtype)
        if out.numel():
            call, _alive = call_for(wide_seq, threshold, number, numbers)
            call.out = out.data_ptr()
            native.run("spikeloom_timed_forward", call)
        return out.to(x_seq.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        only_first("a fast layer of timed neurons", *grads)
        x_seq, threshold = ctx.saved_tensors
        dtype, x_seq = x_seq.dtype, with_dense_steps(wide(x_seq))
        wanted = ctx.needs_input_grad[:2]
        found = [new_sequence(x_seq, x_seq.dtype) if want else None for want in wanted]
        if x_seq.numel():
            grad = sequence_as(x_seq, wide(grads[0]))
            assert grad is not None
            call, _alive = call_for(x_seq, threshold, *ctx.numbers)
            call.grad_out, call.grad_stride = grad.data_ptr(), grad.stride(0)
            call.grad_x, call.grad_link = (0 if g is None else g.data_ptr() for g in found)
            native.run("spikeloom_timed_backward", call)
        return *(None if g is None else g.to(dtype) for g in found), None, None, None


def call_for(
    x_seq: Tensor, threshold: Tensor | None, number: float, numbers: Numbers
) -> tuple[TimedCall, Tensor | None]:
    """The structure with all but the addresses of outputs; and the tensor it points into."""
    value, alive = spread(threshold, number, None, x_seq)
    call = TimedCall(
        torch.get_num_threads(), 0, x_seq.shape[0], x_seq.numel() // x_seq.shape[0],
        x_seq.stride(0), 0, *numbers, LARGEST, value, x_seq.data_ptr(),
    )  # fmt: skip
    return call, alive
