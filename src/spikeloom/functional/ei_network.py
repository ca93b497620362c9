"""A recurrent network of excitatory and inhibitory neurons that learns by the age of spikes.

Sources are P inputs and then the O neurons themselves, of which the first ones excite; the weight
[O, P + O] is signed, and 0 where there is no synapse. Everything is computed in an order that a
compiled twin follows to the bit.
"""

import functools
import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from spikeloom.functional.sequence import check_sequence

Sign = Literal["causal", "code"]


@dataclass(frozen=True)
class EICell:
    """Constants of the neurons [mV, steps of 1 ms].

    Args:
        excitatory: so many of the neurons, the first ones, excite.
        tau_syn, tau_m, tau_adapt: of current, membrane and adaptation, >= 1.
        resistance: from current to potential.
        v_rest, v_reset, v_threshold: at rest, after a spike, and where one is fired.
        jump: of the threshold, at a spike.
        v_bounds, threshold_bounds: that these are kept in.
    Raises:
        ValueError: a time constant below 1.
    """

    excitatory: int = 200
    tau_syn: float = 30.0
    tau_m: float = 30.0
    tau_adapt: float = 100.0
    resistance: float = 30.0
    v_rest: float = -70.0
    v_reset: float = -80.0
    v_threshold: float = -55.0
    jump: float = 3.0
    v_bounds: tuple[float, float] = (-100.0, 40.0)
    threshold_bounds: tuple[float, float] = (-90.0, 0.0)

    def __post_init__(self) -> None:
        taus = self.tau_syn, self.tau_m, self.tau_adapt
        if not min(taus) >= 1:
            raise ValueError(f"time constants are in steps and must be >= 1, got {taus}")


@dataclass(frozen=True)
class AgeSTDP:
    """STDP between the last spikes of two neurons: u is the time since a neuron's last one.

    Where the source or the target fires, with Δ = u_pre - u_post (``causal``: the source was
    earlier) or Δ = u_post - u_pre (``code``: the target was),

    Δ >= 0: |w| += eta exp(-Δ / tau_plus);   Δ < 0: |w| -= eta exp(Δ / tau_minus)

    and |w| stays in [floor, ceiling].

    Args:
        eta: of both sides.
        tau_plus, tau_minus: of growth and of shrinking [steps].
        floor, ceiling: of magnitudes; the floor is above 0, so that a synapse stays one.
        sign: ``causal`` is STDP as in textbooks; ``code`` is what the authors' code does, which
            strengthens a synapse whose target fired before its source.
    Raises:
        ValueError: a number out of range, or an unknown sign.
    Source:
        The authors' code of January 2026, see :class:`Sleep`; there bounds are applied before a
        change and not after it. Coincident spikes strengthen a synapse with either sign (inferred
        for ``causal``).
    """

    eta: float = 8e-4
    tau_plus: float = 10.0
    tau_minus: float = 7.5
    floor: float = 0.01
    ceiling: float = 25.0
    sign: Sign = "causal"

    def __post_init__(self) -> None:
        if self.sign not in ("causal", "code"):
            raise ValueError(f"sign is {self.sign!r}; use 'causal' or 'code'")
        if not (self.eta >= 0 and min(self.tau_plus, self.tau_minus) > 0):
            raise ValueError("age-based STDP needs eta >= 0 and time constants > 0")
        if not 0 < self.floor <= self.ceiling:
            raise ValueError(
                f"bounds of magnitudes need 0 < floor <= ceiling, got {self.floor}, {self.ceiling}"
            )

    @functools.cached_property
    def changes(self) -> tuple[Tensor, Tensor]:
        """Change of |w| by the other side's age: where the source fires; where the target does.

        Shape:
            -> float32 [L], float32 [L]; the last one stands for all greater ages, and is 0
        """
        ages = range(int(104 * max(self.tau_plus, self.tau_minus)) + 2)
        up = torch.tensor([self.eta * math.exp(-age / self.tau_plus) for age in ages])
        down = torch.tensor([-self.eta * math.exp(-age / self.tau_minus) for age in ages])
        up[-1] = down[-1] = 0.0
        if self.sign == "code":
            return up, down
        return torch.cat((up[:1], down[1:])), up


