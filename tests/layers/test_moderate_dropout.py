"""Moderate dropout against the numbers of its specification."""

import pytest
import torch

from spikeloom.layers import ModerateDropout
from spikeloom.layers.carry import whole_only
from spikeloom.layers.moderate_dropout import keep_probability

A = torch.tensor([0.0, 0.1, 0.2, 0.5, 1.0], dtype=torch.float64)
SATURATED = torch.tensor([0.0] + [1.0] * 9, dtype=torch.float64)  # r / mean(1 - ρ) = 2


def test_keep_probabilities_of_the_worked_example():
    k = keep_probability(A, 0.2)
    want = torch.tensor([0.6875, 0.71875, 0.75, 0.84375, 1.0], dtype=torch.float64)
    torch.testing.assert_close(k, want, rtol=0, atol=1e-15)
    assert k.mean().item() == pytest.approx(0.8, abs=1e-15)


def test_the_share_dropped_is_the_rate_whatever_the_activities_are():
    a = 3 * torch.rand(20, 30, dtype=torch.float64) - 1
    for rate in (0.05, 0.2, 0.4):
        assert keep_probability(a, rate).mean().item() == pytest.approx(1 - rate)


def test_least_and_greatest_are_those_of_the_whole_batch():
    a = torch.stack([A, 2 * A])
    assert torch.equal(keep_probability(a, 0.2).flatten(), keep_probability(a.flatten(), 0.2))
    assert not torch.equal(keep_probability(a, 0.2)[0], keep_probability(A, 0.2))


@pytest.mark.parametrize("value", [0.0, 0.7])
def test_equal_activities_are_kept_alike(value):
    x_seq = torch.full((2, 50, 40), value, requires_grad=True)
    assert torch.equal(keep_probability(x_seq[0], 0.2), torch.full((50, 40), 0.8))
    y_seq = ModerateDropout(0.2)(x_seq)
    y_seq.sum().backward()
    assert y_seq.isfinite().all()
    assert x_seq.grad.isfinite().all()
    assert (y_seq == 0).float().mean() == pytest.approx(0.2 if value else 1.0, abs=0.05)


def test_a_mostly_saturated_layer_silences_its_weakest_units():
    assert keep_probability(SATURATED, 0.2).tolist() == [0.0] + [1.0] * 9
    x_seq = (SATURATED + 0.5).expand(3, 1, 10).clone().requires_grad_()
    y_seq = ModerateDropout(0.2)(x_seq)
    y_seq.sum().backward()
    assert torch.equal(y_seq, x_seq.detach() * (SATURATED > 0))
    assert x_seq.grad.isfinite().all()


def test_the_mean_over_masks_is_the_input():
    x_seq = torch.stack([0.5 * A, 1.5 * A]).unsqueeze(1)  # [2, 1, 5], activities A
    drop, total = ModerateDropout(0.2), torch.zeros_like(x_seq)
    for _ in range(10_000):
        total += drop(x_seq)
    # The standard error is at most 1.5 sqrt((1 - k) / k) / 100 = 0.0075 where k is least.
    torch.testing.assert_close(total / 10_000, x_seq, rtol=0, atol=0.03)


def test_all_steps_share_one_mask_and_units_are_scaled_by_their_own_probability():
    x_seq = A.expand(6, 1, 5) + 0.5
    y_seq = ModerateDropout(0.2)(x_seq)
    assert (y_seq == y_seq[0]).all()
    kept = y_seq[0, 0] > 0
    torch.testing.assert_close(y_seq[0, 0][kept], ((A + 0.5) / keep_probability(A, 0.2))[kept])


def test_weak_units_are_dropped_more_often():
    x_seq = torch.cat([torch.zeros(1, 4000) + 0.1, torch.ones(1, 4000)]).expand(1, 2, 4000)
    dropped = (ModerateDropout(0.2)(x_seq) == 0).float().mean(2)[0]
    assert dropped.tolist() == pytest.approx([0.4, 0.0], abs=0.03)


def masked_alike(drop):
    def run(x_seq):
        torch.manual_seed(1)
        return drop(x_seq)

    return run


def test_the_gradient_goes_through_the_keep_probability():
    x_seq = torch.rand(2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(masked_alike(ModerateDropout(0.2)), x_seq)


def test_detached_the_gradient_is_the_mask_over_the_keep_probability():
    x_seq = torch.rand(2, 3, 4, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn(2, 3, 4, dtype=torch.float64)
    grads = []
    for detach in (True, False):
        y_seq = masked_alike(ModerateDropout(0.2, detach_keep_prob=detach))(x_seq)
        grads.append(torch.autograd.grad((y_seq * upstream).sum(), x_seq)[0])
    torch.testing.assert_close(grads[0], (y_seq / x_seq * upstream).detach())
    assert not torch.allclose(grads[0], grads[1])


def test_does_nothing_in_evaluation_or_without_a_rate():
    x_seq = torch.rand(3, 2, 5)
    assert ModerateDropout(0.5).eval()(x_seq) is x_seq
    assert ModerateDropout(0.0)(x_seq) is x_seq
    assert whole_only(ModerateDropout(0.5).eval()) is None
    assert "draws at random" in whole_only(ModerateDropout(0.5))


def test_half_precision_stays_half():
    assert ModerateDropout()(torch.rand(2, 3, 4).bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize("p", [-0.1, 1.0])
def test_refuses_impossible_shares(p):
    with pytest.raises(ValueError, match="p must be in"):
        ModerateDropout(p)
