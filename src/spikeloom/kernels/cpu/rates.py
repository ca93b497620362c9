"""The fast twins of ``functional.lif_rate`` and ``functional.bn_lif_rate``.

They have no gradient, and are no operators of PyTorch: compiled graphs run the truth.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from spikeloom.functional import Decay, RateState, Reset, Smooth, Surrogate, Value, check_sequence
from spikeloom.functional.neurons.inputs import check_state
from spikeloom.functional.neurons.lif import DEFAULT_DECAY, DEFAULT_SURROGATE
from spikeloom.kernels.cpu import native, neurons, norm_ops, norms, ops
from spikeloom.kernels.cpu.curves import CURVES, numbers
from spikeloom.kernels.cpu.layout import new_sequence, new_step, step_as, with_dense_steps
from spikeloom.kernels.cpu.native import Call
from spikeloom.kernels.cpu.norm_ops import Given, Norm
from spikeloom.kernels.cpu.ops import Maybe, Numbers, Options, Values
from spikeloom.kernels.cpu.pool import empty

STATES = ("v", "p", "spike_sum", "gain_sum")


@torch.no_grad()
def lif_rate(
    x_seq: Tensor, state: RateState | None = None, **options: Any
) -> tuple[Tensor, RateState]:
    """:func:`spikeloom.functional.lif_rate`, fused over time; its arguments."""
    check_sequence(x_seq)
    x_seq = with_dense_steps(x_seq)
    values, of_call, choices = _neuron(**options)
    call, alive = ops.call_for("lif", x_seq, values, of_call, choices, Values())
    call.x, call.x_stride = x_seq.data_ptr(), x_seq.stride(0)
    out, after = _outputs(call, x_seq, state, alive)
    if out.numel():
        native.run("spikeloom_forward", call)
    return out, after


@torch.no_grad()
def bn_lif_rate(
    x_seq: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor,
    running_var: Tensor,
    state: RateState | None = None,
    *,
    momentum: float = 0.1,
    eps: float = 1e-5,
    **options: Any,
) -> tuple[Tensor, RateState, Tensor, Tensor]:
    """:func:`spikeloom.functional.bn_lif_rate`: statistics, then norm and neurons in one pass."""
    check_sequence(x_seq, least=3)
    x_seq = with_dense_steps(x_seq)
    C = x_seq.shape[2]
    values, of_call, choices = _neuron(**options)
    mean, var = (empty((C,), (1,), torch.float32) for _ in range(2))
    norm = Norm(norms.wide(weight), norms.wide(bias), mean, var)
    given = Given(x_seq, None, norm, values.keep, values.threshold, of_call, choices, float(eps))
    call, alive = norm_ops.structure(given, Values(), True)
    out, after = _outputs(call.neuron, x_seq, state, alive)
    if out.numel():
        native.run("spikeloom_norm_forward", call)
        norms.move(running_mean, running_var, mean, var, x_seq.numel() // C, momentum)
    return out, after, mean, torch.rsqrt(var + eps)


def _neuron(
    *,
    decay: Decay = DEFAULT_DECAY,
    v_threshold: Value = 1.0,
    reset: Reset = "hard",
    v_reset: float = 0.0,
    detach_reset: bool = False,
    surrogate: Surrogate | Smooth = DEFAULT_SURROGATE,
    strict: bool = False,
) -> tuple[Values, Numbers, Options]:
    keep, keep_number, gain = neurons.leak(decay)
    threshold, threshold_number = neurons.number_or_tensor(v_threshold)
    of_call = Numbers(
        keep_number, gain, 0.0, 1.0, threshold_number, 0.0, float(v_reset), *numbers(surrogate)
    )
    options = Options(
        neurons.RESETS[reset], int(detach_reset), int(strict), CURVES[type(surrogate)],
        int(decay.decay_input),
    )  # fmt: skip
    return Values(keep, None, threshold), of_call, options


def _outputs(
    call: Call, x_seq: Tensor, state: RateState | None, alive: list[Maybe]
) -> tuple[Tensor, RateState]:
    """Where the call writes to; what it points into goes to ``alive``."""
    out = new_sequence(x_seq, x_seq.dtype)
    v, p, spike_sum, gain_sum = (new_step(x_seq, torch.float32) for _ in STATES)
    call.out, call.v_end, call.p_end = out.data_ptr(), v.data_ptr(), p.data_ptr()
    call.spike_sum_end, call.gain_sum_end = spike_sum.data_ptr(), gain_sum.data_ptr()
    if state is not None:
        for name, part in zip(STATES, state[:4], strict=True):
            check_state(x_seq, part)
            laid = step_as(x_seq, part)
            alive.append(laid)
            setattr(call, name, ops.address(laid))
    earlier = 0 if state is None else state.steps
    return out, RateState(v, p, spike_sum, gain_sum, earlier + len(x_seq))


def objections(x_seq: Tensor, state: RateState | None = None, **options: Any) -> Iterator[str]:
    """Why the kernel cannot serve a call; nothing if it can."""
    yield from neurons.objections(x_seq, **options)
    if torch.compiler.is_compiling() or not ops.plain(x_seq):
        yield "a graph is traced, and this kernel is no operator of PyTorch"
    for part in () if state is None else state[:4]:
        if part.dtype != torch.float32 or part.device != x_seq.device:
            yield f"a state is {part.dtype} on {part.device}, not float32 beside x_seq"


def norm_objections(
    x_seq: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor,
    running_var: Tensor,
    state: RateState | None = None,
    *,
    momentum: float = 0.1,
    eps: float = 1e-5,
    **options: Any,
) -> Iterator[str]:
    """Why the kernel cannot serve a call; nothing if it can."""
    yield from objections(x_seq, state, **options)
    yield from norms.objections(
        x_seq, weight, bias, running_mean, running_var, training=True, momentum=momentum, eps=eps
    )
