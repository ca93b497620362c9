"""STDP that waits for a reward: MSTDP, MSTDPET, and R-STDP of one decision a sample."""

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from spikeloom.functional.decay import exponential
from spikeloom.functional.plasticity.bounds import Bounds
from spikeloom.functional.plasticity.pair import check_synapses
from spikeloom.functional.sequence import steps


@dataclass(frozen=True)
class RewardSTDP:
    """Pairs leave an eligibility; a reward turns it into a change of the weights.

    P+ <- P+ exp(-dt / τ+) + A+ s_i,  P- <- P- exp(-dt / τ-) - A- s_j,  ζ_ji = P+_i s_j + P-_j s_i

    MSTDP (``tau_z`` None):  w += γ R[t] ζ[t-1]
    MSTDPET:  z <- z exp(-dt / τ_z) + ζ / τ_z,  w += γ dt R[t] z[t]

    Args:
        rate: γ.
        a_plus, a_minus: sizes of the traces' jumps.
        tau_plus, tau_minus: their time constants, in the unit of ``dt``.
        tau_z: time constant of the eligibility trace; None for the eligibility of the step before.
        dt: length of a step.
        bounds: range the weights are clipped to.
    Source:
        Florian, Neural Computation 19, 2007 (not read; equations as in code that cites it, where
        the reward of a step meets the eligibility of the one before).
    """

    rate: float = 1.0
    a_plus: float = 1.0
    a_minus: float = 1.0
    tau_plus: float = 20.0
    tau_minus: float = 20.0
    tau_z: float | None = None
    dt: float = 1.0
    bounds: Bounds = field(default_factory=Bounds)


class Eligible(NamedTuple):
    """Between steps: traces p_plus [N, I] and p_minus [N, O], eligibility [N, O, I]."""

    p_plus: Tensor
    p_minus: Tensor
    eligibility: Tensor


@torch.no_grad()
def reward_stdp(
    pre_seq: Tensor,
    post_seq: Tensor,
    reward_seq: Tensor,
    w: Tensor,
    rule: RewardSTDP,
    state: Eligible | None = None,
) -> tuple[Tensor, Eligible]:
    """Weights after a sequence of spikes and rewards; changes add up over a batch.

    Args:
        pre_seq, post_seq: spikes before and behind the synapses.
        reward_seq: reward of every step and sample.
        w: weights at the beginning; they stay as they are.
        rule: MSTDP or MSTDPET.
        state: where the sequence before ended; at rest if None.
    Shape:
        pre_seq [T, N, I], post_seq [T, N, O], reward_seq [T, N], w [O, I] -> [O, I], state
    Raises:
        ValueError: shapes that do not fit.
    """
    check_synapses(pre_seq, post_seq, w)
    if reward_seq.shape != pre_seq.shape[:2]:
        raise ValueError(
            f"expected a reward for every step and sample, [T, N] = {tuple(pre_seq.shape[:2])}, "
            f"got {tuple(reward_seq.shape)}"
        )
    p_plus, p_minus, z = state or Eligible(
        torch.zeros_like(pre_seq[0]),
        torch.zeros_like(post_seq[0]),
        pre_seq.new_zeros(pre_seq.shape[1], *w.shape),
    )
    keeps = [exponential(tau, dt=rule.dt).keep for tau in (rule.tau_plus, rule.tau_minus)]
    fading = exponential(rule.tau_z, dt=rule.dt).keep if rule.tau_z else 0.0
    for pre, post, reward in zip(*map(steps, (pre_seq, post_seq, reward_seq)), strict=True):
        p_plus = keeps[0] * p_plus + rule.a_plus * pre
        p_minus = keeps[1] * p_minus - rule.a_minus * post
        zeta = post[:, :, None] * p_plus[:, None] + p_minus[:, :, None] * pre[:, None]
        if rule.tau_z:
            z = fading * z + zeta / rule.tau_z
            due, size = z, rule.rate * rule.dt
        else:
            due, size, z = z, rule.rate, zeta
        w = rule.bounds.clip(w + size * torch.einsum("n,noi->oi", reward, due))
    return w, Eligible(p_plus, p_minus, z)
