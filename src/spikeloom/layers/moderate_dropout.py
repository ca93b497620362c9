"""Moderate dropout: units that are weakly active are dropped more."""

import torch
from torch import Tensor, nn

from spikeloom.functional.neurons.inputs import wide
from spikeloom.functional.sequence import check_sequence


class ModerateDropout(nn.Module):
    """Zeroes the same elements at every time step, weakly active ones more often, while training.

    y[t] = x[t] m / k with one mask m ~ Bernoulli(k) of shape [N, *] for all t, and the keep
    probabilities k of :func:`keep_probability` for the activity a = mean_t x[t]. Where k = 0 the
    output is 0. The expectation over masks is x wherever k > 0.

    Samples see each other: least, greatest and mean activity are those of the whole batch (of one
    process).

    Args:
        p: r, the share dropped on average, in [0, 1).
        detach_keep_prob: leave 1 / k out of the gradient, which reaches the activity through it.
    Shape:
        x_seq [T, N, *] -> [T, N, *]
    Raises:
        ValueError: p outside [0, 1).
    Source:
        Wang, Cheng and Lim, NeurIPS 2022 (LTMD), as in their code; ``detach_keep_prob`` is ours.
    """

    def __init__(self, p: float = 0.2, *, detach_keep_prob: bool = False) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"p must be in [0, 1), got {p}")
        self.p, self.detach_keep_prob = p, detach_keep_prob

    def forward(self, x_seq: Tensor) -> Tensor:
        check_sequence(x_seq)
        if not self.training or self.p == 0:
            return x_seq
        # Sums over a batch would round in half precision.
        k = keep_probability(wide(x_seq).mean(0), self.p)
        if self.detach_keep_prob:
            k = k.detach()
        # Where k = 0 the mask is 0, and the quotient must not be 0/0.
        scale = torch.bernoulli(k.detach()) / torch.where(k > 0, k, 1.0)
        return x_seq * scale.to(x_seq.dtype)

    def extra_repr(self) -> str:
        return f"p={self.p}"


def keep_probability(a: Tensor, r: float) -> Tensor:
    """How likely each activity is kept: the weaker, the less, and 1 - r on average.

    ρ = (a - min a) / (max a - min a);  k = clamp(1 - r (1 - ρ) / (1 - mean ρ), 0, 1)

    The average is 1 - r before the clamp. Where all activities are equal, k = 1 - r.

    Args:
        a: activity of each unit.
        r: share to drop on average, in [0, 1).
    Shape:
        a [N, *] -> [N, *]
    Source:
        Wang, Cheng and Lim, NeurIPS 2022 (LTMD), as in their code; equal activities are our guard.
    """
    least, greatest = a.min(), a.max()
    span = greatest - least
    below = torch.where(span > 0, (greatest - a) / torch.where(span > 0, span, 1.0), 1.0)
    # 1 - ρ is 1 for the weakest at least, so that its mean is above 0.
    return (1 - r * below / below.mean()).clamp(0, 1)
