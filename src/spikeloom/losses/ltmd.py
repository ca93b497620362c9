"""The loss of LTMD: cross-entropy of two answers to every sample, and how much they disagree."""

import torch
from torch import Tensor
from torch.nn import functional as F

from spikeloom.layers.ltmd import PAPER
from spikeloom.losses.rows import check_rows, smoothing, wide
from spikeloom.registry import register


@register("loss", "ltmd", paper=PAPER, status="exact")
class TwoPassCrossEntropy:
    """Cross-entropy of two passes, and their symmetric Kullback-Leibler divergence.

    L = 1/2 (CE(z1) + CE(z2)) + ``weight`` D, z the mean logits over time of a pass, q = softmax(z)
    D = 1/2 (m12 + m21), m12 = mean over samples **and classes** of q2 (log q2 - log q1)

    The usual divergence sums over classes: at 10 classes D is a tenth of it. With one row of logits
    for each target (evaluation, or a head with one pass) L = CE(z).

    Args:
        weight: of D.
        label_smoothing: share of the target spread evenly over the classes, in [0, 1).
    Shape:
        logits_seq [T, 2N, K] (all samples, then all of them again) or [T, N, K], y [N] classes or
        [N, K] probabilities -> scalar
    Raises:
        ValueError: weight < 0, or label_smoothing out of range.
        Unsupported: logits of another number of rows.
    Source:
        Wang, Cheng and Lim, NeurIPS 2022 (LTMD), as in their code; without label smoothing there.
    """

    def __init__(self, *, weight: float = 0.5, label_smoothing: float = 0.0) -> None:
        if not weight >= 0:
            raise ValueError(f"weight must be >= 0, got {weight}")
        self.weight = weight
        self.label_smoothing = smoothing(label_smoothing)

    def __call__(self, logits_seq: Tensor, y: Tensor) -> Tensor:
        if logits_seq.shape[1] != 2 * len(y):
            check_rows("ltmd", logits_seq, y)
            return self._cross_entropy(wide(logits_seq).mean(0), y)
        z1, z2 = wide(logits_seq).mean(0).chunk(2)
        value = 0.5 * (self._cross_entropy(z1, y) + self._cross_entropy(z2, y))
        return value + self.weight * disagreement(z1, z2)

    def _cross_entropy(self, logits: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(logits, y, label_smoothing=self.label_smoothing)


def disagreement(z1: Tensor, z2: Tensor) -> Tensor:
    """Symmetric Kullback-Leibler divergence, averaged over samples and classes.

    D = 1/2 mean((q2 - q1) (log q2 - log q1)), q = softmax(z): the sum of both directions in one.

    Shape:
        z1, z2 [N, K] -> scalar
    """
    log1, log2 = (torch.log_softmax(z, -1) for z in (z1, z2))
    return 0.5 * ((log2.exp() - log1.exp()) * (log2 - log1)).mean()
