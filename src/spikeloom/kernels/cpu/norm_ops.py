"""Batch norm and LIF as one operator of PyTorch, and the short way to it; compare ``ops``."""

import ctypes
import math
from collections.abc import Sequence
from ctypes import c_float, c_int32, c_int64, c_void_p
from typing import Any, NamedTuple

import torch
from torch import Tensor

from spikeloom.kernels.cpu import library, ops
from spikeloom.kernels.cpu.layout import (
    new_sequence,
    new_step,
    order,
    sequence_as,
    step_as,
    strides_like,
    with_dense_steps,
)
from spikeloom.kernels.cpu.library import Call
from spikeloom.kernels.cpu.ops import Maybe, Numbers, Options, Values
from spikeloom.kernels.cpu.pool import empty


class NormCall(ctypes.Structure):
    """What one call hands over; mirrors ``NormCall`` in norm.hpp."""

    _fields_ = (
        ("neuron", Call),
        ("channels", c_int64),
        ("inner", c_int64),
        ("eps", c_float),
        ("batch", c_int32),
        *((n, c_void_p) for n in "weight bias mean var grad_weight grad_bias".split()),
    )


class Norm(NamedTuple):
    """Tensors of the norm, [C] in float32; mean and var None: those of the batch."""

    weight: Maybe
    bias: Maybe
    mean: Maybe
    var: Maybe


Outputs = tuple[Tensor, Tensor, Tensor, Tensor]
WANTED = 6  # x_seq, v, weight, bias, keep, threshold


def forward(
    x_seq: Tensor, v: Maybe, norm: Norm, keep: Maybe, threshold: Maybe,
    numbers: Numbers, options: Options, eps: float,
) -> Outputs:  # fmt: skip
    """Spikes, the potential after the last step, and the statistics of the batch if they count."""
    x_seq = with_dense_steps(x_seq)
    out, v_end = new_sequence(x_seq, x_seq.dtype), new_step(x_seq, x_seq.dtype)
    batch = norm.mean is None or norm.var is None
    if batch:
        C = x_seq.shape[2]
        norm = norm._replace(
            mean=empty((C,), (1,), torch.float32), var=empty((C,), (1,), torch.float32)
        )
    assert norm.mean is not None
    assert norm.var is not None
    if out.numel():
        values = Values(keep, None, threshold)
        call, _alive = _structure(x_seq, norm, values, numbers, options, Values(), eps, batch)
        v = step_as(x_seq, v)
        neuron = call.neuron
        neuron.x, neuron.x_stride, neuron.v = x_seq.data_ptr(), x_seq.stride(0), ops._at(v)
        neuron.out, neuron.v_end = out.data_ptr(), v_end.data_ptr()
        library.run("spikeloom_norm_forward", call)
    elif batch:
        norm.mean.zero_()
        norm.var.fill_(1.0)
    nothing = x_seq.new_empty(0, dtype=torch.float32)
    return out, v_end, norm.mean if batch else nothing, norm.var if batch else nothing.clone()


def backward(
    grads: tuple[Maybe, Maybe], x_seq: Tensor, v: Maybe, norm: Norm, keep: Maybe, threshold: Maybe,
    numbers: Numbers, options: Options, eps: float, batch: bool, wanted: Sequence[bool],
) -> tuple[Maybe, ...]:  # fmt: skip
    """Gradients of x_seq, v, weight, bias, keep and threshold, None where not wanted."""
    x_seq = with_dense_steps(x_seq)
    grad_x = new_sequence(x_seq, x_seq.dtype) if wanted[0] else None
    grad_v = new_step(x_seq, x_seq.dtype) if wanted[1] else None
    pairs = zip((norm.weight, norm.bias), wanted[2:4], strict=True)
    affine = [torch.zeros_like(p) if want and p is not None else None for p, want in pairs]
    values = Values(keep, None, threshold)
    sums = Values(
        ops._sum_for(keep, wanted[4], x_seq), None, ops._sum_for(threshold, wanted[5], x_seq)
    )
    if x_seq.numel():
        call, _alive = _structure(x_seq, norm, values, numbers, options, sums, eps, batch)
        grad_out, grad_v_end = sequence_as(x_seq, grads[0]), step_as(x_seq, grads[1])
        v = step_as(x_seq, v)
        neuron = call.neuron
        neuron.x, neuron.x_stride, neuron.v = x_seq.data_ptr(), x_seq.stride(0), ops._at(v)
        neuron.grad_out, neuron.grad_stride = ops._at(grad_out), ops._time(grad_out)
        neuron.grad_v_end = ops._at(grad_v_end)
        neuron.grad_x, neuron.grad_v = ops._at(grad_x), ops._at(grad_v)
        call.grad_weight, call.grad_bias = ops._at(affine[0]), ops._at(affine[1])
        library.run("spikeloom_norm_backward", call)
    found = ops._reduced(sums.keep, keep), ops._reduced(sums.threshold, threshold)
    return grad_x, grad_v, *affine, *found


