"""Losses against their closed forms."""

import math

import pytest
import torch
from torch.nn import functional as F

from spikeloom.learning import Loss
from spikeloom.losses import (
    CountMSE,
    RateCrossEntropy,
    SumCrossEntropy,
    TemporalEfficientTraining,
)
from spikeloom.registry import entries

# Losses on spike counts see spikes alone: test_counts.py.
OTHERS = (
    ".counts",
    ".numbers",
    ".photometric",
)  # which take spikes, and targets that are no classes
LOSSES = [e.build for e in entries("loss") if not e.build.__module__.endswith(OTHERS)]
K = 4


def logits_seq(T=3, N=5):
    return torch.randn(T, N, K, dtype=torch.float64)


def classes(N=5):
    return torch.randint(K, (N,))


def hot(y):
    return F.one_hot(y, K).double()


def cross_entropy(logits, p):
    """-sum_k p_k log softmax(logits)_k, mean over samples."""
    return -(p * torch.log_softmax(logits, -1)).sum(-1).mean()


def test_rate_cross_entropy_is_that_of_the_mean_output():
    x, y = logits_seq(), classes()
    torch.testing.assert_close(RateCrossEntropy()(x, y), cross_entropy(x.mean(0), hot(y)))


def test_sum_cross_entropy_takes_the_sum_over_steps_for_logits():
    x, y = logits_seq(), classes()
    torch.testing.assert_close(SumCrossEntropy()(x, y), cross_entropy(x.sum(0), hot(y)))


def test_rate_cross_entropy_by_hand():
    x = torch.tensor([[[0.0, 2.0]], [[0.0, 0.0]]])  # mean output (0, 1)
    assert RateCrossEntropy()(x, torch.tensor([1])).item() == pytest.approx(
        math.log(1 + math.exp(-1))
    )


def test_label_smoothing_spreads_its_share_over_all_classes():
    x, y = logits_seq(), classes()
    p = 0.7 * hot(y) + 0.3 / K
    expected = cross_entropy(x.mean(0), p)
    torch.testing.assert_close(RateCrossEntropy(label_smoothing=0.3)(x, y), expected)
    every = torch.stack([cross_entropy(step, p) for step in x]).mean()
    tet = TemporalEfficientTraining(lam=0.0, label_smoothing=0.3)
    torch.testing.assert_close(tet(x, y), every)


def test_tet_without_its_mse_is_the_mean_of_the_steps():
    x, y = logits_seq(), classes()
    expected = torch.stack([cross_entropy(step, hot(y)) for step in x]).mean()
    torch.testing.assert_close(TemporalEfficientTraining(lam=0.0)(x, y), expected)


def test_tet_of_equal_steps_is_the_rate_loss():
    x, y = logits_seq(T=1).expand(4, 5, K), classes()
    torch.testing.assert_close(TemporalEfficientTraining(lam=0.0)(x, y), RateCrossEntropy()(x, y))


def test_tet_is_never_below_the_rate_loss():
    x, y = 3 * logits_seq(), classes()  # cross-entropy is convex in the logits
    assert TemporalEfficientTraining(lam=0.0)(x, y) > RateCrossEntropy()(x, y)


def test_tet_mixes_in_the_squared_distance_to_phi():
    x, y = logits_seq(), classes()
    ce = TemporalEfficientTraining(lam=0.0)(x, y)
    expected = 0.6 * ce + 0.4 * ((x - 0.5) ** 2).mean()
    torch.testing.assert_close(TemporalEfficientTraining(lam=0.4, phi=0.5)(x, y), expected)


def test_count_mse_by_hand():
    spikes = torch.tensor([[[1.0, 0.0]], [[0.0, 0.0]]])  # rates 0.5 and 0
    assert CountMSE()(spikes, torch.tensor([0])).item() == pytest.approx((0.25 + 0) / 2)
    loss = CountMSE(correct=0.75, wrong=0.25)
    assert loss(spikes, torch.tensor([1])).item() == pytest.approx((0.25**2 + 0.75**2) / 2)


def test_count_mse_is_zero_at_its_target_counts():
    y, T = classes(), 10
    spikes = torch.zeros(T, 5, K)
    spikes[:1] = 1.0  # one of ten for every class
    spikes[:9, torch.arange(5), y] = 1.0  # nine of ten for the right one
    assert CountMSE(correct=0.9, wrong=0.1)(spikes, y).item() == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("build", LOSSES)
def test_sure_soft_targets_equal_classes(build):
    x, y = logits_seq(), classes()
    torch.testing.assert_close(build()(x, hot(y)), build()(x, y))


@pytest.mark.parametrize("build", [RateCrossEntropy, lambda: TemporalEfficientTraining(lam=0.2)])
def test_mixed_targets_mix_the_losses(build):
    x, y, z = logits_seq(), classes(), classes()
    mixed = build()(x, 0.3 * hot(y) + 0.7 * hot(z))
    torch.testing.assert_close(mixed, 0.3 * build()(x, y) + 0.7 * build()(x, z))


def test_mixed_targets_mix_the_target_rates():
    x, y, z = logits_seq(), classes(), classes()
    target = 0.1 + 0.8 * (0.3 * hot(y) + 0.7 * hot(z))
    expected = ((x.mean(0) - target) ** 2).mean()
    mixed = CountMSE(correct=0.9, wrong=0.1)(x, 0.3 * hot(y) + 0.7 * hot(z))
    torch.testing.assert_close(mixed, expected)


@pytest.mark.parametrize("build", LOSSES)
def test_losses_are_numbers_with_gradients_in_float32_at_least(build):
    loss: Loss = build()
    for dtype, wide in [(torch.bfloat16, torch.float32), (torch.float64, torch.float64)]:
        x = logits_seq().to(dtype).requires_grad_()
        value = loss(x, classes())
        value.backward()
        assert value.shape == ()
        assert value.dtype == wide
        assert x.grad.isfinite().all()


@pytest.mark.parametrize("build", LOSSES)
def test_gradients_are_the_slopes_of_the_loss(build):
    y = classes(2)
    x = logits_seq(T=2, N=2).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: build()(x, y), x)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: RateCrossEntropy(label_smoothing=1.0), "label_smoothing must be in"),
        (lambda: TemporalEfficientTraining(label_smoothing=-0.1), "label_smoothing must be in"),
        (lambda: TemporalEfficientTraining(lam=1.5), "lam must be in"),
        (lambda: CountMSE(correct=0.1, wrong=0.1), "correct must exceed wrong"),
    ],
)
def test_impossible_losses_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
