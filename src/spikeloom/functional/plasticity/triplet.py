"""Triplet STDP: pairs whose effect depends on how long ago the spike before was."""

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from spikeloom.functional.decay import exponential
from spikeloom.functional.plasticity.bounds import Bounds
from spikeloom.functional.plasticity.pair import check_synapses, outer
from spikeloom.functional.plasticity.traces import Pairing, Trace, check_pairing
from spikeloom.functional.sequence import steps


@dataclass(frozen=True)
class TripletSTDP:
    """Two traces on each side.

    At a presynaptic spike:   w_ji -= F-(w) o1_j (A2- + A3- r2_i)
    At a postsynaptic spike:  w_ji += F+(w) r1_i (A2+ + A3+ o2_j)

    r1, o1 hold the spikes of the present step; r2 and o2 are read just before their own spike adds
    to them. With A3 = 0 this is pair STDP.

    Args:
        a2_plus, a2_minus, a3_plus, a3_minus: sizes; the defaults are those of the model library of
            NESTML, a fit to visual cortex with nearest spikes.
        tau_plus, tau_x: time constants of r1 and r2, in the unit of ``dt``.
        tau_minus, tau_y: time constants of o1 and o2.
        dt: length of a step.
        pairing: which spikes count, see :class:`Trace`.
        bounds: range of the weights and dependence on them.
    Raises:
        ValueError: an unknown name.
    Source:
        Pfister and Gerstner, J. Neurosci. 26, 2006 (not read; the structure and constants are
        those of NEST's and NESTML's documentation).
    """

    a2_plus: float = 7.5e-10
    a2_minus: float = 7e-3
    a3_plus: float = 9.3e-3
    a3_minus: float = 2.3e-4
    tau_plus: float = 16.8
    tau_x: float = 101.0
    tau_minus: float = 33.7
    tau_y: float = 125.0
    dt: float = 1.0
    pairing: Pairing = "nearest"
    bounds: Bounds = field(default_factory=Bounds)

    def __post_init__(self) -> None:
        check_pairing(self.pairing)

    def trace(self, tau: float) -> Trace:
        """A trace of that time constant."""
        return Trace(exponential(tau, dt=self.dt), self.pairing)


class Triplets(NamedTuple):
    """Traces between steps: r1, r2 [N, I] of presynaptic, o1, o2 [N, O] of postsynaptic spikes."""

    r1: Tensor
    r2: Tensor
    o1: Tensor
    o2: Tensor


@torch.no_grad()
def triplet_stdp(
    pre_seq: Tensor, post_seq: Tensor, w: Tensor, rule: TripletSTDP, state: Triplets | None = None
) -> tuple[Tensor, Triplets]:
    """Weights after a sequence of spikes on both sides, changed at every step.

    Args:
        pre_seq, post_seq: spikes before and behind the synapses.
        w: weights at the beginning; they stay as they are.
        rule: how triplets change them.
        state: traces at the beginning; zero if None.
    Shape:
        pre_seq [T, N, I], post_seq [T, N, O], w [O, I] -> [O, I], state
    Raises:
        ValueError: shapes that do not fit.
    """
    check_synapses(pre_seq, post_seq, w)
    rest = torch.zeros_like
    r1, r2, o1, o2 = state or Triplets(*map(rest, (*[pre_seq[0]] * 2, *[post_seq[0]] * 2)))
    plus, minus = rule.trace(rule.tau_plus), rule.trace(rule.tau_minus)
    slow_r, slow_o = rule.trace(rule.tau_x), rule.trace(rule.tau_y)
    for pre, post in zip(steps(pre_seq), steps(post_seq), strict=True):
        r1, o1 = plus.step(r1, pre), minus.step(o1, post)
        before_r, before_o = slow_r.decay.keep * r2, slow_o.decay.keep * o2
        r2, o2 = slow_r.step(r2, pre), slow_o.step(o2, post)
        grown = outer(post * (rule.a2_plus + rule.a3_plus * before_o), r1)
        shrunk = outer(o1, pre * (rule.a2_minus + rule.a3_minus * before_r))
        change = rule.bounds.grow(w) * grown - rule.bounds.shrink(w) * shrunk
        w = rule.bounds.clip(w + change)
    return w, Triplets(r1, r2, o1, o2)
