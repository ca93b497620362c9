"""Filters of a spiking convolution learn from patches: the first to fire takes all."""

from dataclasses import dataclass

import torch
from torch import Tensor

from spikeloom.functional.first_spike.fire import NEVER, first_spikes
from spikeloom.functional.first_spike.learn import stdp
from spikeloom.functional.first_spike.rules import Rule, first_of

BOUNDS = Rule(w_min=0.0, w_max=1.0, beta=1.0)


@dataclass(frozen=True)
class Filters:
    """How filters learn.

    Args:
        rate: of weights.
        eta: step of thresholds, in units of potential.
        goal: the time at which filters are to fire, in 0..1.
        least: bound of thresholds from below.
    """

    rate: float = 0.1
    eta: float = 1.0
    goal: float = 0.75
    least: float = 2.0


@torch.no_grad()
def learn_filters(t: Tensor, weight: Tensor, threshold: Tensor, *, how: Filters) -> Tensor:
    """Learn from patches in their order; changes weights and thresholds in place.

    The first filter that reaches its threshold wins and alone learns: w += rate exp(-w) where the
    input came up to its spike, w -= rate exp(w - 1) elsewhere, within 0..1. Every threshold falls
    by eta (t_spike - goal); then the winner's rises by eta and the others fall by eta/(F - 1).
    Without a winner nothing changes.

    Args:
        t: times of the inputs of each patch; 1 is no spike.
        weight: of the filters.
        threshold: of the filters.
        how: rates and bounds.
    Shape:
        t [B, I], weight [F, I], threshold [F] -> winner int64 [B], -1 where no filter fired
    Source:
        Falez et al., IJCNN 2019, thresholds by target times; constants as in the authors' code of
        Goupy, Tirilly and Bilasco, NeurIPS 2024. That of filters which fire at once the one of the
        larger potential wins is inferred.
    """
    winners = []
    for times in t:
        fired, v = (
            p[0].tolist() for p in first_spikes(times[None], weight, threshold, strict=False)
        )
        first = first_of(range(len(weight)), fired, v)
        if fired[first] >= NEVER:
            winners.append(-1)
            continue
        winners.append(first)
        causal = times <= fired[first]
        weight[first] += stdp(weight[first], causal, how.rate, -how.rate, BOUNDS)
        weight[first].clamp_(BOUNDS.w_min, BOUNDS.w_max)
        others = how.eta / max(1, len(weight) - 1)
        step = torch.full_like(threshold, -others)
        step[first] = how.eta
        threshold -= torch.tensor(how.eta * (fired[first] - how.goal)).to(threshold)
        threshold += step
        threshold.clamp_(min=how.least)
    return torch.tensor(winners, dtype=torch.int64)
