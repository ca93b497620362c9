"""Neurons without memory of their own: it is in their synapses and in the current of their reset.

    r[t]_jk = keep_jk r[t-1]_jk + gain_jk u_jk s[t-1]_k            recurrent synapses
    b[t] = reset b[t-1] + v_threshold s[t-1]                       reset current
    a[t] = adapt a[t-1] + beta s[t-1]                              adaptation current
    h[t] = x[t] + sum_k r[t]_jk - b[t] - a[t];  s[t] = h[t] > v_threshold

x is what :func:`~spikeloom.functional.synapses` sums up from the layer before.
"""

from typing import NamedTuple

from torch import Tensor

from spikeloom.functional.decay import Decay, Value
from spikeloom.functional.neurons.inputs import check_inputs, wide
from spikeloom.functional.neurons.lif import start
from spikeloom.functional.neurons.synapses import (
    check_synapses,
    effective,
    sharing,
    synapses_step,
)
from spikeloom.functional.sequence import check_sequence, sequence, steps
from spikeloom.functional.surrogate import Smooth, Surrogate, Triangle, spike

TRIANGLE = Triangle()
RESET = Decay(0.95)


class HetSynState(NamedTuple):
    """Currents of recurrent synapses, reset and adaptation; spikes of the last step.

    What a layer does not have is None.
    """

    synapses: Tensor | None
    reset: Tensor | None
    adaptation: Tensor | None
    spike: Tensor


class HetSynTrace(NamedTuple):
    """Everything a step leaves: spikes, the potential, and the potential less the coming reset."""

    spike_seq: Tensor
    h_seq: Tensor
    v_seq: Tensor


def hetsyn_lif(
    x_seq: Tensor,
    state: HetSynState | None = None,
    *,
    weight: Tensor | None = None,
    decay: Decay | None = None,
    reset_decay: Decay | None = RESET,
    adaptation_decay: Decay | None = None,
    beta: float = 0.0,
    v_threshold: float = 1.0,
    detach_reset: bool = False,
    surrogate: Surrogate | Smooth = TRIANGLE,
    strict: bool = True,
) -> tuple[Tensor, HetSynState]:
    """Neurons of HetSyn over T steps, given the sums of their feed-forward currents.

    h[t] = x[t] + sum_k r[t]_jk - b[t] - a[t];  spike[t] = h[t] > v_threshold.

    With one decay ``rho`` for all synapses and the reset these are LIF neurons whose reset follows
    a step later: h[t] = rho h[t-1] + w x[t] - v_threshold spike[t-1]. With ``beta`` they adapt:
    that a spike adds ``beta`` itself to the adaptation, without a factor, is inferred.

    Args:
        x_seq: sums of the feed-forward currents [v_threshold].
        state: what the call for the steps before returned; at rest if None.
        weight: u; row j holds what neuron j hears of each neuron of the layer; None for none.
        decay: of the recurrent currents per step; as that of :func:`synapses`.
        reset_decay: share of the reset current that is kept, a number or a tensor [O]; None for
            neurons without reset.
        adaptation_decay: the same for the adaptation current; None for none.
        beta: what a spike adds to it [v_threshold].
        v_threshold: firing threshold, and what a spike adds to the reset current.
        detach_reset: leave the spikes in reset and adaptation out of the gradient.
        surrogate: slope used for the spike in backward.
        strict: fire only above the threshold, not at it.
    Shape:
        x_seq [T, N, O], weight [O, O] -> spike_seq [T, N, O], a state of [N, O, O] (or what
        shared decays leave of it) and three [N, O]

    Returns:
        Spikes in {0, 1} and the state after the last step, all with the dtype of x_seq; half
        precision is computed in float32 and rounded at the end.

    Raises:
        ValueError: no time axis; x_seq is not floating point; weight without decay or the other way
            round; a shape that does not fit another.
    Source:
        Deng et al., NeurIPS 2025 (arXiv 2508.11644), eqs. 5 to 9 and propositions 1 to 3.

    Example:
        >>> spikes, state = hetsyn_lif(torch.full((3, 1, 1), 1.5), reset_decay=Decay(0.5))
        >>> spikes.flatten().tolist(), state.reset.item()
        ([1.0, 0.0, 1.0], 0.5)
    """
    trace, last = _run(
        x_seq, state, weight=weight, decay=decay, reset_decay=reset_decay,
        adaptation_decay=adaptation_decay, beta=beta, v_threshold=v_threshold,
        detach_reset=detach_reset, surrogate=surrogate, strict=strict,
    )  # fmt: skip
    return sequence([s for s, _ in trace]).to(x_seq.dtype), last


