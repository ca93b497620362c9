"""Neurons without memory of their own: it is in their synapses and in the current of their reset.

    r[t]_jk = keep_jk r[t-1]_jk + gain_jk u_jk s[t-1]_k            recurrent synapses
    b[t] = reset b[t-1] + v_threshold s[t-1]                       reset current
    a[t] = adapt a[t-1] + beta s[t-1]                              adaptation current
    h[t] = x[t] + sum_k r[t]_jk - b[t] - a[t];  s[t] = h[t] > v_threshold

x is what :func:`~spikeloom.functional.synapses` sums up from the layer before. With ``leak`` all
synapses of a neuron share its decay, and x is what arrives at them:

    c[t] = leak c[t-1] + gain (x[t] + sum_k u_jk s[t-1]_k);  h[t] = c[t] - b[t] - a[t]
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import linear

from spikeloom.functional.decay import Decay, Value
from spikeloom.functional.neurons.inputs import check_inputs, wide
from spikeloom.functional.neurons.lif import charge, start
from spikeloom.functional.neurons.synapses import (
    Sharing,
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

    What a layer does not have is None. With ``leak`` the first is the current of all synapses.
    """

    synapses: Tensor | None
    reset: Tensor | None
    adaptation: Tensor | None
    spike: Tensor


class HetSynTrace(NamedTuple):
    """Spikes, the potential, and the potential less the coming reset; the state that is left."""

    spike_seq: Tensor
    h_seq: Tensor
    v_seq: Tensor
    last: HetSynState


