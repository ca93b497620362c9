"""The fast twin of ``functional.bn_lif``: same arguments, same results."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from spikeloom.functional import Decay, Reset, Smooth, Surrogate, Value, check_sequence
from spikeloom.functional.neurons.lif import DEFAULT_DECAY, DEFAULT_SURROGATE
from spikeloom.kernels.cpu import neurons, norm_ops
from spikeloom.kernels.cpu.curves import CURVES, numbers
from spikeloom.kernels.cpu.neurons import RESETS
from spikeloom.kernels.cpu.norm_ops import Given, Norm
from spikeloom.kernels.cpu.ops import NOTHING, Numbers, Options


def bn_lif(
    x_seq: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor,
    running_var: Tensor,
    v: Tensor | None = None,
    *,
    training: bool,
    momentum: float = 0.1,
    eps: float = 1e-5,
    decay: Decay = DEFAULT_DECAY,
    v_threshold: Value = 1.0,
    reset: Reset = "hard",
    v_reset: float = 0.0,
    detach_reset: bool = False,
    surrogate: Surrogate | Smooth = DEFAULT_SURROGATE,
    strict: bool = False,
) -> tuple[Tensor, Tensor]:
    """:func:`spikeloom.functional.bn_lif`: statistics, then norm and neurons in one pass.

    For the backward it keeps its input and the statistics.
    """
    check_sequence(x_seq, least=3)
    keep, keep_number, gain = neurons.leak(decay)
    threshold, threshold_number = neurons.number_or_tensor(v_threshold)
    norm = Norm(
        wide(weight), wide(bias),
        None if training else running_mean.float(), None if training else running_var.float(),
    )  # fmt: skip
    given = Given(
        x_seq, neurons.state_for(x_seq, v), norm, keep, threshold,
        Numbers(
            keep_number, gain, 0.0, 1.0, threshold_number, 0.0, float(v_reset), *numbers(surrogate)
        ),
        Options(
            RESETS[reset], int(detach_reset), int(strict), CURVES[type(surrogate)],
            int(decay.decay_input), 0, NOTHING,
        ),
        float(eps),
    )  # fmt: skip
    out, v_end, mean, var = norm_ops.run(given)
    values = x_seq.numel() // max(1, x_seq.shape[2])
    if training and values:
        move(running_mean, running_var, mean, var, values, momentum)
    return out, v_end


@torch.no_grad()
def move(
    running_mean: Tensor,
    running_var: Tensor,
    mean: Tensor,
    var: Tensor,
    values: int,
    momentum: float,
) -> None:
    """Let the running averages follow the statistics of so many values a channel.

    Shape:
        all [C]; ``var`` is the biased one
    """
    unbiased = var * (values / (values - 1))
    running_mean.lerp_(mean.to(running_mean.dtype), momentum)
    running_var.lerp_(unbiased.to(running_var.dtype), momentum)


def objections(
    x_seq: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor,
    running_var: Tensor,
    v: Tensor | None = None,
    *,
    training: bool,
    momentum: float = 0.1,
    eps: float = 1e-5,
    **options: Any,
) -> Iterator[str]:
    """Why the kernel cannot serve a call; nothing if it can."""
    yield from neurons.objections(x_seq, v, **options)
    if x_seq.dim() < 3:
        yield f"x_seq has shape {tuple(x_seq.shape)}, which is no sequence [T, N, C, *]"
        return
    C = x_seq.shape[2]
    given = {
        "weight": weight, "bias": bias, "running_mean": running_mean, "running_var": running_var,
    }  # fmt: skip
    for name, value in given.items():
        if value is None and name in ("weight", "bias"):
            continue
        if value is None or value.shape != (C,) or value.device != x_seq.device:
            yield f"{name} is not [{C}] on {x_seq.device}, one number a channel"
        elif value.dtype not in (torch.float32, x_seq.dtype):
            yield f"{name} is {value.dtype}, x_seq {x_seq.dtype}"
    if momentum is None:
        yield "the running averages are plain means (momentum None)"
    if training and x_seq.numel() == C:
        yield "statistics of one value per channel"


def wide(value: Tensor | None) -> Tensor | None:
    """In float32, as the kernels read it."""
    return None if value is None else value.float()
