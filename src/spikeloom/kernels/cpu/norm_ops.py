"""Batch norm and LIF as one operator of PyTorch, and the short way to it; compare ``ops``."""

import ctypes
import math
from collections.abc import Sequence
from ctypes import c_float, c_int32, c_int64, c_void_p
from typing import Any, NamedTuple

import torch
from torch import Tensor, library

from spikeloom.kernels.cpu import native, ops
from spikeloom.kernels.cpu.layout import (
    new_sequence,
    new_step,
    order,
    sequence_as,
    step_as,
    strides_like,
    with_dense_steps,
)
from spikeloom.kernels.cpu.native import Call
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
        *((n, c_void_p) for n in ("weight", "bias", "mean", "var", "grad_weight", "grad_bias")),
    )


class Norm(NamedTuple):
    """Tensors of the norm, [C] in float32; mean and var None: those of the batch."""

    weight: Maybe
    bias: Maybe
    mean: Maybe
    var: Maybe


class Given(NamedTuple):
    """Everything that a call is given."""

    x_seq: Tensor
    v: Maybe
    norm: Norm
    keep: Maybe
    threshold: Maybe
    numbers: Numbers
    options: Options
    eps: float


Outputs = tuple[Tensor, Tensor, Tensor, Tensor]
WANTED = 6  # gradients: x_seq, v, weight, bias, keep, threshold


def forward(given: Given) -> Outputs:
    """Spikes, the potential after the last step, and the statistics of the batch if they count."""
    x_seq, norm = with_dense_steps(given.x_seq), given.norm
    out, v_end = new_sequence(x_seq, x_seq.dtype), new_step(x_seq, x_seq.dtype)
    batch = norm.mean is None
    C = x_seq.shape[2] if batch else 0
    mean, var = (empty((C,), (1,), torch.float32) for _ in range(2))
    if batch:
        norm = norm._replace(mean=mean, var=var)
    if out.numel():
        given = given._replace(x_seq=x_seq, norm=norm)
        call, _alive = structure(given, Values(), batch)
        call.neuron.out, call.neuron.v_end = out.data_ptr(), v_end.data_ptr()
        native.run("spikeloom_norm_forward", call)
    else:
        mean.zero_()
        var.fill_(1.0)
    return out, v_end, mean, var


def backward(
    grads: tuple[Maybe, Maybe], given: Given, batch: bool, wanted: Sequence[bool]
) -> tuple[Maybe, ...]:
    """Gradients of x_seq, v, weight, bias, keep and threshold, None where not wanted."""
    x_seq, norm = with_dense_steps(given.x_seq), given.norm
    grad_x = new_sequence(x_seq, x_seq.dtype) if wanted[0] else None
    grad_v = new_step(x_seq, x_seq.dtype) if wanted[1] else None
    pairs = zip((norm.weight, norm.bias), wanted[2:4], strict=True)
    affine = [torch.zeros_like(p) if want and p is not None else None for p, want in pairs]
    pairs = zip((given.keep, given.threshold), wanted[4:], strict=True)
    keep, threshold = (ops.sum_for(value, want, x_seq) for value, want in pairs)
    if x_seq.numel():
        sums = Values(keep, None, threshold)
        call, _alive = structure(given._replace(x_seq=x_seq), sums, batch)
        grad_out, grad_v_end = sequence_as(x_seq, grads[0]), step_as(x_seq, grads[1])
        neuron = call.neuron
        neuron.grad_out, neuron.grad_stride = ops.address(grad_out), ops.time_stride(grad_out)
        neuron.grad_v_end = ops.address(grad_v_end)
        neuron.grad_x, neuron.grad_v = ops.address(grad_x), ops.address(grad_v)
        call.grad_weight, call.grad_bias = ops.address(affine[0]), ops.address(affine[1])
        native.run("spikeloom_norm_backward", call)
    found = ops.reduced(keep, given.keep), ops.reduced(threshold, given.threshold)
    return grad_x, grad_v, *affine, *found


