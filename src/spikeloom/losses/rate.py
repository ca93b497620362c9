"""Losses on the logits of every step: of their mean, of each, or on spike counts."""

import torch
from torch import Tensor
from torch.nn import functional as F

from spikeloom.losses.rows import check_rows, smoothing, wide
from spikeloom.papers import Paper
from spikeloom.registry import register

TET = Paper(
    key="deng2022tet",
    title="Temporal Efficient Training of Spiking Neural Network via Gradient Re-weighting",
    authors=("Shikuang Deng", "Yuhang Li", "Shanghang Zhang", "Shi Gu"),
    venue="International Conference on Learning Representations",
    year=2022,
    url="https://arxiv.org/abs/2202.11946",
)


@register("loss", "rate_ce")
class RateCrossEntropy:
    """Cross-entropy of the mean output.

    L = CE(mean_t logits[t], y)

    Args:
        label_smoothing: share of the target spread evenly over the classes, in [0, 1).
    Shape:
        logits_seq [T, N, K], y [N] classes or [N, K] probabilities -> scalar
    """

    def __init__(self, *, label_smoothing: float = 0.0) -> None:
        self.label_smoothing = smoothing(label_smoothing)

    def __call__(self, logits_seq: Tensor, y: Tensor) -> Tensor:
        check_rows("rate_ce", logits_seq, y)
        logits = wide(logits_seq).mean(0)
        return F.cross_entropy(logits, y, label_smoothing=self.label_smoothing)


@register("loss", "sum_ce")
class SumCrossEntropy:
    """Cross-entropy of the output summed over all steps, as it is.

    L = CE(sum_t logits[t], y): T times the logits of ``rate_ce``, so spike counts, or shares of the
    classes summed up, are taken for logits. The loss of HetSyn's classification tasks.

    Args:
        label_smoothing: as in ``rate_ce``.
    Shape:
        logits_seq [T, N, K], y [N] classes or [N, K] probabilities -> scalar
    Source:
        The code of Deng et al., NeurIPS 2025 (arXiv 2508.11644).
    """

    def __init__(self, *, label_smoothing: float = 0.0) -> None:
        self.label_smoothing = smoothing(label_smoothing)

    def __call__(self, logits_seq: Tensor, y: Tensor) -> Tensor:
        check_rows("sum_ce", logits_seq, y)
        logits = wide(logits_seq).sum(0)
        return F.cross_entropy(logits, y, label_smoothing=self.label_smoothing)


@register("loss", "tet", paper=TET, status="exact")
class TemporalEfficientTraining:
    """Temporal efficient training (TET): cross-entropy at every step.

    L = (1 - λ) mean_t CE(logits[t], y) + λ mean_t MSE(logits[t], φ), the second pulling every
    logit to ``phi`` to tame outliers.

    Args:
        lam: λ, share of the mean-squared term, in [0, 1].
        phi: φ, its target; the neurons' threshold in the paper.
        label_smoothing: as in ``rate_ce``.
    Shape:
        logits_seq [T, N, K], y [N] or [N, K] -> scalar
    Source:
        Deng et al., ICLR 2022 (arXiv 2202.11946), eqs. 9-11.
    """

    def __init__(
        self, *, lam: float = 0.05, phi: float = 1.0, label_smoothing: float = 0.0
    ) -> None:
        if not 0 <= lam <= 1:
            raise ValueError(f"lam must be in [0, 1], got {lam}")
        self.lam, self.phi = lam, phi
        self.label_smoothing = smoothing(label_smoothing)

    def __call__(self, logits_seq: Tensor, y: Tensor) -> Tensor:
        check_rows("tet", logits_seq, y)
        logits_seq = wide(logits_seq)
        T = logits_seq.shape[0]
        every = y.repeat(T, *[1] * (y.dim() - 1))
        ce = F.cross_entropy(logits_seq.flatten(0, 1), every, label_smoothing=self.label_smoothing)
        mse = (logits_seq - self.phi).square().mean()
        return (1 - self.lam) * ce + self.lam * mse


@register("loss", "count_mse")
class CountMSE:
    """Mean squared error between firing rates and target rates.

    L = mean_{n,k} (rate[n,k] - r[n,k])², r = ``correct`` for the class and ``wrong`` elsewhere;
    times T this compares spike counts with ``correct T`` and ``wrong T``.

    Args:
        correct: target rate of the right class [spikes per step].
        wrong: target rate of the others [spikes per step].
    Shape:
        spike_seq [T, N, K], y [N] or [N, K] -> scalar
    """

    def __init__(self, *, correct: float = 1.0, wrong: float = 0.0) -> None:
        if not correct > wrong:
            raise ValueError(f"correct must exceed wrong, got {correct} and {wrong}")
        self.correct, self.wrong = correct, wrong

    def __call__(self, spike_seq: Tensor, y: Tensor) -> Tensor:
        check_rows("count_mse", spike_seq, y)
        rate = wide(spike_seq).mean(0)
        share = y.to(rate.dtype) if y.dim() == 2 else F.one_hot(y, rate.shape[1]).to(rate.dtype)
        target = torch.lerp(
            torch.full_like(rate, self.wrong), torch.full_like(rate, self.correct), share
        )
        return F.mse_loss(rate, target)
