"""A layer of first-spike neurons learns, one sample after the other."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from spikeloom.functional.first_spike.fire import first_spikes
from spikeloom.functional.first_spike.rules import Groups, Rule, first_of, updates


class FirstSpikeLayer(NamedTuple):
    """What learning changes, in place, and what bounds it.

    Args:
        weight: of the layer.
        threshold: of its neurons.
        own: thresholds in training, where these are regulated; the same tensor as ``threshold``
            for one a neuron.
        total: what the magnitudes of each neuron's weights add up to after every sample; None for
            no such normalisation.
    Shape:
        weight [O, I], threshold, own and total [O], float32
    """

    weight: Tensor
    threshold: Tensor
    own: Tensor
    total: Tensor | None = None


@torch.no_grad()
def first_spike_learn(
    t: Tensor,
    y: Tensor,
    layer: FirstSpikeLayer,
    *,
    groups: Groups,
    rule: Rule,
    dropped: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Learn from the samples of a batch in their order; each sees what those before it changed.

    For every sample: thresholds of training, forward pass, step of the regulated thresholds, change
    of weights by the same forward pass, bounds of all weights, normalisation of all rows.

    Args:
        t: times of the inputs; 1 is no spike.
        y: classes.
        layer: what changes.
        groups: which neuron is of which class.
        rule: how it learns.
        dropped: neurons that cannot fire, for each sample.
    Shape:
        t [B, I], y [B], dropped bool [B, O] -> t_o [B, O], v [B, O] float64
    Returns:
        Spike times and potentials as each sample found the layer; a dropped neuron's is -inf.
    Source:
        Goupy, Tirilly and Bilasco, NeurIPS 2024; the order is that of the authors' code.
    """
    out = []
    for at, (times, label) in enumerate(zip(t, y.tolist(), strict=True)):
        limit = in_training(layer, groups, rule, label)
        gone = None if dropped is None else dropped[at]
        if gone is not None:
            limit = limit.masked_fill(gone, torch.inf)
        fired, v = (part[0] for part in first_spikes(times[None], layer.weight, limit))
        if gone is not None:
            v = v.masked_fill(gone, -torch.inf)
        if rule.regulation != "none":
            _regulate(layer, groups, rule, label, fired.tolist(), v.tolist())
        _change(times, layer, groups, rule, label, fired, v)
        out.append((fired, v))
    if not out:
        return t.new_zeros(0, groups.count), t.new_zeros(0, groups.count, dtype=torch.float64)
    fired_all, v_all = zip(*out, strict=True)
    return torch.stack(fired_all), torch.stack(v_all)


def in_training(layer: FirstSpikeLayer, groups: Groups, rule: Rule, y: int) -> Tensor:
    """Thresholds for a training sample of class y: the regulated ones for targets of that class."""
    if rule.regulation == "neuron":
        return layer.own
    if rule.regulation == "none":
        return layer.threshold
    limit, at = layer.threshold.clone(), list(groups.targets(y))
    limit[at] = layer.own[at]
    return limit


def _regulate(
    layer: FirstSpikeLayer, groups: Groups, rule: Rule, y: int, t: list[float], v: list[float]
) -> None:
    """The first target of the class gets harder to excite, the others easier: in sum nothing."""
    targets = groups.targets(y)
    K = len(targets)
    if K < 2:
        return
    first = first_of(targets, t, v)
    at = list(targets)
    step = torch.tensor([rule.eta * (K - 1) / K if n == first else -(rule.eta / K) for n in at])
    moved = layer.own[at] + step.to(layer.own)
    if rule.regulation == "competition":
        moved = torch.maximum(moved, layer.threshold[at])
    layer.own[at] = moved


def _change(
    times: Tensor, layer: FirstSpikeLayer, groups: Groups, rule: Rule, y: int, t: Tensor, v: Tensor
) -> None:
    weight = layer.weight
    for n, plus, minus in updates(rule, groups, y, t.tolist(), v.tolist()):
        weight[n] += stdp(weight[n], times <= t[n], plus, minus, rule)
    weight.clamp_(rule.w_min, rule.w_max)
    if layer.total is not None:
        sums = weight.double().abs().cumsum(1)[:, -1]
        factor = torch.where(sums > 0, layer.total.double() / sums, 1.0)
        weight.copy_(weight.double() * factor[:, None])


def stdp(w: Tensor, causal: Tensor, plus: float, minus: float, rule: Rule) -> Tensor:
    """Change of weights by whether their inputs came up to the spike, or after it.

    plus F(w - w_min) where causal, minus F(w_max - w) elsewhere; F = 1, or with ``beta``
    F(d) = exp(-β d / (w_max - w_min)).

    Shape:
        w [I], causal bool [I] -> [I]
    """
    if rule.beta is None:
        return torch.where(causal, plus, minus).to(w)
    lo, hi, beta = rule.w_min, rule.w_max, rule.beta
    changes = [  # with the C library's exponential, which the kernel calls, too
        plus * math.exp(-beta * (value - lo) / (hi - lo))
        if early
        else minus * math.exp(-beta * (hi - value) / (hi - lo))
        for value, early in zip(w.tolist(), causal.tolist(), strict=True)
    ]
    return torch.tensor(changes, dtype=torch.float64).to(w)
