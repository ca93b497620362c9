"""The fast twin of ``functional.recurrent_lif``: all steps in one call, and back in one."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from spikeloom.functional import (
    Decay,
    RecurrentState,
    Reset,
    Smooth,
    Surrogate,
    Value,
    check_sequence,
)
from spikeloom.functional.neurons.lif import DEFAULT_DECAY, DEFAULT_SURROGATE
from spikeloom.kernels.cpu import neurons, recurrence
from spikeloom.kernels.cpu.curves import CURVES, numbers
from spikeloom.kernels.cpu.ops import NOTHING, POTENTIAL, Numbers, Options
from spikeloom.kernels.setting import current


def recurrent_lif(
    x_seq: Tensor,
    state: tuple[Tensor, Tensor] | None = None,
    *,
    weight: Tensor,
    decay: Decay = DEFAULT_DECAY,
    v_threshold: Value = 1.0,
    reset: Reset = "hard",
    v_reset: float = 0.0,
    detach_reset: bool = False,
    surrogate: Surrogate | Smooth = DEFAULT_SURROGATE,
    strict: bool = False,
) -> tuple[Tensor, RecurrentState]:
    """:func:`spikeloom.functional.recurrent_lif`, fused over time."""
    check_sequence(x_seq, least=3)
    keep, keep_number, gain = neurons.leak(decay)
    threshold, threshold_number = neurons.number_or_tensor(v_threshold)
    v, spike = (neurons.state_for(x_seq, part) for part in state or (None, None))
    tensors = (x_seq, v, spike, weight, keep, threshold)
    needs = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)
    drive_again = keep is not None and keep.requires_grad and decay.decay_input
    low = current().memory == "low" or drive_again
    out, v_end, spike_end = recurrence.run(
        tensors,
        Numbers(
            keep_number, gain, 0.0, 1.0, threshold_number, 0.0, float(v_reset), *numbers(surrogate)
        ),
        Options(
            neurons.RESETS[reset], int(detach_reset), int(strict), CURVES[type(surrogate)],
            int(decay.decay_input), 0, POTENTIAL if needs and not low else NOTHING,
        ),
    )  # fmt: skip
    return out, RecurrentState(v_end, spike_end)


def objections(
    x_seq: Tensor, state: Any = None, *, weight: Tensor, **options: Any
) -> Iterator[str]:
    """Why this kernel cannot serve a call; nothing if it can."""
    yield from neurons.objections(x_seq, state=state, **options)
    if x_seq.dtype == torch.bfloat16:
        yield "x_seq is torch.bfloat16, not float32"
    if x_seq.dim() != 3:
        yield f"x_seq has shape {tuple(x_seq.shape)}, not [T, N, C]"
    if weight.shape != (*x_seq.shape[2:3], *x_seq.shape[2:3]):
        yield f"weight of shape {tuple(weight.shape)} does not fit x_seq {tuple(x_seq.shape)}"
    if weight.dtype != torch.float32 or weight.device != x_seq.device:
        yield f"weight is {weight.dtype} on {weight.device}, not torch.float32 beside x_seq"
    if torch.is_autocast_enabled("cpu"):
        yield "autocast is on: the product with weight is not meant to be float32"