class EIState(NamedTuple):
    """What neurons and sources remember.

    Shape:
        v, i_syn, adaptation float32 [O]; age int64 and fired bool [P + O]
    """

    v: Tensor
    i_syn: Tensor
    adaptation: Tensor
    age: Tensor
    fired: Tensor


def ei_rest(weight: Tensor, cell: EICell) -> EIState:
    """At rest; every source counts as having just fired.

    Shape:
        weight [O, P + O]
    """
    rest = torch.full((len(weight),), cell.v_rest)
    none, age = torch.zeros(len(weight)), torch.zeros(weight.shape[1], dtype=torch.int64)
    return EIState(rest, none, none.clone(), age, age.bool())


def age_stdp(weight: Tensor, state: EIState, rule: AgeSTDP) -> Tensor:
    """Weights after the spikes of one step, with the ages that it left.

    Args:
        weight: signed; the rule is about magnitudes.
        state: of the network after the step.
        rule: of the change.
    Shape:
        weight [O, P + O] -> [O, P + O]
    """
    at_pre, at_post = rule.changes
    count, last = len(weight), len(at_pre) - 1
    age = state.age.clamp(max=last)
    change = torch.where(state.fired, at_pre[age[-count:]][:, None], at_post[age])
    touched = (state.fired | state.fired[-count:, None]) & (weight != 0)
    size = (weight.abs() + change).clamp(rule.floor, rule.ceiling)
    return torch.where(touched, size * weight.sign(), weight)


def ei_step(
    spikes: Tensor,
    weight: Tensor,
    state: EIState,
    *,
    cell: EICell,
    rule: AgeSTDP | None = None,
    noise: Tensor | None = None,
) -> tuple[Tensor, EIState]:
    """One step: currents from the last spikes, plasticity of these, and the spikes of now.

    I <- I + (W s - I) / tau_syn;  V <- V + (v_rest - V + R I) / tau_m + noise
    s = V > v_threshold + a;  V <- v_reset where s;  a <- a - a / tau_adapt + jump s

    Args:
        spikes: of the inputs.
        weight: signed.
        state: after the last step.
        cell: constants.
        rule: of plasticity; None for weights that rest.
        noise: on the membranes.
    Shape:
        spikes bool [P], weight [O, P + O], noise [O] -> weight [O, P + O], state
    """
    drive = torch.zeros(len(weight))
    for source in state.fired.nonzero().flatten():
        drive = drive + weight[:, source]  # in this order
    if rule is not None:
        weight = age_stdp(weight, state, rule)
    i_syn = state.i_syn + (drive - state.i_syn) * (1 / cell.tau_syn)
    v = state.v + ((cell.v_rest - state.v) + i_syn * cell.resistance) * (1 / cell.tau_m)
    v = (v if noise is None else v + noise).clamp(*cell.v_bounds)
    spike = v > (state.adaptation + cell.v_threshold).clamp(*cell.threshold_bounds)
    v = torch.where(spike, cell.v_reset, v)
    adaptation = state.adaptation - state.adaptation * (1 / cell.tau_adapt)
    adaptation = adaptation + spike * cell.jump
    fired = torch.cat((spikes, spike))
    age = torch.where(fired, 0, state.age + 1)
    return weight, EIState(v, i_syn, adaptation, age, fired)


def sources_of(weight: Tensor, cell: EICell) -> tuple[slice, slice]:
    """The columns of sources that excite, and of those that inhibit.

    Shape:
        weight [O, P + O]
    """
    first = weight.shape[1] - len(weight) + cell.excitatory
    return slice(None, first), slice(first, None)


def check_p(p_seq: Tensor, weight: Tensor) -> tuple[int, int, int]:
    """T, N and P; raises ValueError unless these fit the weight [O, P + O]."""
    check_sequence(p_seq, least=3)
    if p_seq.dim() != 3 or weight.shape[1] != p_seq.shape[2] + len(weight):
        raise ValueError(
            f"probabilities [T, N, P] of P inputs need a weight [O, P + O], got "
            f"{tuple(p_seq.shape)} and {tuple(weight.shape)}"
        )
    T, N, P = p_seq.shape
    return T, N, P
