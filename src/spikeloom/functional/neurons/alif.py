"""Adaptive LIF: every spike raises the neuron's own threshold, which then sinks back.

    A[t] = v_threshold + beta a[t-1]                      threshold in force
    h[t] = rest + keep (v[t-1] - rest) + gain x[t]        charge, as in lif
    s[t] = h[t] >= A[t]                                   fire
    v[t] = reset of h[t] by s[t]; soft subtracts A[t]     reset, as in lif
    a[t] = keep_a a[t-1] + gain_a s[t]                    adapt

A spike thus acts on the threshold from the next step on. The papers write a[t] for our a[t-1], the
adaptation in force at step t; here every state with index t is what step t leaves behind, so that
(v[t], a[t]) is all a later call needs.

``gain_a`` is 1 with ``decay_input=False`` (Bellec et al. 2020) and ``1 - keep_a`` with
``decay_input=True`` (Bellec et al. 2018).

Where we differ: no refractory time, no synaptic delay. Soft reset subtracts the threshold that was
crossed, A[t], as in the 2018 paper; the 2020 paper subtracts the constant part ``v_threshold``.
"""

from typing import NamedTuple

from torch import Tensor

from spikeloom.functional.decay import Decay, Value, exponential
from spikeloom.functional.neurons.inputs import check_inputs, wide
from spikeloom.functional.neurons.lif import (
    DEFAULT_DECAY,
    DEFAULT_SURROGATE,
    Reset,
    charge,
    lif_step,
    rest_potential,
    start,
)
from spikeloom.functional.sequence import sequence, steps
from spikeloom.functional.surrogate import Smooth, Surrogate

DEFAULT_ADAPTATION = exponential(200.0)


class ALIFState(NamedTuple):
    """Potential after reset and adaptation, as the last step left them."""

    v: Tensor
    a: Tensor


class ALIFTrace(NamedTuple):
    """Everything a step leaves: spikes, potential before and after reset, adaptation.

    The threshold in force at step t is ``v_threshold + beta * a_seq[t - 1]``.
    """

    spike_seq: Tensor
    h_seq: Tensor
    v_seq: Tensor
    a_seq: Tensor

    @property
    def last(self) -> ALIFState:
        """The state after the last step."""
        return ALIFState(self.v_seq[-1], self.a_seq[-1])


def alif(
    x_seq: Tensor,
    state: tuple[Tensor, Tensor] | None = None,
    *,
    decay: Decay = DEFAULT_DECAY,
    adaptation_decay: Decay = DEFAULT_ADAPTATION,
    beta: Value = 0.2,
    v_threshold: Value = 1.0,
    reset: Reset = "hard",
    v_reset: float = 0.0,
    detach_reset: bool = False,
    surrogate: Surrogate | Smooth = DEFAULT_SURROGATE,
    strict: bool = False,
) -> tuple[Tensor, ALIFState]:
    """LIF neurons with an adaptive threshold over T steps.

    spike[t] = h[t] >= v_threshold + beta a[t-1];  a[t] = keep_a a[t-1] + gain_a spike[t].

    Args:
        x_seq: input current [v_threshold].
        state: potential [v_threshold] and adaptation before the first step; at rest and 0 if None.
        decay: leak of the potential per step.
        adaptation_decay: leak of the adaptation per step, slower than ``decay`` as a rule.
        beta: rise of the threshold per unit of adaptation [v_threshold]; 0 gives :func:`lif`.
        v_threshold: threshold without adaptation; like beta a number or a tensor that broadcasts
            against [N, *].
        reset: ``hard`` (to ``v_reset``), ``soft`` (subtract the threshold in force) or ``none``.
        v_reset: potential after a hard reset, and the rest potential with it.
        detach_reset: leave the spike in the reset out of the gradient; the gradient through the
            adaptation stays.
        surrogate: slope used for the spike in backward.
        strict: fire only above the threshold, not at it.
    Shape:
        x_seq [T, N, *], v [N, *], a [N, *] -> spike_seq [T, N, *], (v [N, *], a [N, *])

    Returns:
        Spikes in {0, 1} and the state after the last step, all with the dtype of x_seq; half
        precision is computed in float32 and rounded at the end.

    Raises:
        ValueError: no time axis; x_seq is not floating point; unknown reset; the state, a decay or
            a value does not fit x_seq[0].
    Source:
        Bellec et al., NeurIPS 2018 (arXiv 1803.09574), sec. 2; Bellec et al., Nature
        Communications 11:3625, 2020. Deviations: see the head of this file.

    Example:
        >>> spikes, state = alif(torch.full((4, 1, 1), 2.0), decay=NO_DECAY, beta=2.0)
        >>> spikes.flatten().tolist()  # thresholds 1, 3, then almost 3
        [1.0, 0.0, 1.0, 0.0]
    """
    check_inputs(
        x_seq,
        decay=decay,
        adaptation_decay=adaptation_decay,
        beta=beta,
        v_threshold=v_threshold,
    )
    state = _start(x_seq, state, rest_potential(reset, v_reset))
    spikes = []
    for x in steps(wide(x_seq)):
        s, _, state = alif_step(
            x, state, decay=decay, adaptation_decay=adaptation_decay, beta=beta,
            v_threshold=v_threshold, reset=reset, v_reset=v_reset, detach_reset=detach_reset,
            surrogate=surrogate, strict=strict,
        )  # fmt: skip
        spikes.append(s.to(x_seq.dtype))
    return sequence(spikes), ALIFState(*(part.to(x_seq.dtype) for part in state))


