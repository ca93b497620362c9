"""LIF neurons that also hear the last spikes of their layer.

    i[t] = x[t] + W s[t-1]                                drive
    h[t] = rest + keep (v[t-1] - rest) + gain i[t]        charge; then fire and reset as in lif

W has the neurons that hear in its rows and those that are heard in its columns. A sample may have
further axes behind the channels C: then neurons hear those of other channels at their own place.
"""

from typing import NamedTuple

from torch import Tensor
from torch.nn.functional import linear

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
from spikeloom.functional.sequence import check_sequence, sequence, steps
from spikeloom.functional.surrogate import Smooth, Surrogate


class RecurrentState(NamedTuple):
    """Potential after reset and spikes, as the last step left them."""

    v: Tensor
    spike: Tensor


class RecurrentTrace(NamedTuple):
    """Everything a step leaves: spikes, potential before and after reset."""

    spike_seq: Tensor
    h_seq: Tensor
    v_seq: Tensor

    @property
    def last(self) -> RecurrentState:
        """The state after the last step."""
        return RecurrentState(self.v_seq[-1], self.spike_seq[-1])


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
    """LIF neurons over T steps whose last spikes come back to them through a weight.

    i[t] = x[t] + W spike[t-1], then :func:`lif` on the input i.

    Args:
        x_seq: input current [v_threshold].
        state: potential [v_threshold] and spikes before the first step; at rest and 0 if None.
        weight: W; row c holds what neuron c hears of the others [v_threshold].
        decay: leak of the potential per step; with ``decay_input`` it scales all of i.
        v_threshold: firing threshold; a number or a tensor that broadcasts against [N, C, *].
        reset: ``hard`` (to ``v_reset``), ``soft`` (subtract the threshold) or ``none``.
        v_reset: potential after a hard reset, and the rest potential with it.
        detach_reset: leave the spike in the reset out of the gradient; the gradient through W
            stays.
        surrogate: slope used for the spike in backward.
        strict: fire only above the threshold, not at it.
    Shape:
        x_seq [T, N, C, *], weight [C, C], v [N, C, *], spike [N, C, *] ->
        spike_seq [T, N, C, *], (v [N, C, *], spike [N, C, *])

    Returns:
        Spikes in {0, 1} and the state after the last step, all with the dtype of x_seq; half
        precision is computed in float32 and rounded at the end.

    Raises:
        ValueError: no time or channel axis; x_seq is not floating point; weight is not [C, C];
            unknown reset; the state, decay or v_threshold does not fit x_seq[0].
    Source:
        Gerstner et al., Neuronal Dynamics (2014), sec. 1.3, with a delay of one step.

    Example:
        >>> ring = torch.tensor([[0.0, 1.0], [1.0, 0.0]])  # each neuron wakes the other
        >>> x_seq = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 0.0]])[:, None]
        >>> recurrent_lif(x_seq, weight=ring, decay=NO_DECAY)[0].squeeze().tolist()
        [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]
    """
    _check(x_seq, weight, decay, v_threshold)
    state = _start(x_seq, state, rest_potential(reset, v_reset))
    spikes = []
    for x in steps(wide(x_seq)):
        _, state = recurrent_lif_step(
            x, state, weight=weight, decay=decay, v_threshold=v_threshold, reset=reset,
            v_reset=v_reset, detach_reset=detach_reset, surrogate=surrogate, strict=strict,
        )  # fmt: skip
        spikes.append(state.spike.to(x_seq.dtype))
    return sequence(spikes), RecurrentState(*(part.to(x_seq.dtype) for part in state))


def recurrent_lif_trace(
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
) -> RecurrentTrace:
    """:func:`recurrent_lif` that also returns the potentials before and after every reset.

    Shape:
        x_seq [T, N, C, *], weight [C, C], v [N, C, *], spike [N, C, *] ->
        spike_seq, h_seq, v_seq, each [T, N, C, *]
    """
    _check(x_seq, weight, decay, v_threshold)
    state = _start(x_seq, state, rest_potential(reset, v_reset))
    trace = []
    for x in steps(wide(x_seq)):
        h, state = recurrent_lif_step(
            x, state, weight=weight, decay=decay, v_threshold=v_threshold, reset=reset,
            v_reset=v_reset, detach_reset=detach_reset, surrogate=surrogate, strict=strict,
        )  # fmt: skip
        trace.append((state.spike, h, state.v))
    columns = (sequence(list(part)).to(x_seq.dtype) for part in zip(*trace, strict=True))
    return RecurrentTrace(*columns)


def recurrent_lif_step(
    x: Tensor,
    state: tuple[Tensor, Tensor],
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
    """One step of :func:`recurrent_lif`; the spikes are part of the state.

    Shape:
        x [N, C, *], weight [C, C], v [N, C, *], spike [N, C, *] ->
        h [N, C, *], (v [N, C, *], spike [N, C, *])
    """
    v, spike = state
    s, h, v = lif_step(
        x + heard(spike, weight), v, decay=decay, v_threshold=v_threshold, reset=reset,
        v_reset=v_reset, detach_reset=detach_reset, surrogate=surrogate, strict=strict,
    )  # fmt: skip
    return h, RecurrentState(v, s)


def heard(spike: Tensor, weight: Tensor) -> Tensor:
    """W s, over the channels of every place.

    Shape:
        spike [N, C, *], weight [C, C] -> [N, C, *]
    """
    weight = weight.to(spike.dtype)
    if spike.dim() == 2:
        return linear(spike, weight)
    return linear(spike.movedim(1, -1), weight).movedim(-1, 1)


def _check(x_seq: Tensor, weight: Tensor, decay: Decay, v_threshold: Value) -> None:
    check_sequence(x_seq, least=3)
    check_inputs(x_seq, decay=decay, v_threshold=v_threshold)
    channels = x_seq.shape[2]
    if weight.shape != (channels, channels):
        raise ValueError(
            f"the recurrent weight has shape {tuple(weight.shape)}, but x_seq "
            f"{tuple(x_seq.shape)} has {channels} channels; expected ({channels}, {channels})"
        )


def _start(x_seq: Tensor, state: tuple[Tensor, Tensor] | None, rest: float) -> RecurrentState:
    v, spike = (None, None) if state is None else state
    return RecurrentState(start(x_seq, v, rest), start(x_seq, spike))
