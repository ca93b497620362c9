"""Integrate-and-fire neurons that fire at most once, on inputs that fire at most once."""

import torch
from torch import Tensor

NEVER = 1.0  # the time of neurons that do not fire; every time before it is a spike


def latencies(x: Tensor) -> Tensor:
    """Spike times of intensities: the brighter the earlier, t = 1 - x; 0 never fires.

    Args:
        x: intensities; below 0 and above 1 they count as these.
    Shape:
        any -> the same
    Example:
        >>> latencies(torch.tensor([0.0, 0.25, 1.0])).tolist()
        [1.0, 0.75, 0.0]
    """
    return 1 - x.clamp(0, 1)


def first_spikes(
    t: Tensor, weight: Tensor, threshold: Tensor, *, strict: bool = True
) -> tuple[Tensor, Tensor]:
    """When neurons without leak fire first, and their potentials then.

    v_o(t) = sum_i w_oi [t_i <= t];  t_o = the earliest time of an input with v_o(t) > threshold_o,
    1 if there is none.

    Inputs of equal time count together. A neuron that has fired stops integrating, so v_o is the
    potential that it fired with; of silent ones it is the last. Potentials are added up in float64,
    in the order of times and, where these are equal, of inputs.

    Args:
        t: times of the inputs, in 0..1; 1 is no spike.
        weight: of the layer.
        threshold: of each neuron, for all samples or for each.
        strict: fire above the threshold; else at it, too.
    Shape:
        t [B, I], weight [O, I], threshold [O] or [B, O] -> t_o [B, O], v [B, O] float64
    Example:
        >>> weight = torch.tensor([[0.5, 0.5, 0.5]])
        >>> first_spikes(torch.tensor([[0.6, 0.2, 1.0]]), weight, torch.tensor([0.75]))
        (tensor([[0.6000]]), tensor([[1.]], dtype=torch.float64))
    """
    thresholds = threshold.expand(len(t), len(weight)).double()
    if not len(t):
        return t.new_zeros(thresholds.shape), thresholds
    each = [_one(row, weight, limit, strict) for row, limit in zip(t, thresholds, strict=True)]
    times, potentials = zip(*each, strict=True)
    return torch.stack(times), torch.stack(potentials)


def _one(t: Tensor, weight: Tensor, limit: Tensor, strict: bool) -> tuple[Tensor, Tensor]:
    order = t.argsort(stable=True)
    order = order[t[order] < NEVER]
    if not len(order):
        return t.new_full((len(weight),), NEVER), torch.zeros_like(limit)
    at = t[order]
    v_seq = weight[:, order].double().cumsum(1)
    over = v_seq > limit[:, None] if strict else v_seq >= limit[:, None]
    over[:, :-1] &= at[:-1] != at[1:]  # not before all inputs of that time are in
    before = (over.cumsum(1) == 0).sum(1)  # events until a neuron fires
    fires, event = before < len(order), before.clamp(max=len(order) - 1)
    return at[event].where(fires, NEVER), v_seq.gather(1, event[:, None])[:, 0]


def scores(t: Tensor, v: Tensor, classes: int) -> Tensor:
    """A number for each class by its first neuron: the earliest largest, ties by potential.

    2 - t, lowered by the least possible where needed to keep ties apart; so the largest score is
    that of the predicted class.

    Args:
        t: spike times of the neurons, class by class.
        v: their potentials.
        classes: C.
    Shape:
        t [B, C M], v [B, C M] -> [B, C]
    Example:
        >>> t, v = torch.tensor([[0.5, 0.9, 0.5, 1.0]]), torch.tensor([[1.0, 2.0, 3.0, 0.0]])
        >>> scores(t, v, 2).argmax(1)
        tensor([1])
    """
    t, v = (part.unflatten(1, (classes, -1)) for part in (t, v))
    earliest = t.amin(2)
    best = v.where(t == earliest[..., None], -torch.inf).amax(2)
    order = best.argsort(dim=1, descending=True, stable=True)
    order = order.gather(1, earliest.gather(1, order).argsort(dim=1, stable=True))
    ranked = (2 - earliest).gather(1, order)
    for rank in range(1, classes):
        below = torch.nextafter(ranked[:, rank - 1], ranked.new_zeros(()))
        ranked[:, rank] = torch.minimum(ranked[:, rank], below)
    return torch.empty_like(ranked).scatter_(1, order, ranked)
