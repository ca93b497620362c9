"""Leaky neurons that fire with either sign, and with an amplitude.

h[t] = keep v[t-1] + gain x[t]                                   charge
b[t] = [h[t] >= v_threshold] - [h[t] <= -v_threshold]            fire
o[t] = amplitude b[t]
v[t] = h[t] where b[t] is 0, else 0   (hard)                     reset
       h[t] - v_threshold b[t]        (soft)
       h[t]                           (none)
"""

from torch import Tensor

from spikeloom.functional.decay import Decay, Value
from spikeloom.functional.neurons.inputs import check_inputs, wide
from spikeloom.functional.neurons.lif import (
    DEFAULT_DECAY,
    DEFAULT_SURROGATE,
    Reset,
    Trace,
    charge,
    start,
)
from spikeloom.functional.sequence import sequence, steps
from spikeloom.functional.surrogate import Smooth, Surrogate, spike


def ternary_spike(
    x_seq: Tensor,
    v: Tensor | None = None,
    *,
    decay: Decay = DEFAULT_DECAY,
    v_threshold: Value = 1.0,
    amplitude: Value = 1.0,
    reset: Reset = "hard",
    detach_reset: bool = False,
    surrogate: Surrogate | Smooth = DEFAULT_SURROGATE,
    strict: bool = False,
) -> tuple[Tensor, Tensor]:
    """Leaky neurons over T steps that fire at a threshold of either sign.

    h[t] = keep v[t-1] + gain x[t];  b[t] = [h[t] >= v_threshold] - [h[t] <= -v_threshold];
    then reset;  what comes out is amplitude b[t].

    Backward, db/dh = g(h - v_threshold) + g(-h - v_threshold), g the surrogate's slope. With the
    rectangle of width 1 and v_threshold 0.5 that is 1 for |h| < 1 (but for h = 0) and 0 elsewhere.

    Args:
        x_seq: input current.
        v: potential before the first step; 0 if None.
        decay: leak per step.
        v_threshold: size at which a neuron fires, > 0.
        amplitude: what a spike is worth; a number or a tensor that broadcasts against [N, *].
        reset: ``hard`` (to 0), ``soft`` (the threshold, with the spike's sign) or ``none``.
        detach_reset: leave the reset out of the gradient.
        surrogate: slope used for both thresholds in backward.
        strict: fire only beyond a threshold, not at it.
    Shape:
        x_seq [T, N, *], v [N, *] -> spike_seq [T, N, *], v [N, *]

    Returns:
        Spikes in {-1, 0, 1} times the amplitude, and the potential after the last reset, both with
        the dtype of x_seq.

    Raises:
        ValueError: as ``lif``.
    Source:
        Guo et al., AAAI 2024 (arXiv 2312.06372, Ternary Spike).

    Example:
        >>> spikes, v = ternary_spike(torch.tensor([-2.0, 0.1, 1.0]).view(1, 1, 3), decay=NO_DECAY)
        >>> spikes.flatten().tolist()
        [-1.0, 0.0, 1.0]
    """
    check_inputs(x_seq, decay=decay, v_threshold=v_threshold, amplitude=amplitude)
    v = start(x_seq, v)
    spikes = []
    for x in steps(wide(x_seq)):
        s, _, v = ternary_spike_step(
            x, v, decay=decay, v_threshold=v_threshold, amplitude=amplitude, reset=reset,
            detach_reset=detach_reset, surrogate=surrogate, strict=strict,
        )  # fmt: skip
        spikes.append(s.to(x_seq.dtype))
    return sequence(spikes), v.to(x_seq.dtype)


def ternary_spike_trace(
    x_seq: Tensor,
    v: Tensor | None = None,
    *,
    decay: Decay = DEFAULT_DECAY,
    v_threshold: Value = 1.0,
    amplitude: Value = 1.0,
    reset: Reset = "hard",
    detach_reset: bool = False,
    surrogate: Surrogate | Smooth = DEFAULT_SURROGATE,
    strict: bool = False,
) -> Trace:
    """:func:`ternary_spike` that also returns the potentials before and after every reset.

    Shape:
        x_seq [T, N, *], v [N, *] -> spike_seq, h_seq, v_seq, each [T, N, *]
    """
    check_inputs(x_seq, decay=decay, v_threshold=v_threshold, amplitude=amplitude)
    v = start(x_seq, v)
    trace = []
    for x in steps(wide(x_seq)):
        s, h, v = ternary_spike_step(
            x, v, decay=decay, v_threshold=v_threshold, amplitude=amplitude, reset=reset,
            detach_reset=detach_reset, surrogate=surrogate, strict=strict,
        )  # fmt: skip
        trace.append((s, h, v))
    return Trace(*(sequence(list(part)).to(x_seq.dtype) for part in zip(*trace, strict=True)))


def ternary_spike_step(
    x: Tensor,
    v: Tensor,
    *,
    decay: Decay = DEFAULT_DECAY,
    v_threshold: Value = 1.0,
    amplitude: Value = 1.0,
    reset: Reset = "hard",
    detach_reset: bool = False,
    surrogate: Surrogate | Smooth = DEFAULT_SURROGATE,
    strict: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """One step of :func:`ternary_spike`, in the dtype that its arguments promote to.

    Shape:
        x [N, *], v [N, *] -> spike [N, *], h [N, *], v [N, *]
    """
    h = charge(x, v, decay)
    up = spike(h - v_threshold, surrogate, strict=strict)
    down = spike(-h - v_threshold, surrogate, strict=strict)
    b = up - down
    fired, signed = up + down, b
    if detach_reset:
        fired, signed = fired.detach(), signed.detach()
    if reset == "hard":
        after = h * (1 - fired)
    elif reset == "soft":
        after = h - v_threshold * signed
    elif reset == "none":
        after = h
    else:
        raise ValueError(f"reset must be 'hard', 'soft' or 'none', got {reset!r}")
    return amplitude * b, h, after
