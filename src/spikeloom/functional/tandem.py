"""Local tandem learning: firing rates that follow the activations of a teacher, layer by layer."""

from typing import Literal

import torch
from torch import Tensor

from spikeloom.functional.neurons.inputs import wide

Reduction = Literal["mean", "sum"]


def rank(p: float, count: int) -> int:
    """Which of ``count`` values in rising order, from 1, is their p-th percentile.

    k = 1 + round(0.01 p (count - 1)), the nearest rank: nothing is interpolated.
    """
    return 1 + round(0.01 * p * (count - 1))


def percentile(x: Tensor, p: float) -> Tensor:
    """The p-th percentile of all entries by nearest rank.

    Args:
        x: any values.
        p: from 0 (the least) to 100 (the greatest).
    Shape:
        x [*] -> scalar, in float32 at least
    Raises:
        ValueError: p out of range, or no entries.
    Source:
        The code of Yang et al., NeurIPS 2022.
    Example:
        >>> float(percentile(torch.arange(1000.0), 99))
        989.0
    """
    if not 0 <= p <= 100 or not x.numel():
        raise ValueError(f"percentile needs p in [0, 100] and values, got {p} of {x.numel()}")
    return wide(x.detach()).flatten().kthvalue(rank(p, x.numel())).values


def rate_target(activation: Tensor, scale: Tensor) -> Tensor:
    """The firing rate that stands for an activation: clip(activation / scale, 0, 1).

    Where the scale is 0, as of a layer that is silent but for a few entries, the target is 0
    (inferred: the authors' code divides).

    Shape:
        activation [N, *], scale broadcasts to it -> [N, *]
    """
    safe = torch.where(scale > 0, scale, torch.inf)
    return (wide(activation) / safe).clamp(0, 1)


def rate_mismatch(rate: Tensor, target: Tensor, reduction: Reduction = "mean") -> Tensor:
    """Squared distance of firing rates from their targets.

    mean_{n,places} (rate - target)^2; ``sum`` adds up the places of a sample and averages the
    samples, which suits optimizers that are not free of scale.

    Shape:
        rate [N, *], target [N, *] -> scalar
    Source:
        Yang et al., NeurIPS 2022; the sum is ours.
    """
    squares = (wide(rate) - target).square()
    return squares.mean() if reduction == "mean" else squares.sum() / len(squares)