def alif_trace(
    x_seq: Tensor,
    state: tuple[Tensor, Tensor] | None = None,
    *,
    decay: Decay = DEFAULT_DECAY,
    adaptation_decay: Decay = DEFAULT_ADAPTATION,
    beta: Value = 0.2,
    v_threshold: Value = 1.0,
    reset: Reset = "hard",
    v_reset: float = 0.0,
    detach_reset: bool = False,
    surrogate: Surrogate | Smooth = DEFAULT_SURROGATE,
    strict: bool = False,
) -> ALIFTrace:
    """:func:`alif` that also returns potentials and adaptation of every step.

    Shape:
        x_seq [T, N, *], v [N, *], a [N, *] -> spike_seq, h_seq, v_seq, a_seq, each [T, N, *]
    """
    check_inputs(
        x_seq,
        decay=decay,
        adaptation_decay=adaptation_decay,
        beta=beta,
        v_threshold=v_threshold,
    )
    state = _start(x_seq, state, rest_potential(reset, v_reset))
    trace = []
    for x in steps(wide(x_seq)):
        s, h, state = alif_step(
            x, state, decay=decay, adaptation_decay=adaptation_decay, beta=beta,
            v_threshold=v_threshold, reset=reset, v_reset=v_reset, detach_reset=detach_reset,
            surrogate=surrogate, strict=strict,
        )  # fmt: skip
        trace.append((s, h, *state))
    return ALIFTrace(*(sequence(list(part)).to(x_seq.dtype) for part in zip(*trace, strict=True)))


def alif_step(
    x: Tensor,
    state: tuple[Tensor, Tensor],
    *,
    decay: Decay = DEFAULT_DECAY,
    adaptation_decay: Decay = DEFAULT_ADAPTATION,
    beta: Value = 0.2,
    v_threshold: Value = 1.0,
    reset: Reset = "hard",
    v_reset: float = 0.0,
    detach_reset: bool = False,
    surrogate: Surrogate | Smooth = DEFAULT_SURROGATE,
    strict: bool = False,
) -> tuple[Tensor, Tensor, ALIFState]:
    """One step of :func:`alif`: a LIF step at the threshold in force, then the adaptation.

    Shape:
        x [N, *], v [N, *], a [N, *] -> spike [N, *], h [N, *], (v [N, *], a [N, *])
    """
    v, a = state
    s, h, v = lif_step(
        x, v, decay=decay, v_threshold=v_threshold + beta * a, reset=reset, v_reset=v_reset,
        detach_reset=detach_reset, surrogate=surrogate, strict=strict,
    )  # fmt: skip
    return s, h, ALIFState(v, charge(s, a, adaptation_decay))


def _start(x_seq: Tensor, state: tuple[Tensor, Tensor] | None, rest: float) -> ALIFState:
    v, a = (None, None) if state is None else state
    return ALIFState(start(x_seq, v, rest), start(x_seq, a))