def _structure(
    x_seq: Tensor, norm: Norm, values: Values, numbers: Numbers, options: Options, sums: Values,
    eps: float, batch: bool,
) -> tuple[NormCall, list[Maybe]]:  # fmt: skip
    """The structure with all but the addresses of sequences; and tensors it points into."""
    neuron, alive = ops._call("lif", x_seq, values, numbers, options, sums)
    held = [None if part is None else part.detach().contiguous() for part in norm]
    shape = x_seq.shape[1:]
    axes = order(shape, x_seq.stride()[1:]) or []
    faster = axes[axes.index(1) + 1 :] if 1 in axes else []
    inner = math.prod(shape[axis] for axis in faster)
    call = NormCall(neuron, shape[1], inner, eps, batch, *(ops._at(part) for part in held))
    return call, [*alive, *held]


class NormNeurons(torch.autograd.Function):
    """The short way: no dispatch between the call and the library."""

    @staticmethod
    def forward(
        ctx: Any, x_seq: Tensor, v: Maybe, weight: Maybe, bias: Maybe, keep: Maybe,
        threshold: Maybe, mean: Maybe, var: Maybe, *rest: Any,
    ) -> Outputs:  # fmt: skip
        ctx.set_materialize_grads(False)
        ctx.batch, ctx.rest = mean is None, rest
        norm = Norm(weight, bias, mean, var)
        found = forward(x_seq, v, norm, keep, threshold, *rest)
        ctx.mark_non_differentiable(*found[2:])
        used = found[2:] if ctx.batch else (mean, var)
        ctx.save_for_backward(x_seq, v, weight, bias, keep, threshold, *used)
        return found

    @staticmethod
    def backward(ctx: Any, *grads: Maybe) -> tuple[Maybe, ...]:
        if grads[0] is None and grads[1] is None:
            return (None,) * 11
        if torch.is_grad_enabled():
            raise RuntimeError(
                "the fast batch norm has no second derivative (create_graph=True): run the "
                "forward inside `with spikeloom.kernels.use('truth'):`"
            )
        x_seq, v, weight, bias, keep, threshold, mean, var = ctx.saved_tensors
        found = backward(
            (grads[0], grads[1]), x_seq, v, Norm(weight, bias, mean, var), keep, threshold,
            *ctx.rest, ctx.batch, ctx.needs_input_grad[:WANTED],
        )  # fmt: skip
        return *found, None, None, None, None, None


def run(
    x_seq: Tensor, v: Maybe, norm: Norm, keep: Maybe, threshold: Maybe,
    numbers: Numbers, options: Options, eps: float,
) -> Outputs:  # fmt: skip
    """Run norm and neurons over a sequence, with gradients if they are asked for."""
    tensors = (x_seq, v, norm.weight, norm.bias, keep, threshold)
    if torch.compiler.is_compiling() or not ops._plain(x_seq):
        found = torch.ops.spikeloom.bn_lif(*tensors, norm.mean, norm.var, numbers, options, eps)
        return found[0], found[1], found[2], found[3]
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors):
        taken: Outputs = NormNeurons.apply(  # type: ignore[no-untyped-call]
            *tensors, norm.mean, norm.var, numbers, options, eps
        )
        return taken
    return forward(x_seq, v, norm, keep, threshold, numbers, options, eps)


