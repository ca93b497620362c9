"""The recurrent kernel as an operator of PyTorch: schema, fake kernel, gradient; and the short way.

Laid out as ops.py, which says why there are two ways.
"""

import ctypes
from collections.abc import Sequence
from ctypes import c_int64, c_void_p
from typing import Any

import torch
from torch import Tensor, library

from spikeloom.kernels.cpu import native, ops, products
from spikeloom.kernels.cpu.native import Call
from spikeloom.kernels.cpu.ops import Maybe, Numbers, Options, Values
from spikeloom.kernels.cpu.pool import empty


class Recurrent(ctypes.Structure):
    """Mirrors ``Recurrent`` in products.hpp."""

    _fields_ = (
        ("neuron", Call),
        ("rows", c_int64),
        ("width", c_int64),
        *(
            (name, c_void_p)
            for name in (
                "weight", "spike", "spike_end", "grad_spike_end", "grad_spike", "bits",
            )
        ),
    )  # fmt: skip


Three = tuple[Tensor, Tensor, Tensor]
Six = Sequence[Maybe]  # x_seq, v, spike, weight, keep, threshold, or what belongs to them


def run(tensors: Six, numbers: Numbers, options: Options) -> Three:
    """Run over a sequence, with gradients if they are asked for."""
    x_seq = tensors[0]
    assert x_seq is not None
    if torch.compiler.is_compiling() or not ops.plain(x_seq):
        found = torch.ops.spikeloom.recurrent_lif(*tensors, numbers, options)
        return found[0], found[1], found[2]
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors):
        ends: Three = Recurrence.apply(numbers, options, *tensors)  # type: ignore[no-untyped-call]
        return ends
    return forward(tensors, numbers, options)[:3]


def forward(
    tensors: Six, numbers: Numbers, options: Options
) -> tuple[Tensor, Tensor, Tensor, Maybe]:
    """Spikes, the two states after the last step, and the potentials if they are to be kept."""
    x_seq, v, spike, weight, keep, threshold = map(_lined_up, tensors)
    assert x_seq is not None
    assert weight is not None
    out = _sequence(x_seq)
    v_end, spike_end = _step(x_seq), _step(x_seq)
    saved = _sequence(x_seq) if options.trace else None
    if out.numel():
        values = Values(keep, None, threshold, None)
        neuron, _alive = ops.call_for("lif", x_seq, values, numbers, options, Values())
        neuron.x, neuron.x_stride, neuron.v = x_seq.data_ptr(), x_seq.stride(0), ops.address(v)
        neuron.out, neuron.v_end, neuron.saved = (
            out.data_ptr(),
            v_end.data_ptr(),
            ops.address(saved),
        )
        call = Recurrent(
            neuron, *x_seq.shape[1:], weight.data_ptr(), ops.address(spike), spike_end.data_ptr()
        )
        native.run("spikeloom_recurrent_forward", call)
    return out, v_end, spike_end, saved


def backward(
    grads: Sequence[Maybe],
    tensors: Six,
    saved: Maybe,
    numbers: Numbers,
    options: Options,
    wanted: Sequence[bool],
) -> list[Maybe]:
    """Gradients of the six tensors, None where not wanted."""
    x_seq, v, spike, weight, keep, threshold = map(_lined_up, tensors)
    like = saved if saved is not None else x_seq
    assert like is not None
    assert weight is not None
    T, N, C = like.shape
    values = Values(keep, None, threshold, None)
    sums = Values(
        ops.sum_for(keep, wanted[4], like), None, ops.sum_for(threshold, wanted[5], like), None
    )
    grad_x = _sequence(like)
    grad_v, grad_spike = (_step(like) if want else None for want in wanted[1:3])
    words = products.words(C)
    bits = torch.empty((T - 1) * N, words, dtype=torch.int64, device="cpu") if wanted[3] else None
    if like.numel():
        grad_out, grad_v_end, grad_spike_end = map(_lined_up, grads)
        neuron, _alive = ops.call_for("lif", like, values, numbers, options, sums)
        neuron.x, neuron.x_stride = ops.address(x_seq), ops.time_stride(x_seq)
        neuron.v, neuron.saved = ops.address(v), ops.address(saved)
        neuron.grad_out, neuron.grad_stride = ops.address(grad_out), ops.time_stride(grad_out)
        neuron.grad_v_end, neuron.grad_v = ops.address(grad_v_end), ops.address(grad_v)
        neuron.grad_x = grad_x.data_ptr()
        call = Recurrent(
            neuron, N, C, weight.data_ptr(), ops.address(spike), 0, ops.address(grad_spike_end),
            ops.address(grad_spike), ops.address(bits),
        )  # fmt: skip
        native.run("spikeloom_recurrent_backward", call)
    grad_weight = None if bits is None else _weight_gradient(grad_x, bits, spike)
    reduced = [ops.reduced(*pair) for pair in ((sums.keep, keep), (sums.threshold, threshold))]
    return [grad_x if wanted[0] else None, grad_v, grad_spike, grad_weight, *reduced]


def _weight_gradient(grad_x: Tensor, bits: Tensor, spike: Maybe) -> Tensor:
    found = products.weight_gradient(grad_x[1:].flatten(0, 1), bits, grad_x.shape[2])
    return found if spike is None else found.addmm_(grad_x[0].t(), spike)