def structure(given: Given, sums: Values, batch: bool) -> tuple[NormCall, list[Maybe]]:
    """The structure with all but the addresses of results; and tensors it points into."""
    x_seq, v = given.x_seq, step_as(given.x_seq, given.v)
    values = Values(given.keep, None, given.threshold)
    neuron, alive = ops.call_for("lif", x_seq, values, given.numbers, given.options, sums)
    neuron.x, neuron.x_stride, neuron.v = x_seq.data_ptr(), x_seq.stride(0), ops.address(v)
    norm = [None if part is None else part.detach().contiguous() for part in given.norm]
    shape = x_seq.shape[1:]
    axes = order(shape, x_seq.stride()[1:]) or []
    faster = axes[axes.index(1) + 1 :] if 1 in axes else []
    inner = math.prod(shape[axis] for axis in faster)
    call = NormCall(
        neuron, shape[1], inner, given.eps, batch, *(ops.address(part) for part in norm)
    )
    return call, [*alive, *norm, v]


class NormNeurons(torch.autograd.Function):
    """The short way: no dispatch between the call and the library."""

    @staticmethod
    def forward(ctx: Any, *given: Any) -> Outputs:
        *tensors, mean, var, numbers, options, eps = given
        found = forward(_gathered(given))
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(*found[2:])
        ctx.batch, ctx.rest = mean is None, (numbers, options, eps)
        ctx.save_for_backward(*tensors, *(found[2:] if ctx.batch else (mean, var)))
        return found

    @staticmethod
    def backward(ctx: Any, *grads: Maybe) -> tuple[Maybe, ...]:
        ops.only_first("the fast batch norm", *grads)
        nothing = (None,) * 5
        if grads[0] is None and grads[1] is None:
            return (None,) * WANTED + nothing
        given = _gathered((*ctx.saved_tensors, *ctx.rest))
        wanted = ctx.needs_input_grad[:WANTED]
        return *backward((grads[0], grads[1]), given, ctx.batch, wanted), *nothing


def run(given: Given) -> Outputs:
    """Run norm and neurons over a sequence, with gradients if they are asked for."""
    tensors = given.x_seq, given.v, *given.norm[:2], given.keep, given.threshold
    flat = *tensors, *given.norm[2:], given.numbers, given.options, given.eps
    if torch.compiler.is_compiling() or not ops.plain(given.x_seq):
        found = torch.ops.spikeloom.bn_lif(*flat)
        return found[0], found[1], found[2], found[3]
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors):
        taken: Outputs = NormNeurons.apply(*flat)  # type: ignore[no-untyped-call]
        return taken
    return forward(given)


def _gathered(flat: Sequence[Any]) -> Given:
    """The arguments of the operator, put together."""
    x_seq, v, weight, bias, keep, threshold, mean, var, numbers, options, eps = flat
    norm = Norm(weight, bias, mean, var)
    return Given(x_seq, v, norm, keep, threshold, Numbers(*numbers), Options(*options), eps)


TENSORS = (
    "Tensor x_seq, Tensor? v, Tensor? weight, Tensor? bias, Tensor? keep, Tensor? threshold, "
    "Tensor? mean, Tensor? var, float[] numbers, int[] options, float eps"
)
_operators = library.Library("spikeloom", "FRAGMENT")


def _run_forward(*given: Any) -> Outputs:
    return forward(_gathered(given))


def _run_backward(g_out: Maybe, g_v: Maybe, *given: Any) -> tuple[Tensor, ...]:
    *rest, batch, wanted = given
    found = backward((g_out, g_v), _gathered(rest), batch, wanted)
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
    library.register_fake(name, _fake_forward, lib=_operators)
    library.register_fake(f"{name}_backward", _fake_backward, lib=_operators)
    library.register_autograd(name, _gradient, setup_context=_setup, lib=_operators)
    library.register_autograd(f"{name}_backward", ops.refuse_second, lib=_operators)


_register()
