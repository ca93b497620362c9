"""Leaky integrate-and-fire neurons; without leak, integrate-and-fire.

    h[t] = rest + keep (v[t-1] - rest) + gain x[t]        charge
    s[t] = h[t] >= v_threshold                            fire
    v[t] = v_reset where s[t]     (hard)                  reset
           h[t] - v_threshold s[t]  (soft)
           h[t]                   (none)

``keep`` and ``gain`` come from :class:`~spikeloom.functional.decay.Decay`; the rest potential is
``v_reset`` under hard reset and 0 otherwise. Parametric LIF is LIF whose decay is a parameter.
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from spikeloom.functional.decay import NO_DECAY, Decay, Value, euler
from spikeloom.functional.neurons.inputs import check_inputs, check_state, wide
from spikeloom.functional.sequence import sequence, steps
from spikeloom.functional.surrogate import Arctan, Smooth, Surrogate, spike

Reset = Literal["hard", "soft", "none"]

DEFAULT_DECAY = euler(2.0)
DEFAULT_SURROGATE = Arctan()


class Trace(NamedTuple):
    """Everything a step leaves: spikes, potential before reset, potential after reset."""

    spike_seq: Tensor
    h_seq: Tensor
    v_seq: Tensor

    @property
    def last(self) -> Tensor:
        """The state after the last step."""
        return self.v_seq[-1]


def lif(
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
) -> tuple[Tensor, Tensor]:
    """Leaky integrate-and-fire neurons over T steps.

    h[t] = rest + keep (v[t-1] - rest) + gain x[t];  spike[t] = h[t] >= v_threshold;  then reset.

    Args:
        x_seq: input current [v_threshold].
        v: potential before the first step [v_threshold]; at rest if None.
        decay: leak per step, from ``euler``, ``exponential`` or ``factor``.
        v_threshold: firing threshold; a number or a tensor that broadcasts against [N, *].
        reset: ``hard`` (to ``v_reset``), ``soft`` (subtract the threshold) or ``none``.
        v_reset: potential after a hard reset, and the rest potential with it.
        detach_reset: leave the reset out of the gradient.
        surrogate: slope used for the spike in backward.
        strict: fire only above the threshold, not at it.
    Shape:
        x_seq [T, N, *], v [N, *] -> spike_seq [T, N, *], v [N, *]

    Returns:
        Spikes in {0, 1} and the potential after the last reset, both with the dtype of x_seq;
        half precision is computed in float32 and rounded at the end.

    Raises:
        ValueError: no time axis; x_seq is not floating point; unknown reset; v, decay or
            v_threshold does not fit x_seq[0].
    Source:
        Gerstner et al., Neuronal Dynamics (2014), sec. 1.3.

    Example:
        >>> spikes, v = lif(torch.full((3, 1, 1), 1.5))
        >>> spikes.flatten().tolist()
        [0.0, 1.0, 0.0]
    """
    check_inputs(x_seq, decay=decay, v_threshold=v_threshold)
    v = start(x_seq, v, rest_potential(reset, v_reset))
    spikes = []
    for x in steps(wide(x_seq)):
        s, _, v = lif_step(
            x, v, decay=decay, v_threshold=v_threshold, reset=reset, v_reset=v_reset,
            detach_reset=detach_reset, surrogate=surrogate, strict=strict,
        )  # fmt: skip
        spikes.append(s.to(x_seq.dtype))
    return sequence(spikes), v.to(x_seq.dtype)


def lif_trace(
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
) -> Trace:
    """:func:`lif` that also returns the potentials before and after the reset of every step.

    Shape:
        x_seq [T, N, *], v [N, *] -> spike_seq, h_seq, v_seq, each [T, N, *]
    """
    check_inputs(x_seq, decay=decay, v_threshold=v_threshold)
    v = start(x_seq, v, rest_potential(reset, v_reset))
    trace = []
    for x in steps(wide(x_seq)):
        s, h, v = lif_step(
            x, v, decay=decay, v_threshold=v_threshold, reset=reset, v_reset=v_reset,
            detach_reset=detach_reset, surrogate=surrogate, strict=strict,
        )  # fmt: skip
        trace.append((s, h, v))
    return Trace(*(sequence(list(part)).to(x_seq.dtype) for part in zip(*trace, strict=True)))


def lif_step(
    x: Tensor,
    v: Tensor,
    *,
    decay: Decay = DEFAULT_DECAY,
    v_threshold: Value = 1.0,
    reset: Reset = "hard",
    v_reset: float = 0.0,
    detach_reset: bool = False,
    surrogate: Surrogate | Smooth = DEFAULT_SURROGATE,
    strict: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """One step of :func:`lif`, in the dtype that its arguments promote to.

    Shape:
        x [N, *], v [N, *] -> spike [N, *], h [N, *], v [N, *]
    """
    h = charge(x, v, decay, rest_potential(reset, v_reset))
    s = spike(h - v_threshold, surrogate, strict=strict)
    return s, h, after_reset(h, s, v_threshold, reset, v_reset, detach_reset)


def if_(
    x_seq: Tensor,
    v: Tensor | None = None,
    *,
    v_threshold: Value = 1.0,
    reset: Reset = "hard",
    v_reset: float = 0.0,
    detach_reset: bool = False,
    surrogate: Surrogate | Smooth = DEFAULT_SURROGATE,
    strict: bool = False,
) -> tuple[Tensor, Tensor]:
    """Integrate-and-fire neurons over T steps: :func:`lif` without a leak.

    h[t] = v[t-1] + x[t];  spike[t] = h[t] >= v_threshold;  then reset.

    Shape:
        x_seq [T, N, *], v [N, *] -> spike_seq [T, N, *], v [N, *]
    """
    return lif(
        x_seq, v, decay=NO_DECAY, v_threshold=v_threshold, reset=reset, v_reset=v_reset,
        detach_reset=detach_reset, surrogate=surrogate, strict=strict,
    )  # fmt: skip


def start(x_seq: Tensor, state: Tensor | None, rest: float = 0.0) -> Tensor:
    """The state before the first step, as given or ``rest`` everywhere, in float32 at least.

    Raises:
        ValueError: the given state does not have the shape of one step.
    """
    if state is None:
        return torch.full_like(wide(x_seq[0]), rest)
    check_state(x_seq, state)
    return wide(state)


def charge(x: Tensor, v: Tensor, decay: Decay, rest: float = 0.0) -> Tensor:
    """``rest + keep (v - rest) + gain x``."""
    if rest == 0.0:
        return decay.keep * v + decay.gain * x
    return rest + decay.keep * (v - rest) + decay.gain * x


def after_reset(
    h: Tensor, s: Tensor, v_threshold: Value, reset: Reset, v_reset: float, detach_reset: bool
) -> Tensor:
    """The potential after the spikes ``s`` have reset it."""
    if detach_reset:
        s = s.detach()
    if reset == "hard":
        return h * (1 - s) + v_reset * s if v_reset else h * (1 - s)
    if reset == "soft":
        return h - v_threshold * s
    if reset == "none":
        return h
    raise ValueError(f"reset must be 'hard', 'soft' or 'none', got {reset!r}")


def rest_potential(reset: Reset, v_reset: float) -> float:
    """Where the leak pulls to: ``v_reset`` under hard reset, 0 otherwise."""
    return v_reset if reset == "hard" else 0.0