TENSORS = (
    "Tensor x_seq, Tensor? v, Tensor? weight, Tensor? bias, Tensor? keep, Tensor? threshold, "
    "Tensor? mean, Tensor? var, float[] numbers, int[] options, float eps"
)
_operators = torch.library.Library("spikeloom", "FRAGMENT")


def _arguments(given: Sequence[Any]) -> tuple[Any, ...]:
    x_seq, v, weight, bias, keep, threshold, mean, var, numbers, options, eps = given
    norm = Norm(weight, bias, mean, var)
    return x_seq, v, norm, keep, threshold, Numbers(*numbers), Options(*options), eps


def _run_forward(*given: Any) -> Outputs:
    return forward(*_arguments(given))


def _run_backward(g_out: Maybe, g_v: Maybe, *given: Any) -> tuple[Tensor, ...]:
    *rest, batch, wanted = given
    found = backward((g_out, g_v), *_arguments(rest), batch, wanted)
    return tuple(given[0].new_empty(0) if part is None else part for part in found)


def _fake_forward(*given: Any) -> Outputs:
    x_seq = with_dense_steps(given[0])
    C = x_seq.shape[2] if given[6] is None else 0
    new = x_seq.new_empty_strided
    statistics = [x_seq.new_empty(C, dtype=torch.float32) for _ in range(2)]
    return (
        new(x_seq.shape, strides_like(x_seq)),
        new(x_seq.shape[1:], x_seq.stride()[1:]),
        statistics[0],
        statistics[1],
    )


def _fake_backward(_g_out: Maybe, _g_v: Maybe, *given: Any) -> tuple[Tensor, ...]:
    x_seq = with_dense_steps(given[0])
    new = x_seq.new_empty_strided
    found = [new(x_seq.shape, strides_like(x_seq)), new(x_seq.shape[1:], x_seq.stride()[1:])]
    found += [x_seq if p is None else torch.empty_like(p) for p in given[2:WANTED]]
    pairs = zip(found, given[-1], strict=True)
    return tuple(part if want else x_seq.new_empty(0) for part, want in pairs)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Outputs) -> None:
    *tensors, mean, var, numbers, options, eps = inputs
    ctx.set_materialize_grads(False)
    ctx.batch, ctx.rest = mean is None, (numbers, options, eps)
    ctx.wanted = list(ctx.needs_input_grad[:WANTED])
    ctx.save_for_backward(*tensors, *(output[2:] if mean is None else (mean, var)))


def _gradient(ctx: Any, *grads: Maybe) -> tuple[Maybe, ...]:
    nothing = (None,) * 5
    if grads[0] is None and grads[1] is None:
        return (None,) * WANTED + nothing
    given = *ctx.saved_tensors, *ctx.rest, ctx.batch, ctx.wanted
    found = torch.ops.spikeloom.bn_lif_backward(grads[0], grads[1], *given)
    pairs = zip(found, ctx.wanted, strict=True)
    return (*(part if want else None for part, want in pairs), *nothing)


def _register() -> None:
    """Define ``spikeloom::bn_lif`` and its backward. Nothing is an empty tensor there."""
    tags = (torch.Tag.pt2_compliant_tag,)
    outputs = ", ".join(["Tensor"] * 4)
    gradients = ", ".join(["Tensor"] * WANTED)
    _operators.define(f"bn_lif({TENSORS}) -> ({outputs})", tags=tags)
    _operators.define(
        f"bn_lif_backward(Tensor? grad_out, Tensor? grad_v_end, {TENSORS}, bool batch, "
        f"bool[] wanted) -> ({gradients})",
        tags=tags,
    )
    _operators.impl("bn_lif", _run_forward, "CPU")
    _operators.impl("bn_lif_backward", _run_backward, "CPU")
    name = "spikeloom::bn_lif"
    torch.library.register_fake(name, _fake_forward, lib=_operators)
    torch.library.register_fake(f"{name}_backward", _fake_backward, lib=_operators)
    torch.library.register_autograd(name, _gradient, setup_context=_setup, lib=_operators)


_register()
