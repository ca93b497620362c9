"""Current-based LIF: the input charges a synaptic current, the current charges the membrane.

    i[t] = keep_syn i[t-1] + gain_syn x[t]                synapse
    h[t] = rest + keep (v[t-1] - rest) + gain i[t]        charge; then fire and reset as in lif

The current of step t drives the membrane in the same step: with ``keep_syn = 0`` and
``gain_syn = 1`` this is LIF. A spike resets the potential and leaves the current alone.
"""

from typing import NamedTuple

from torch import Tensor

from spikeloom.functional.decay import Decay, Value
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


class CubaState(NamedTuple):
    """Synaptic current and potential after reset, as the last step left them."""

    i: Tensor
    v: Tensor


class CubaTrace(NamedTuple):
    """Everything a step leaves: spikes, potential before and after reset, synaptic current."""

    spike_seq: Tensor
    h_seq: Tensor
    v_seq: Tensor
    i_seq: Tensor

    @property
    def last(self) -> CubaState:
        """The state after the last step."""
        return CubaState(self.i_seq[-1], self.v_seq[-1])


def cuba_lif(
    x_seq: Tensor,
    state: tuple[Tensor, Tensor] | None = None,
    *,
    synapse: Decay = DEFAULT_DECAY,
    decay: Decay = DEFAULT_DECAY,
    v_threshold: Value = 1.0,
    reset: Reset = "hard",
    v_reset: float = 0.0,
    detach_reset: bool = False,
    surrogate: Surrogate | Smooth = DEFAULT_SURROGATE,
    strict: bool = False,
) -> tuple[Tensor, CubaState]:
    """Current-based LIF neurons over T steps.

    i[t] = keep_syn i[t-1] + gain_syn x[t], then :func:`lif` on the input i.

    Args:
        x_seq: input to the synapse [v_threshold].
        state: current and potential [v_threshold] before the first step; 0 and at rest if None.
        synapse: leak of the synaptic current per step.
        decay: leak of the potential per step.
        v_threshold: firing threshold; a number or a tensor that broadcasts against [N, *].
        reset: ``hard`` (to ``v_reset``), ``soft`` (subtract the threshold) or ``none``.
        v_reset: potential after a hard reset, and the rest potential with it.
        detach_reset: leave the reset out of the gradient.
        surrogate: slope used for the spike in backward.
        strict: fire only above the threshold, not at it.
    Shape:
        x_seq [T, N, *], i [N, *], v [N, *] -> spike_seq [T, N, *], (i [N, *], v [N, *])

    Returns:
        Spikes in {0, 1} and the state after the last step, all with the dtype of x_seq; half
        precision is computed in float32 and rounded at the end.

    Raises:
        ValueError: no time axis; x_seq is not floating point; unknown reset; the state, a decay or
            a value does not fit x_seq[0].
    Source:
        Gerstner et al., Neuronal Dynamics (2014), sec. 1.3 and 3.1; current-based synapse with
        exponential decay.

    Example:
        >>> halves = euler(2.0, decay_input=False)
        >>> spikes, state = cuba_lif(torch.tensor([1.0, 0.0, 0.0])[:, None], synapse=halves,
        ...                          decay=halves, v_threshold=1.0, reset="soft")
        >>> spikes.flatten().tolist(), state.i.item(), state.v.item()
        ([1.0, 0.0, 0.0], 0.25, 0.5)
    """
    check_inputs(x_seq, synapse=synapse, decay=decay, v_threshold=v_threshold)
    state = _start(x_seq, state, rest_potential(reset, v_reset))
    spikes = []
    for x in steps(wide(x_seq)):
        s, _, state = cuba_lif_step(
            x, state, synapse=synapse, decay=decay, v_threshold=v_threshold, reset=reset,
            v_reset=v_reset, detach_reset=detach_reset, surrogate=surrogate, strict=strict,
        )  # fmt: skip
        spikes.append(s.to(x_seq.dtype))
    return sequence(spikes), CubaState(*(part.to(x_seq.dtype) for part in state))


def cuba_lif_trace(
    x_seq: Tensor,
    state: tuple[Tensor, Tensor] | None = None,
    *,
    synapse: Decay = DEFAULT_DECAY,
    decay: Decay = DEFAULT_DECAY,
    v_threshold: Value = 1.0,
    reset: Reset = "hard",
    v_reset: float = 0.0,
    detach_reset: bool = False,
    surrogate: Surrogate | Smooth = DEFAULT_SURROGATE,
    strict: bool = False,
) -> CubaTrace:
    """:func:`cuba_lif` that also returns potentials and current of every step.

    Shape:
        x_seq [T, N, *], i [N, *], v [N, *] -> spike_seq, h_seq, v_seq, i_seq, each [T, N, *]
    """
    check_inputs(x_seq, synapse=synapse, decay=decay, v_threshold=v_threshold)
    state = _start(x_seq, state, rest_potential(reset, v_reset))
    trace = []
    for x in steps(wide(x_seq)):
        s, h, state = cuba_lif_step(
            x, state, synapse=synapse, decay=decay, v_threshold=v_threshold, reset=reset,
            v_reset=v_reset, detach_reset=detach_reset, surrogate=surrogate, strict=strict,
        )  # fmt: skip
        trace.append((s, h, state.v, state.i))
    return CubaTrace(*(sequence(list(part)).to(x_seq.dtype) for part in zip(*trace, strict=True)))


def cuba_lif_step(
    x: Tensor,
    state: tuple[Tensor, Tensor],
    *,
    synapse: Decay = DEFAULT_DECAY,
    decay: Decay = DEFAULT_DECAY,
    v_threshold: Value = 1.0,
    reset: Reset = "hard",
    v_reset: float = 0.0,
    detach_reset: bool = False,
    surrogate: Surrogate | Smooth = DEFAULT_SURROGATE,
    strict: bool = False,
) -> tuple[Tensor, Tensor, CubaState]:
    """One step of :func:`cuba_lif`.

    Shape:
        x [N, *], i [N, *], v [N, *] -> spike [N, *], h [N, *], (i [N, *], v [N, *])
    """
    i, v = state
    i = charge(x, i, synapse)
    s, h, v = lif_step(
        i, v, decay=decay, v_threshold=v_threshold, reset=reset, v_reset=v_reset,
        detach_reset=detach_reset, surrogate=surrogate, strict=strict,
    )  # fmt: skip
    return s, h, CubaState(i, v)


def _start(x_seq: Tensor, state: tuple[Tensor, Tensor] | None, rest: float) -> CubaState:
    i, v = (None, None) if state is None else state
    return CubaState(start(x_seq, i), start(x_seq, v, rest))
