"""What images look like to first-spike networks, and how filters learn from patches."""

import torch

from spikeloom.functional.first_spike import (
    Filters,
    dog_filter,
    learn_filters,
    signed_parts,
    spread,
    whitening_filters,
)


def test_the_difference_of_gaussians_hears_nothing_of_even_light():
    x = torch.full((1, 1, 12, 12), 0.7)
    assert signed_parts(x, dog_filter()).abs().max() < 1e-6


def test_a_bright_dot_is_on_in_the_middle_and_off_around():
    x = torch.zeros(1, 1, 15, 15)
    x[0, 0, 7, 7] = 1
    on, off = signed_parts(x, dog_filter())[0]
    assert on[7, 7] > 0.05
    assert off[7, 7] == 0
    assert off[7, 10] > 0


def test_whitened_patches_are_uncorrelated_in_the_middle():
    # Neighbours that resemble each other.
    noise = torch.randn(60, 3, 40, 40)
    x = torch.nn.functional.avg_pool2d(noise, 3, 1)
    filters, bias = whitening_filters(x, size=5, stride=1, eps=1e-4)
    y = torch.nn.functional.conv2d(x, filters, bias).transpose(0, 1).flatten(1)
    before = torch.corrcoef(torch.stack([x[:, 0, :, :-1].flatten(), x[:, 0, :, 1:].flatten()]))
    maps = y.unflatten(1, (60, 34, 34))
    after = torch.corrcoef(torch.stack([maps[0, :, :, :-1].flatten(), maps[0, :, :, 1:].flatten()]))
    assert before[0, 1] > 0.6
    assert after[0, 1].abs() < 0.2
    assert (torch.corrcoef(y) - torch.eye(3)).abs().max() < 0.1
    assert y.mean(1).abs().max() < 0.02


def test_values_are_spread_over_their_range_and_cut_off_beyond():
    least, most = torch.tensor([0.0, 2.0, 3.0]), torch.tensor([2.0, 4.0, 3.0])
    x = torch.tensor([[1.0, 5.0, 3.0], [-1.0, 3.0, 9.0]])
    assert spread(x, least, most).tolist() == [[0.5, 1.0, 0.0], [0.0, 0.5, 0.0]]


def test_the_winner_learns_its_patch_and_thresholds_keep_their_balance():
    t = torch.tensor([[0.2, 0.4, 0.9, 1.0]])
    weight = torch.tensor([[0.6, 0.6, 0.5, 0.5], [0.5, 0.5, 0.5, 0.5], [0.1, 0.1, 0.1, 0.1]])
    threshold, before = torch.full((3,), 1.1), weight.clone()
    how = Filters(rate=0.1, eta=0.5, goal=0.6, least=-9.0)
    assert learn_filters(t, weight, threshold, how=how).tolist() == [0]
    change = (weight - before)[0]
    torch.testing.assert_close(change[:2], 0.1 * torch.exp(-before[0, :2]))
    torch.testing.assert_close(change[2:], -0.1 * torch.exp(before[0, 2:] - 1))
    assert torch.equal(weight[1:], before[1:])
    moved = threshold - 1.1
    early = -0.5 * (0.4 - 0.6)  # it fired before the time that is wanted: all get harder
    torch.testing.assert_close(moved, torch.tensor([early + 0.5, early - 0.25, early - 0.25]))


def test_a_patch_that_excites_no_filter_changes_nothing():
    weight, threshold = torch.full((2, 3), 0.5), torch.full((2,), 9.0)
    assert learn_filters(torch.zeros(1, 3), weight, threshold, how=Filters()).tolist() == [-1]
    assert (weight == 0.5).all()
    assert (threshold == 9).all()


def test_thresholds_stay_above_their_bound_and_weights_within_theirs():
    t = torch.rand(300, 8)
    weight, threshold = torch.rand(4, 8), torch.full((4,), 2.0)
    learn_filters(t, weight, threshold, how=Filters(rate=0.5, goal=0.1))
    assert threshold.min() >= 2
    assert weight.min() >= 0
    assert weight.max() <= 1
