"""Pair and triplet STDP, online: weights change at every step, by traces of the spikes so far."""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from spikeloom.functional.decay import exponential
from spikeloom.functional.plasticity.bounds import Bounds
from spikeloom.functional.plasticity.traces import Pairing, Trace, check_pairing
from spikeloom.functional.sequence import check_sequence, steps

Coincidence = Literal["counts", "ignored"]
Reduction = Literal["sum", "mean"]


@dataclass(frozen=True)
class PairSTDP:
    """Spike pairs: pre before post makes a synapse grow, post before pre makes it shrink.

    Δw_ji = A+ F+(w) x_i s_j - A- F-(w) y_j s_i, with x the trace of pre- and y of postsynaptic
    spikes. An isolated pair Δ apart gives A+ exp(-Δ / τ+) or -A- exp(-Δ / τ-).

    Args:
        a_plus, a_minus: sizes of the changes, >= 0.
        tau_plus, tau_minus: time constants of the traces, in the unit of ``dt``.
        dt: length of a step.
        pairing: which pairs count, see :class:`Trace`.
        coincidence: whether spikes in one step ``counts`` as a pair both ways, A+ F+ - A- F-, as
            traces hold the present spike already; or is ``ignored``.
        bounds: range of the weights and dependence on them.
        reduction: over a batch: the ``sum`` of the samples' changes or their ``mean``. Either is
            an approximation of going through them one by one.
    Raises:
        ValueError: a negative size or an unknown name.
    Source:
        Morrison, Diesmann and Gerstner, Biological Cybernetics 98, 2008; traces as read in code.
    """

    a_plus: float = 0.01
    a_minus: float = 0.0105
    tau_plus: float = 20.0
    tau_minus: float = 20.0
    dt: float = 1.0
    pairing: Pairing = "all"
    coincidence: Coincidence = "counts"
    bounds: Bounds = field(default_factory=Bounds)
    reduction: Reduction = "sum"

    def __post_init__(self) -> None:
        if not min(self.a_plus, self.a_minus) >= 0:
            raise ValueError(
                f"a_plus and a_minus are sizes >= 0, got {self.a_plus} and {self.a_minus}"
            )
        check_pairing(self.pairing)
        if self.coincidence not in ("counts", "ignored"):
            raise ValueError(f"coincidence is {self.coincidence!r}; use 'counts' or 'ignored'")
        if self.reduction not in ("sum", "mean"):
            raise ValueError(f"reduction is {self.reduction!r}; use 'sum' or 'mean'")

    @property
    def pre(self) -> Trace:
        """The trace of presynaptic spikes."""
        return Trace(exponential(self.tau_plus, dt=self.dt), self.pairing)

    @property
    def post(self) -> Trace:
        """The trace of postsynaptic spikes."""
        return Trace(exponential(self.tau_minus, dt=self.dt), self.pairing)


class Pairs(NamedTuple):
    """Traces between steps: x [N, I] of presynaptic, y [N, O] of postsynaptic spikes."""

    x: Tensor
    y: Tensor


@torch.no_grad()
def pair_stdp(
    pre_seq: Tensor, post_seq: Tensor, w: Tensor, rule: PairSTDP, state: Pairs | None = None
) -> tuple[Tensor, Pairs]:
    """Weights after a sequence of spikes on both sides, changed at every step.

    Args:
        pre_seq: spikes before the synapses.
        post_seq: spikes behind them.
        w: weights at the beginning; they stay as they are.
        rule: how pairs change them.
        state: traces at the beginning; zero if None.
    Shape:
        pre_seq [T, N, I], post_seq [T, N, O], w [O, I] -> [O, I], state
    Raises:
        ValueError: shapes that do not fit.

    Example:
        >>> pre, post = torch.zeros(2, 8, 1, 1)
        >>> pre[1], post[6] = 1, 1
        >>> rule = PairSTDP(a_plus=0.1, tau_plus=10.0)
        >>> float(pair_stdp(pre, post, torch.full((1, 1), 0.5), rule)[0])  # 0.1 exp(-5 / 10)
        0.5606530904769897
    """
    check_synapses(pre_seq, post_seq, w)
    state = state or Pairs(torch.zeros_like(pre_seq[0]), torch.zeros_like(post_seq[0]))
    for pre, post in zip(steps(pre_seq), steps(post_seq), strict=True):
        w, state = pair_step(pre, post, w, rule, state)
    return w, state


def pair_step(
    pre: Tensor, post: Tensor, w: Tensor, rule: PairSTDP, state: Pairs
) -> tuple[Tensor, Pairs]:
    """Weights and traces after one step of :func:`pair_stdp`.

    Shape:
        pre [N, I], post [N, O], w [O, I] -> [O, I], state
    """
    x, y = seen = Pairs(rule.pre.step(state.x, pre), rule.post.step(state.y, post))
    if rule.coincidence == "ignored":
        seen = Pairs(rule.pre.decay.keep * state.x, rule.post.decay.keep * state.y)
    grown = rule.a_plus * rule.bounds.grow(w) * outer(post, seen.x, rule.reduction)
    shrunk = rule.a_minus * rule.bounds.shrink(w) * outer(seen.y, pre, rule.reduction)
    return rule.bounds.clip(w + (grown - shrunk)), Pairs(x, y)


def outer(post: Tensor, pre: Tensor, reduction: Reduction = "sum") -> Tensor:
    """Products of what is behind and before every synapse, over a batch.

    Shape:
        post [N, O], pre [N, I] -> [O, I]
    """
    total = post.t() @ pre
    return total / len(pre) if reduction == "mean" else total


def check_synapses(pre_seq: Tensor, post_seq: Tensor, w: Tensor) -> None:
    """Raise ValueError unless two sequences are those of the two sides of the weights."""
    for seq in (pre_seq, post_seq):
        check_sequence(seq, least=3)
    if pre_seq.shape[:2] != post_seq.shape[:2] or w.shape != (post_seq.shape[2], pre_seq.shape[2]):
        raise ValueError(
            f"weights [O, I] = {tuple(w.shape)} do not lie between spikes [T, N, I] = "
            f"{tuple(pre_seq.shape)} and [T, N, O] = {tuple(post_seq.shape)}"
        )
