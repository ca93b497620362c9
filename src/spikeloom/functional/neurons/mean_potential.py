"""LIF neurons that also return the mean of their potential before the reset, with its gradient."""

import torch
from torch import Tensor

from spikeloom.functional.decay import Decay, Value
from spikeloom.functional.neurons.inputs import check_inputs, wide
from spikeloom.functional.neurons.lif import (
    DEFAULT_DECAY,
    DEFAULT_SURROGATE,
    Reset,
    lif_step,
    rest_potential,
    start,
)
from spikeloom.functional.sequence import sequence, steps
from spikeloom.functional.surrogate import Smooth, Surrogate


def lif_mean(
    x_seq: Tensor,
    v: Tensor | None = None,
    *,
    decay: Decay = DEFAULT_DECAY,
    v_threshold: Value = 1.0,
    reset: Reset = "hard",
    v_reset: float = 0.0,
    detach_reset: bool = False,
    surrogate: Surrogate | Smooth = DEFAULT_SURROGATE,
    strict: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """:func:`~spikeloom.functional.lif` that also returns h_mean = mean_t h[t].

    h is the potential before the reset. Losses on the mean potential need no more than this, and
    not h itself, which is as large as the sequence.

    Args:
        x_seq: input current [v_threshold].
        v: potential before the first step [v_threshold]; at rest if None.
        decay, v_threshold, reset, v_reset, detach_reset, surrogate, strict: as for ``lif``.
    Shape:
        x_seq [T, N, *], v [N, *] -> spike_seq [T, N, *], v [N, *], h_mean [N, *]

    Returns:
        Spikes and potential as ``lif``; the mean in float32 at least.

    Raises:
        ValueError: as for ``lif``.

    Example:
        >>> lif_mean(torch.full((2, 1, 1), 0.5))[2].item()  # of 0.25 and 0.375
        0.3125
    """
    check_inputs(x_seq, decay=decay, v_threshold=v_threshold)
    v = start(x_seq, v, rest_potential(reset, v_reset))
    spikes, h_sum = [], torch.zeros_like(v)
    for x in steps(wide(x_seq)):
        s, h, v = lif_step(
            x, v, decay=decay, v_threshold=v_threshold, reset=reset, v_reset=v_reset,
            detach_reset=detach_reset, surrogate=surrogate, strict=strict,
        )  # fmt: skip
        spikes.append(s.to(x_seq.dtype))
        h_sum = h_sum + h
    return sequence(spikes), v.to(x_seq.dtype), h_sum / len(x_seq)
