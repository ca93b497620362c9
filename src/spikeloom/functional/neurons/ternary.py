"""Leaky neurons whose spikes have levels 0, 1 and 2.

    h[t] = rest + keep (v[t-1] - rest) + gain x[t]                     charge
    s[t] = [h[t] >= v_threshold] + [h[t] >= v_threshold + gap]         fire
    v[t] = v_reset where s[t] > 0   (hard)                             reset
           h[t] - gap s[t]          (soft)
           h[t]                     (none)

With v_threshold 0.5 and gap 1 the level is the potential, rounded and clamped to {0, 1, 2}. With an
infinite gap these are LIF neurons.
"""

import math

from torch import Tensor

from spikeloom.functional.decay import Decay, Value
from spikeloom.functional.neurons.inputs import check_inputs, wide
from spikeloom.functional.neurons.lif import (
    DEFAULT_DECAY,
    DEFAULT_SURROGATE,
    Reset,
    Trace,
    charge,
    rest_potential,
    start,
)
from spikeloom.functional.sequence import sequence, steps
from spikeloom.functional.surrogate import Smooth, Surrogate, spike


def ternary_lif(
    x_seq: Tensor,
    v: Tensor | None = None,
    *,
    decay: Decay = DEFAULT_DECAY,
    v_threshold: Value = 1.0,
    gap: Value = 1.0,
    reset: Reset = "hard",
    v_reset: float = 0.0,
    detach_reset: bool = False,
    surrogate: Surrogate | Smooth = DEFAULT_SURROGATE,
    strict: bool = False,
) -> tuple[Tensor, Tensor]:
    """Leaky neurons over T steps whose spikes have levels 0, 1 and 2.

    h[t] = rest + keep (v[t-1] - rest) + gain x[t];
    s[t] = [h[t] >= v_threshold] + [h[t] >= v_threshold + gap];  then reset.

    Backward, ds/dh = g(h - v_threshold) + g(h - v_threshold - gap), g the surrogate's slope. With
    the rectangle of width 1, v_threshold 0.5 and gap 1 that is 1 from h = 0 to 2 and 0 elsewhere.

    Args:
        x_seq: input current.
        v: potential before the first step; at rest if None.
        decay: leak per step.
        v_threshold: of level 1; a number or a tensor that broadcasts against [N, *].
        gap: from there to the threshold of level 2, > 0; likewise.
        reset: ``hard`` (to ``v_reset``, from level 1 on), ``soft`` (subtract ``gap`` for each
            level) or ``none``.
        v_reset: potential after a hard reset, and the rest potential with it.
        detach_reset: leave the reset out of the gradient.
        surrogate: slope used for both steps of a spike in backward.
        strict: fire only above a threshold, not at it.
    Shape:
        x_seq [T, N, *], v [N, *] -> spike_seq [T, N, *], v [N, *]

    Returns:
        Spikes in {0, 1, 2} and the potential after the last reset, both with the dtype of x_seq;
        half precision is computed in float32 and rounded at the end.

    Raises:
        ValueError: as ``lif``; a soft reset with an infinite gap.
    Source:
        Wan et al., NeurIPS 2025 (Spik-NeRF). The threshold of level 2, the hard reset from any
        level and the surrogate are inferred.

    Example:
        >>> x_seq = torch.tensor([0.4, 1.0, 3.0]).view(1, 1, 3)
        >>> spikes, v = ternary_lif(x_seq, decay=NO_DECAY, v_threshold=0.5)
        >>> spikes.flatten().tolist()
        [0.0, 1.0, 2.0]
    """
    check_inputs(x_seq, decay=decay, v_threshold=v_threshold, gap=gap)
    v = start(x_seq, v, rest_potential(reset, v_reset))
    spikes = []
    for x in steps(wide(x_seq)):
        s, _, v = ternary_lif_step(
            x, v, decay=decay, v_threshold=v_threshold, gap=gap, reset=reset, v_reset=v_reset,
            detach_reset=detach_reset, surrogate=surrogate, strict=strict,
        )  # fmt: skip
        spikes.append(s.to(x_seq.dtype))
    return sequence(spikes), v.to(x_seq.dtype)


def ternary_lif_trace(
    x_seq: Tensor,
    v: Tensor | None = None,
    *,
    decay: Decay = DEFAULT_DECAY,
    v_threshold: Value = 1.0,
    gap: Value = 1.0,
    reset: Reset = "hard",
    v_reset: float = 0.0,
    detach_reset: bool = False,
    surrogate: Surrogate | Smooth = DEFAULT_SURROGATE,
    strict: bool = False,
) -> Trace:
    """:func:`ternary_lif` that also returns the potentials before and after every reset.

    Shape:
        x_seq [T, N, *], v [N, *] -> spike_seq, h_seq, v_seq, each [T, N, *]
    """
    check_inputs(x_seq, decay=decay, v_threshold=v_threshold, gap=gap)
    v = start(x_seq, v, rest_potential(reset, v_reset))
    trace = []
    for x in steps(wide(x_seq)):
        s, h, v = ternary_lif_step(
            x, v, decay=decay, v_threshold=v_threshold, gap=gap, reset=reset, v_reset=v_reset,
            detach_reset=detach_reset, surrogate=surrogate, strict=strict,
        )  # fmt: skip
        trace.append((s, h, v))
    return Trace(*(sequence(list(part)).to(x_seq.dtype) for part in zip(*trace, strict=True)))


def ternary_lif_step(
    x: Tensor,
    v: Tensor,
    *,
    decay: Decay = DEFAULT_DECAY,
    v_threshold: Value = 1.0,
    gap: Value = 1.0,
    reset: Reset = "hard",
    v_reset: float = 0.0,
    detach_reset: bool = False,
    surrogate: Surrogate | Smooth = DEFAULT_SURROGATE,
    strict: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """One step of :func:`ternary_lif`, in the dtype that its arguments promote to.

    Shape:
        x [N, *], v [N, *] -> spike [N, *], h [N, *], v [N, *]
    """
    h = charge(x, v, decay, rest_potential(reset, v_reset))
    u = h - v_threshold
    first = spike(u, surrogate, strict=strict)
    s = first + spike(u - gap, surrogate, strict=strict)
    return s, h, _after(h, first, s, gap, reset, v_reset, detach_reset)


def _after(
    h: Tensor, first: Tensor, s: Tensor, gap: Value, reset: Reset, v_reset: float, detach: bool
) -> Tensor:
    """The potential after spikes ``s``, of which ``first`` says where there are any."""
    if detach:
        first, s = first.detach(), s.detach()
    if reset == "hard":
        return h * (1 - first) + v_reset * first if v_reset else h * (1 - first)
    if reset == "soft":
        if not isinstance(gap, Tensor) and math.isinf(gap):
            raise ValueError(
                "a soft reset subtracts the gap for each level, which must be finite then; "
                "use reset = 'hard'"
            )
        return h - gap * s
    if reset == "none":
        return h
    raise ValueError(f"reset must be 'hard', 'soft' or 'none', got {reset!r}")