def _lined_up(tensor: Maybe) -> Maybe:
    """Contiguous, but for the first axis of a sequence, which may be strided or repeat a step."""
    if tensor is None or tensor.is_contiguous():
        return tensor
    if tensor.dim() == 3 and tensor.shape[0] and tensor[0].is_contiguous():
        return tensor
    return tensor.contiguous()


def _sequence(x_seq: Tensor) -> Tensor:
    T, N, C = x_seq.shape
    return empty((T, N, C), (N * C, C, 1), torch.float32)


def _step(x_seq: Tensor) -> Tensor:
    return empty(x_seq.shape[1:], (x_seq.shape[2], 1), torch.float32)


def needed(tensors: Six, options: Options, wanted: Sequence[bool]) -> Six:
    """Which of the tensors the backward reads."""
    if not options.trace:
        return tensors
    _, v, spike, *others = tensors
    return None, v if wanted[4] else None, spike if wanted[3] else None, *others


class Recurrence(torch.autograd.Function):
    """The short way: no dispatch between the call and the library."""

    @staticmethod
    def forward(ctx: Any, numbers: Numbers, options: Options, *tensors: Maybe) -> Any:
        *outputs, saved = forward(tensors, numbers, options)
        ctx.wanted = ctx.needs_input_grad[2:]
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*needed(tensors, options, ctx.wanted), saved)
        ctx.call = numbers, options
        return tuple(outputs)

    @staticmethod
    def backward(ctx: Any, *grads: Maybe) -> Any:
        ops.only_first("a fast neuron layer", *grads)
        if all(grad is None for grad in grads):
            return (None,) * 8
        *tensors, saved = ctx.saved_tensors
        numbers, options = ctx.call
        return None, None, *backward(grads, tensors, saved, numbers, options, ctx.wanted)


TENSORS = "Tensor? v, Tensor? spike, Tensor weight, Tensor? keep, Tensor? threshold"
REST = "float[] numbers, int[] options"
SCHEMA = f"(Tensor x_seq, {TENSORS}, {REST}) -> (Tensor, Tensor, Tensor, Tensor)"
BACKWARD_SCHEMA = (
    "(Tensor? grad_out, Tensor? grad_v_end, Tensor? grad_spike_end, Tensor? x_seq, "
    f"{TENSORS}, Tensor? saved, {REST}, bool[] wanted) -> "
    "(Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)"
)


def _run_forward(*given: Any) -> tuple[Tensor, ...]:
    *tensors, numbers, options = given
    found = forward(tensors, Numbers(*numbers), Options(*options))
    return tuple(tensors[0].new_empty(0) if part is None else part for part in found)


def _run_backward(*given: Any) -> tuple[Tensor, ...]:
    grads, tensors, (saved, numbers, options, wanted) = given[:3], given[3:9], given[9:]
    found = backward(grads, tensors, saved, Numbers(*numbers), Options(*options), wanted)
    weight = tensors[3]
    return tuple(weight.new_empty(0) if part is None else part for part in found)


def _fake_forward(*given: Any) -> tuple[Tensor, ...]:
    x_seq, options = given[0], Options(*given[-1])
    step = x_seq.new_empty(x_seq.shape[1:])
    saved = x_seq.new_empty(x_seq.shape if options.trace else 0)
    return x_seq.new_empty(x_seq.shape), step, torch.empty_like(step), saved


def _fake_backward(*given: Any) -> tuple[Tensor, ...]:
    tensors, saved, wanted = given[3:9], given[9], given[-1]
    x_seq, _, _, weight, *values = tensors
    like = saved if saved is not None else x_seq
    step = like.shape[1:]
    shapes = [like.shape, step, step, weight.shape, *(0 if v is None else v.shape for v in values)]
    pairs = zip(shapes, wanted, strict=True)
    return tuple(weight.new_empty(shape if want else 0) for shape, want in pairs)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    *tensors, numbers, options = inputs
    ctx.wanted = list(ctx.needs_input_grad[:6])
    ctx.set_materialize_grads(False)
    saved = output[3] if Options(*options).trace else None
    ctx.save_for_backward(*needed(tensors, Options(*options), ctx.wanted), saved)
    ctx.call = numbers, options


def _gradient(ctx: Any, *grads: Maybe) -> tuple[Maybe, ...]:
    if all(grad is None for grad in grads[:3]):
        return (None,) * 8
    found = torch.ops.spikeloom.recurrent_lif_backward(
        *grads[:3], *ctx.saved_tensors, *ctx.call, ctx.wanted
    )
    pairs = zip(found, ctx.wanted, strict=True)
    return (*(part if want else None for part, want in pairs), None, None)


def _register() -> library.Library:
    """Define ``spikeloom::recurrent_lif`` and its backward. Nothing is an empty tensor there."""
    operators = library.Library("spikeloom", "FRAGMENT")
    name, tags = "recurrent_lif", (torch.Tag.pt2_compliant_tag,)
    operators.define(name + SCHEMA, tags=tags)
    operators.define(f"{name}_backward{BACKWARD_SCHEMA}", tags=tags)
    operators.impl(name, _run_forward, "CPU")
    operators.impl(f"{name}_backward", _run_backward, "CPU")
    full = f"spikeloom::{name}"
    library.register_fake(full, _fake_forward, lib=operators)
    library.register_fake(f"{full}_backward", _fake_backward, lib=operators)
    library.register_autograd(full, _gradient, setup_context=_setup, lib=operators)
    library.register_autograd(f"{full}_backward", ops.refuse_second, lib=operators)
    return operators


_operators = _register()
