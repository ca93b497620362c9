"""Targets of local tandem learning, and the distance from them."""

import pytest
import torch

from spikeloom.functional.tandem import percentile, rank, rate_mismatch, rate_target


def test_the_99th_of_a_thousand_values_is_the_990th():
    shuffled = torch.randperm(1000).float().view(10, 100)
    assert float(percentile(shuffled, 99)) == 989
    assert rank(99, 1000) == 990


@pytest.mark.parametrize(("p", "want"), [(0, 0), (100, 999), (99.9, 998), (50, 500)])
def test_percentiles_are_entries_and_never_between_two(p, want):
    assert float(percentile(torch.arange(1000.0), p)) == want


def test_a_percentile_of_half_precision_is_found_in_float32():
    assert percentile(torch.arange(10).bfloat16(), 100).dtype == torch.float32


@pytest.mark.parametrize(("x", "p"), [(torch.ones(2), 101), (torch.ones(0), 50)])
def test_percentiles_out_of_range_or_of_nothing_are_refused(x, p):
    with pytest.raises(ValueError, match=r"p in \[0, 100\]"):
        percentile(x, p)


def test_targets_are_clipped_shares_of_the_scale():
    found = rate_target(torch.tensor([-1.0, 0.0, 1.0, 2.0, 5.0]), torch.tensor(2.0))
    assert found.tolist() == [0.0, 0.0, 0.5, 1.0, 1.0]


def test_a_dead_layer_has_targets_of_zero():
    assert rate_target(torch.zeros(3), torch.tensor(0.0)).tolist() == [0.0] * 3
    assert rate_target(torch.ones(3), torch.tensor(0.0)).tolist() == [0.0] * 3


def test_a_met_target_has_neither_loss_nor_gradient():
    rate = torch.rand(4, 5, requires_grad=True)
    loss = rate_mismatch(rate, rate.detach().clone())
    loss.backward()
    assert float(loss.detach()) == 0
    assert not rate.grad.any()


def test_the_sum_is_the_mean_times_the_places_of_a_sample():
    rate, target = torch.rand(4, 3, 2), torch.rand(4, 3, 2)
    mean, total = (rate_mismatch(rate, target, how) for how in ("mean", "sum"))
    torch.testing.assert_close(total, 6 * mean)
