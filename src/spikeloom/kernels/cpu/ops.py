"""The kernels as operators of PyTorch: schema, fake kernel, gradient; and the short way to them.

Compiling and exporting see the operators ``spikeloom::lif`` and so on. Plain eager calls take an
autograd function straight to the library, which costs a fraction of the dispatch.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, library

from spikeloom.kernels.cpu import native
from spikeloom.kernels.cpu.layout import (
    new_sequence,
    new_step,
    sequence_as,
    spread,
    step_as,
    strides_like,
    with_dense_steps,
)
from spikeloom.kernels.cpu.native import Call, Leak

KINDS = {"lif": 0, "cuba_lif": 1, "alif": 2, "li": 3, "ternary_lif": 4, "ternary_spike": 5}
TWO_STATES = ("cuba_lif", "alif")
DTYPES = {torch.float32: 0, torch.bfloat16: 1}
NOTHING, POTENTIAL, ROUNDED = 0, 1, 2  # what the forward keeps for the backward
KEPT = {POTENTIAL: torch.float32, ROUNDED: torch.bfloat16}

Maybe = Tensor | None


class Numbers(NamedTuple):
    """What a call needs besides tensors. A number stands where a value is no tensor."""

    keep: float = 0.0
    gain: float = 1.0
    keep2: float = 0.0
    gain2: float = 1.0
    threshold: float = 0.0
    beta: float = 0.0
    v_reset: float = 0.0
    alpha: float = 1.0
    slope: float = 1.0
    centre: float = 1.0
    side: float = 0.0
    stretch: float = 1.0


class Options(NamedTuple):
    """Choices of a call, as the places in call.hpp."""

    reset: int = 2
    detach: int = 0
    strict: int = 0
    curve: int = 0
    decay_input: int = 0
    decay_input2: int = 0
    trace: int = NOTHING


class Values(NamedTuple):
    """Values that are tensors; they broadcast against a step."""

    keep: Maybe = None
    keep2: Maybe = None
    threshold: Maybe = None
    beta: Maybe = None


def forward(
    kind: str,
    x_seq: Tensor,
    v: Maybe,
    w: Maybe,
    values: Values,
    numbers: Numbers,
    options: Options,
    h_sum: Maybe = None,
) -> tuple[Tensor, Tensor, Maybe, Maybe]:
    """Output sequence, the states after the last step, and what the backward will read.

    The sum of LIF's potentials over the steps goes to ``h_sum``, if there is one.
    """
    x_seq = with_dense_steps(x_seq)
    out = new_sequence(x_seq, x_seq.dtype)
    v_end = new_step(x_seq, x_seq.dtype)
    w_end = new_step(x_seq, x_seq.dtype) if kind in TWO_STATES else None
    saved = new_sequence(x_seq, KEPT[options.trace]) if options.trace else None
    if out.numel():
        v, w = step_as(x_seq, v), step_as(x_seq, w)
        call, _alive = call_for(kind, x_seq, values, numbers, options, Values())
        call.x, call.x_stride = x_seq.data_ptr(), x_seq.stride(0)
        call.v, call.w = address(v), address(w)
        call.out, call.v_end, call.w_end = out.data_ptr(), v_end.data_ptr(), address(w_end)
        call.saved, call.h_sum = address(saved), address(h_sum)
        native.run("spikeloom_forward", call)
    return out, v_end, w_end, saved


Grads = tuple[Maybe, Maybe, Maybe, Maybe, Maybe, Maybe, Maybe]


def backward(
    kind: str,
    grads: tuple[Maybe, Maybe, Maybe],
    x_seq: Maybe,
    v: Maybe,
    w: Maybe,
    saved: Maybe,
    values: Values,
    numbers: Numbers,
    options: Options,
    wanted: Sequence[bool],
    grad_h_sum: Maybe = None,
    dtype: torch.dtype | None = None,
) -> Grads:
    """Gradients of x_seq, v, w and the four values, None where not wanted.

    ``dtype`` is that of the sequences, if all ``grads`` may be missing.
    """
    x_seq = None if x_seq is None else with_dense_steps(x_seq)
    like = saved if saved is not None else x_seq
    assert like is not None
    dtype = dtype or next(g.dtype for g in grads if g is not None)
    grad_x = new_sequence(like, dtype) if wanted[0] else None
    states = [new_step(like, dtype) if want else None for want in wanted[1:3]]
    sums = Values(*(sum_for(*pair, like) for pair in zip(values, wanted[3:], strict=True)))
    if like.numel():
        grad_out, grad_v_end = sequence_as(like, grads[0]), step_as(like, grads[1])
        grad_w_end, v, w = step_as(like, grads[2]), step_as(like, v), step_as(like, w)
        call, _alive = call_for(kind, like, values, numbers, options, sums)
        call.dtype = DTYPES[dtype]
        call.x, call.x_stride = address(x_seq), x_seq.stride(0) if x_seq is not None else 0
        call.v, call.w, call.saved = address(v), address(w), address(saved)
        call.grad_out, call.grad_stride = address(grad_out), time_stride(grad_out)
        call.grad_v_end, call.grad_w_end = address(grad_v_end), address(grad_w_end)
        call.grad_x, call.grad_v, call.grad_w = (
            address(grad_x),
            address(states[0]),
            address(states[1]),
        )
        grad_h_sum = step_as(like, grad_h_sum)
        call.grad_h_sum = address(grad_h_sum)
        native.run("spikeloom_backward", call)
    found = (reduced(*pair) for pair in zip(sums, values, strict=True))
    return grad_x, states[0], states[1], *found  # type: ignore[return-value]


def call_for(
    kind: str,
    x_seq: Tensor,
    values: Values,
    numbers: Numbers,
    options: Options,
    sums: Values,
) -> tuple[Call, list[Maybe]]:
    """The structure with all but the addresses of sequences; and tensors it points into."""
    alone = (numbers.keep, numbers.keep2, numbers.threshold, numbers.beta)
    spreads = [spread(*three, x_seq) for three in zip(values, alone, sums, strict=True)]
    (keep, keep2, threshold, beta), alive = zip(*spreads, strict=True)
    call = Call(
        KINDS[kind], DTYPES.get(x_seq.dtype, 0), options.trace, options.curve, options.reset,
        options.detach, options.strict, torch.get_num_threads(),
        x_seq.shape[0], x_seq.numel() // x_seq.shape[0], 0, 0, *numbers[6:],
        Leak(keep, numbers.gain, options.decay_input),
        Leak(keep2, numbers.gain2, options.decay_input2),
        threshold, beta,
    )  # fmt: skip
    return call, list(alive)


def address(tensor: Maybe) -> int:
    return 0 if tensor is None else tensor.data_ptr()


def time_stride(tensor: Maybe) -> int:
    return 0 if tensor is None else tensor.stride(0)


def sum_for(value: Maybe, want: bool, x_seq: Tensor) -> Maybe:
    """Where the kernel adds up the gradient of a value: one number, or one for each neuron."""
    if value is None or not want:
        return None
    if x_seq.numel() == 0:
        return torch.zeros_like(value)
    return value.new_empty(1) if value.numel() == 1 else new_step(x_seq, torch.float32)


def reduced(total: Maybe, value: Maybe) -> Maybe:
    if total is None or value is None:
        return None
    return total.reshape(value.shape) if value.numel() == 1 else total.sum_to_size(value.shape)


def needed(
    kind: str, options: Options, wanted: Sequence[bool], x_seq: Tensor, v: Maybe, w: Maybe
) -> tuple[Maybe, Maybe, Maybe]:
    """Which of the inputs the backward reads."""
    learns = wanted[3] and (options.decay_input or kind == "li")
    if options.trace and not learns:
        return None, v if wanted[3] else None, None
    return x_seq, v, w


MEND = "run the forward inside `with spikeloom.kernels.use('truth'):`"


def only_first(what: str, *grads: Maybe) -> None:
    """Refuse to be differentiated in a way that the kernels cannot see through.

    Raises:
        RuntimeError: in a backward that builds a graph, or that runs for many gradients at once.
    """
    if torch.is_grad_enabled():
        raise RuntimeError(f"{what} has no second derivative (create_graph=True): {MEND}")
    batched = getattr(torch._C._functorch, "is_legacy_batchedtensor", None)
    both = getattr(torch._C._functorch, "is_batchedtensor", None)
    for grad in grads:
        if grad is not None and any(known and known(grad) for known in (batched, both)):
            raise RuntimeError(f"{what} cannot take many gradients at once: {MEND}")


def refuse_second(*_: Any) -> Any:
    """The gradient of every operator that is itself a gradient."""
    raise RuntimeError(f"a fast operator has no second derivative (create_graph=True): {MEND}")


class Neurons(torch.autograd.Function):
    """The short way: no dispatch between the call and the library."""

    @staticmethod
    def forward(ctx: Any, kind: str, numbers: Numbers, options: Options, *tensors: Maybe) -> Any:
        x_seq, v, w = tensors[:3]
        assert x_seq is not None
        values = Values(*tensors[3:])
        *outputs, saved = forward(kind, x_seq, v, w, values, numbers, options)
        ctx.wanted = ctx.needs_input_grad[3:]
        ctx.set_materialize_grads(False)
        read = needed(kind, options, ctx.wanted, x_seq, v, w)
        ctx.save_for_backward(*read, saved, *values)
        ctx.call = kind, numbers, options
        return tuple(outputs)

    @staticmethod
    def backward(ctx: Any, *grads: Maybe) -> Any:
        only_first("a fast neuron layer", *grads)
        if all(grad is None for grad in grads):
            return (None,) * (3 + len(ctx.wanted))
        kind, numbers, options = ctx.call
        x_seq, v, w, saved, *values = ctx.saved_tensors
        call = Values(*values), numbers, options, ctx.wanted
        found = backward(kind, (grads[0], grads[1], grads[2]), x_seq, v, w, saved, *call)
        return None, None, None, *found


def run(
    kind: str, x_seq: Tensor, v: Maybe, w: Maybe, values: Values, numbers: Numbers, options: Options
) -> tuple[Tensor, Tensor, Maybe]:
    """Run a neuron over a sequence, with gradients if they are asked for."""
    if torch.compiler.is_compiling() or not plain(x_seq):
        out, v_end, w_end, _ = getattr(torch.ops.spikeloom, kind)(
            x_seq, v, w, *values, numbers, options
        )
        return out, v_end, w_end
    tensors = (x_seq, v, w, *values)
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors):
        found: tuple[Tensor, Tensor, Maybe] = Neurons.apply(kind, numbers, options, *tensors)  # type: ignore[no-untyped-call]
        return found
    return forward(kind, x_seq, v, w, values, numbers, options)[:3]


def plain(x_seq: Tensor) -> bool:
    """Whether the tensor holds its data itself and nobody watches the operators."""
    watched = getattr(torch._C, "_len_torch_dispatch_stack", None)
    own = type(x_seq) is Tensor or type(x_seq) is torch.nn.Parameter
    return own and (watched is None or watched() == 0)


VALUES = "Tensor? keep, Tensor? keep2, Tensor? threshold, Tensor? beta"
GIVEN = f"{VALUES}, float[] numbers, int[] options"
SCHEMA = f"(Tensor x_seq, Tensor? v, Tensor? w, {GIVEN}) -> (Tensor, Tensor, Tensor, Tensor)"
BACKWARD_SCHEMA = (
    "(Tensor? grad_out, Tensor? grad_v_end, Tensor? grad_w_end, Tensor? x_seq, Tensor? v, "
    f"Tensor? w, Tensor? saved, {GIVEN}, bool[] wanted) -> "
    "(Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)"
)
_operators = library.Library("spikeloom", "DEF")


def _register(kind: str) -> None:
    """Define ``spikeloom::kind`` and its backward. Nothing is an empty tensor there."""

    def run_forward(x_seq: Tensor, v: Maybe, w: Maybe, *rest: Any) -> tuple[Tensor, ...]:
        *values, numbers, options = rest
        found = forward(kind, x_seq, v, w, Values(*values), Numbers(*numbers), Options(*options))
        return tuple(x_seq.new_empty(0) if part is None else part for part in found)

    def run_backward(*given: Any) -> tuple[Tensor, ...]:
        g_out, g_v, g_w, x_seq, v, w, saved, *values, numbers, options, wanted = given
        grads = (g_out, g_v, g_w)
        call = Values(*values), Numbers(*numbers), Options(*options), wanted
        like = next(g for g in grads if g is not None)
        found = backward(kind, grads, x_seq, v, w, saved, *call)
        return tuple(like.new_empty(0) if part is None else part for part in found)

    def fake_forward(x_seq: Tensor, v: Maybe, w: Maybe, *rest: Any) -> tuple[Tensor, ...]:
        options = Options(*rest[-1])
        x_seq = with_dense_steps(x_seq)
        sequence, step = (x_seq.shape, strides_like(x_seq)), (x_seq.shape[1:], x_seq.stride()[1:])
        new = x_seq.new_empty_strided
        return (
            new(*sequence),
            new(*step),
            new(*step) if kind in TWO_STATES else x_seq.new_empty(0),
            new(*sequence, dtype=KEPT[options.trace]) if options.trace else x_seq.new_empty(0),
        )

    def fake_backward(*given: Any) -> tuple[Tensor, ...]:
        g_out, g_v, g_w, x_seq, _v, _w, saved, *values, _numbers, _options, wanted = given
        grad = next(g for g in (g_out, g_v, g_w) if g is not None)
        like = saved if saved is not None else with_dense_steps(x_seq)
        step = like.shape[1:], like.stride()[1:]
        shapes = [(like.shape, strides_like(like)), step, step]
        found = [grad.new_empty_strided(*shape) for shape in shapes]
        found += [grad if value is None else torch.empty_like(value) for value in values]
        pairs = zip(found, wanted, strict=True)
        return tuple(part if want else grad.new_empty(0) for part, want in pairs)

    def setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        x_seq, v, w, *values, numbers, options = inputs
        ctx.wanted = list(ctx.needs_input_grad[:7])
        ctx.set_materialize_grads(False)
        read = needed(kind, Options(*options), ctx.wanted, x_seq, v, w)
        saved = output[3] if options[6] else None
        ctx.save_for_backward(*read, saved, *values)
        ctx.call = numbers, options

    def gradient(ctx: Any, *grads: Maybe) -> tuple[Maybe, ...]:
        if all(grad is None for grad in grads[:3]):
            return (None,) * 9
        x_seq, v, w, saved, *values = ctx.saved_tensors
        outputs = grads[0], grads[1], grads[2] if kind in TWO_STATES else None
        operator = getattr(torch.ops.spikeloom, f"{kind}_backward")
        found = operator(*outputs, x_seq, v, w, saved, *values, *ctx.call, ctx.wanted)
        pairs = zip(found, ctx.wanted, strict=True)
        return (*(part if want else None for part, want in pairs), None, None)

    name = f"spikeloom::{kind}"
    tags = (torch.Tag.pt2_compliant_tag,)
    _operators.define(kind + SCHEMA, tags=tags)
    _operators.define(f"{kind}_backward{BACKWARD_SCHEMA}", tags=tags)
    _operators.impl(kind, run_forward, "CPU")
    _operators.impl(f"{kind}_backward", run_backward, "CPU")
    library.register_fake(name, fake_forward, lib=_operators)
    library.register_fake(f"{name}_backward", fake_backward, lib=_operators)
    library.register_autograd(name, gradient, setup_context=setup, lib=_operators)
    library.register_autograd(f"{name}_backward", refuse_second, lib=_operators)


for _kind in KINDS:
    _register(_kind)