def hetsyn_lif(
    x_seq: Tensor,
    state: HetSynState | None = None,
    *,
    weight: Tensor | None = None,
    decay: Decay | None = None,
    leak: Decay | None = None,
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
    a step later: h[t] = rho h[t-1] + w x[t] - v_threshold spike[t-1]; ``leak=rho`` computes them
    with one current a neuron. With ``beta`` they adapt:
    that a spike adds ``beta`` itself to the adaptation, without a factor, is inferred.

    Args:
        x_seq: sums of the feed-forward currents [v_threshold].
        state: what the call for the steps before returned; at rest if None.
        weight: u; row j holds what neuron j hears of each neuron of the layer; None for none.
        decay: of the recurrent currents per step; as that of :func:`synapses`.
        leak: the decay that all synapses of a neuron share, recurrent ones too; x_seq is then what
            arrives at them, not their sums, and ``decay`` is None.
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
        shared decays leave of it) and three [N, O]; without weight O may be several axes

    Returns:
        Spikes in {0, 1} and the state after the last step, all with the dtype of x_seq; half
        precision is computed in float32 and rounded at the end.

    Raises:
        ValueError: no time axis; x_seq is not floating point; weight without one of decay and leak;
            a shape that does not fit another.
    Source:
        Deng et al., NeurIPS 2025 (arXiv 2508.11644), eqs. 5 to 9 and propositions 1 to 3.

    Example:
        >>> spikes, state = hetsyn_lif(torch.full((3, 1, 1), 1.5), reset_decay=Decay(0.5))
        >>> spikes.flatten().tolist(), state.reset.item()
        ([1.0, 0.0, 0.0], 0.5)
    """
    trace, last = _run(
        x_seq, state, weight=weight, decay=decay, leak=leak, reset_decay=reset_decay,
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
    leak: Decay | None = None,
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
    trace, last = _run(
        x_seq, state, weight=weight, decay=decay, leak=leak, reset_decay=reset_decay,
        adaptation_decay=adaptation_decay, beta=beta, v_threshold=v_threshold,
        detach_reset=detach_reset, surrogate=surrogate, strict=strict,
    )  # fmt: skip
    spike_seq, h_seq = (sequence(list(part)) for part in zip(*trace, strict=True))
    after = h_seq - (0 if reset_decay is None else v_threshold) * spike_seq
    dtype = x_seq.dtype
    return HetSynTrace(spike_seq.to(dtype), h_seq.to(dtype), after.to(dtype), last)


def check_hetsyn(
    x_seq: Tensor,
    state: HetSynState | None,
    weight: Tensor | None,
    decay: Decay | None,
    leak: Decay | None,
    **values: Decay | None,
) -> None:
    """Raise ValueError unless all arguments of :func:`hetsyn_lif` fit."""
    given = {"leak": leak, **values}
    check_inputs(x_seq, **{name: value for name, value in given.items() if value is not None})
    _check_recurrence(x_seq, state, weight, decay, leak)
    for name in ("reset", "adaptation", "spike"):
        part = None if state is None else getattr(state, name)
        if part is not None and part.shape != x_seq.shape[1:]:
            raise ValueError(
                f"the carried {name} has shape {tuple(part.shape)}, one step of the input "
                f"{tuple(x_seq.shape[1:])}; pass the state that came back with the same batch"
            )


def _check_recurrence(
    x_seq: Tensor,
    state: HetSynState | None,
    weight: Tensor | None,
    decay: Decay | None,
    leak: Decay | None,
) -> None:
    if leak is not None and decay is not None:
        raise ValueError("give decay or leak, not both: leak is the decay of all synapses")
    if (weight is not None) and (leak is None) == (decay is None):
        raise ValueError("a recurrent weight needs decay or leak; got neither")
    if weight is None and decay is not None:
        raise ValueError("decay is that of recurrent synapses, which need a weight; got none")
    if weight is None:
        return
    check_sequence(x_seq, least=3)
    if x_seq.dim() != 3 or weight.shape != (x_seq.shape[2], x_seq.shape[2]):
        raise ValueError(
            f"a recurrent weight is [O, O] for x_seq [T, N, O], got {tuple(weight.shape)} and "
            f"{tuple(x_seq.shape)}"
        )
    if decay is not None:
        check_synapses(x_seq, None if state is None else state.synapses, weight, decay)


def decayed(current: Tensor, decay: Decay, amount: float, s: Tensor) -> Tensor:
    """A current that jumps by ``amount`` with every spike."""
    return decay.keep * current + decay.gain * (amount * s)


def _run(
    x_seq: Tensor,
    state: HetSynState | None,
    *,
    weight: Tensor | None,
    decay: Decay | None,
    leak: Decay | None,
    reset_decay: Decay | None,
    adaptation_decay: Decay | None,
    beta: float,
    v_threshold: float,
    detach_reset: bool,
    surrogate: Surrogate | Smooth,
    strict: bool,
) -> tuple[list[tuple[Tensor, Tensor]], HetSynState]:
    """Spikes and potentials of every step, and the state after the last."""
    jumps = {"reset": reset_decay, "adaptation": adaptation_decay}
    check_hetsyn(x_seq, state, weight, decay, leak, **jumps)
    current, b, a, s = state or (None, None, None, None)
    s, b, a = (start(x_seq, part) for part in (s, b, a))
    drive, current = _Drive.of(weight, decay, leak, s), None if current is None else wide(current)
    trace = []
    for x in steps(wide(x_seq)):
        back = s.detach() if detach_reset else s
        h, current = drive(x, s, current)
        if reset_decay is not None:
            b = decayed(b, reset_decay, v_threshold, back)
            h = h - b
        if adaptation_decay is not None:
            a = decayed(a, adaptation_decay, beta, back)
            h = h - a
        s = spike(h - v_threshold, surrogate, strict=strict)
        trace.append((s, h))
    kept = (b if reset_decay is not None else None, a if adaptation_decay is not None else None)
    ends = (None if e is None else e.to(x_seq.dtype) for e in (current, *kept, s))
    return trace, HetSynState(*ends)  # type: ignore[arg-type]


class _Drive(NamedTuple):
    """What all synapses of a neuron sum up to at a step."""

    weight: Tensor | None
    keep: Value
    kind: Sharing
    leak: Decay | None

    @classmethod
    def of(
        cls, weight: Tensor | None, decay: Decay | None, leak: Decay | None, like: Tensor
    ) -> "_Drive":
        weight = None if weight is None else weight.to(like.dtype)
        if weight is None or decay is None:
            return cls(weight, 0.0, "neuron", leak)
        return cls(*effective(weight, decay), sharing(decay.keep, weight), None)

    def __call__(
        self, x: Tensor, s: Tensor, current: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        if self.leak is not None:
            arrived = x if self.weight is None else x + linear(s, self.weight)
            c = charge(arrived, torch.zeros_like(x) if current is None else current, self.leak)
            return c, c
        if self.weight is None:
            return x, None
        heard, current = synapses_step(
            s, current, weight=self.weight, keep=self.keep, kind=self.kind
        )
        return x + heard, current
