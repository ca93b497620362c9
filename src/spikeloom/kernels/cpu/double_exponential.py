"""The fast twin of ``functional.double_exponential``, where no gradient is wanted.

Event-driven learning has gradients of its own, in ``timed``; with surrogate gradients the truth
runs.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from spikeloom.functional import DoubleExponentialState, Smooth, Surrogate, Value
from spikeloom.functional.neurons.double_exponential import response
from spikeloom.functional.neurons.inputs import check_inputs, check_state, wide
from spikeloom.functional.neurons.lif import DEFAULT_SURROGATE
from spikeloom.kernels.cpu import native, neurons, timed
from spikeloom.kernels.cpu.layout import new_sequence, new_step, step_as, with_dense_steps
from spikeloom.kernels.cpu.ops import address


@torch.no_grad()
def double_exponential(
    x_seq: Tensor,
    state: tuple[Tensor, Tensor] | None = None,
    *,
    tau_m: float = 5.0,
    tau_s: float = 3.0,
    v_threshold: Value = 1.0,
    detach_reset: bool = False,
    surrogate: Surrogate | Smooth = DEFAULT_SURROGATE,
    strict: bool = False,
) -> tuple[Tensor, DoubleExponentialState]:
    """:func:`spikeloom.functional.double_exponential`, fused over time, without gradients."""
    check_inputs(x_seq, v_threshold=v_threshold)
    for part in state or ():
        check_state(x_seq, part)
    keep_m, keep_s, gain = response(tau_m, tau_s)
    wide_seq = with_dense_steps(wide(x_seq))
    out = new_sequence(wide_seq, torch.float32)
    ends = [new_step(wide_seq, torch.float32) for _ in range(2)]
    if out.numel():
        threshold, number = neurons.number_or_tensor(v_threshold)
        numbers = keep_m, keep_s, 0.0, gain, 0.0
        call, _alive = timed.call_for(wide_seq, threshold, number, numbers)
        a, b = (step_as(wide_seq, wide(part)) for part in state) if state else (None, None)
        call.strict, call.out = int(strict), out.data_ptr()
        call.a, call.b, call.a_end, call.b_end = map(address, (a, b, *ends))
        native.run("spikeloom_timed_forward", call)
    return out.to(x_seq.dtype), DoubleExponentialState(*(end.to(x_seq.dtype) for end in ends))


def objections(
    x_seq: Tensor, state: Any = None, *, v_threshold: Value = 1.0, **options: Any
) -> Iterator[str]:
    """Why the kernel cannot serve a call; nothing if it can."""
    surrogate = options.get("surrogate", DEFAULT_SURROGATE)
    yield from neurons.objections(x_seq, None, state, v_threshold=v_threshold, surrogate=surrogate)
    tensors = (x_seq, v_threshold, *(state or ()))
    learns = any(isinstance(part, Tensor) and part.requires_grad for part in tensors)
    if torch.is_grad_enabled() and learns:
        yield "a surrogate gradient is wanted"
    yield from timed.traced(x_seq)