def hetsyn_lif_trace(
    x_seq: Tensor,
    state: HetSynState | None = None,
    *,
    weight: Tensor | None = None,
    decay: Decay | None = None,
    reset_decay: Decay | None = RESET,
    adaptation_decay: Decay | None = None,
    beta: float = 0.0,
    v_threshold: float = 1.0,
    detach_reset: bool = False,
    surrogate: Surrogate | Smooth = TRIANGLE,
    strict: bool = True,
) -> HetSynTrace:
    """:func:`hetsyn_lif` that also returns the potentials of every step.

    Shape:
        x_seq [T, N, O] -> spike_seq, h_seq, v_seq, each [T, N, O]
    """
    trace, _ = _run(
        x_seq, state, weight=weight, decay=decay, reset_decay=reset_decay,
        adaptation_decay=adaptation_decay, beta=beta, v_threshold=v_threshold,
        detach_reset=detach_reset, surrogate=surrogate, strict=strict,
    )  # fmt: skip
    spike_seq, h_seq = (sequence(list(part)) for part in zip(*trace, strict=True))
    after = h_seq - (0 if reset_decay is None else v_threshold) * spike_seq
    return HetSynTrace(*(part.to(x_seq.dtype) for part in (spike_seq, h_seq, after)))


def check_hetsyn(
    x_seq: Tensor,
    state: HetSynState | None,
    weight: Tensor | None,
    decay: Decay | None,
    **values: Decay | None,
) -> None:
    """Raise ValueError unless all arguments of :func:`hetsyn_lif` fit."""
    check_sequence(x_seq, least=3)
    check_inputs(x_seq, **{name: value for name, value in values.items() if value is not None})
    if x_seq.dim() != 3:
        raise ValueError(f"expected a sequence [T, N, O], got {tuple(x_seq.shape)}")
    if (weight is None) != (decay is None):
        raise ValueError("recurrent synapses need both weight and decay, or neither; got one")
    if weight is not None and decay is not None:
        check_synapses(x_seq, None if state is None else state.synapses, weight, decay)
        if weight.shape[0] != weight.shape[1]:
            raise ValueError(f"recurrent weights are square, got {tuple(weight.shape)}")
    for name in ("reset", "adaptation", "spike"):
        part = None if state is None else getattr(state, name)
        if part is not None and part.shape != x_seq.shape[1:]:
            raise ValueError(
                f"the carried {name} has shape {tuple(part.shape)}, one step of the input "
                f"{tuple(x_seq.shape[1:])}; pass the state that came back with the same batch"
            )


def decayed(current: Tensor, decay: Decay, amount: float, s: Tensor) -> Tensor:
    """A current that jumps by ``amount`` with every spike."""
    return decay.keep * current + decay.gain * (amount * s)


def _run(
    x_seq: Tensor,
    state: HetSynState | None,
    *,
    weight: Tensor | None,
    decay: Decay | None,
    reset_decay: Decay | None,
    adaptation_decay: Decay | None,
    beta: float,
    v_threshold: float,
    detach_reset: bool,
    surrogate: Surrogate | Smooth,
    strict: bool,
) -> tuple[list[tuple[Tensor, Tensor]], HetSynState]:
    """Spikes and potentials of every step, and the state after the last."""
    check_hetsyn(x_seq, state, weight, decay, reset_decay=reset_decay, adaptation=adaptation_decay)
    current, b, a, s = state or (None, None, None, None)
    s, b, a = (start(x_seq, part) for part in (s, b, a))
    current = None if current is None else wide(current)
    if weight is not None and decay is not None:
        kind = sharing(decay.keep, weight)
        weight, keep = effective(weight.to(s.dtype), decay)
    trace = []
    for x in steps(wide(x_seq)):
        back = s.detach() if detach_reset else s
        h = x
        if weight is not None:
            heard, current = synapses_step(s, current, weight=weight, keep=keep, kind=kind)
            h = h + heard
        if reset_decay is not None:
            b = decayed(b, reset_decay, v_threshold, back)
            h = h - b
        if adaptation_decay is not None:
            a = decayed(a, adaptation_decay, beta, back)
            h = h - a
        s = spike(h - v_threshold, surrogate, strict=strict)
        trace.append((s, h))
    ends = (
        current, b if reset_decay is not None else None,
        a if adaptation_decay is not None else None, s,
    )  # fmt: skip
    return trace, HetSynState(*(None if e is None else e.to(x_seq.dtype) for e in ends))  # type: ignore[arg-type]
