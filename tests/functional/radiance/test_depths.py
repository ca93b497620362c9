"""Depths along rays: even, jittered within their bins, and drawn where weights are."""

import pytest
import torch

from spikeloom.functional.radiance import grid, joined, midpoints, resampled, stratified

R, K, MORE = 4, 64, 128


def even(rays=R):
    ends = torch.ones(rays)
    return grid(2 * ends, 6 * ends, K)


def test_the_grid_holds_both_ends():
    t = even()
    assert t[:, 0].tolist() == [2.0] * R
    assert t[:, -1].tolist() == [6.0] * R
    torch.testing.assert_close(t[0, 1] - t[0, 0], torch.tensor(4 / (K - 1)))


def test_without_draws_depths_stay():
    t = even()
    assert stratified(t) is t


def test_jitter_stays_between_the_midpoints():
    t = even(1000)
    drawn = stratified(t, torch.rand_like(t))
    middle = midpoints(t)
    assert (drawn[:, 1:] >= middle).all()
    assert (drawn[:, :-1] <= middle).all()
    assert drawn.min() >= 2
    assert drawn.max() <= 6
    assert (drawn.diff() >= 0).all()


def test_one_heavy_bin_draws_all_samples():
    t, weights = even(), torch.zeros(R, K)
    weights[:, 20] = 1.0
    low, high = midpoints(t)[0, [19, 20]]
    # 61 other bins keep 1e-5 each: one draw in 1,600 falls into these
    assert 61e-5 * MORE < 0.1
    for draws in (
        torch.linspace(0.001, 0.999, MORE).expand(R, -1),
        0.001 + 0.998 * torch.rand(R, MORE),
    ):
        found = resampled(t, weights, MORE, draws)
        assert ((found >= low) & (found <= high)).all()


def test_even_weights_draw_even_samples():
    t = even(200)
    found = resampled(t, torch.ones(200, K), MORE, torch.rand(200, MORE))
    low, high = midpoints(t)[0, [0, -1]]
    share = ((found.flatten().sort().values - low) / (high - low)).double()
    place = torch.arange(1, len(share) + 1).double() / len(share)
    assert (share - place).abs().max() < 0.05  # Kolmogorov distance


def test_evaluation_draws_are_even_and_the_same():
    t, weights = even(), torch.rand(R, K)
    assert torch.equal(resampled(t, weights, MORE), resampled(t, weights, MORE))
    found = resampled(t, torch.ones(R, K), MORE)
    torch.testing.assert_close(
        found.diff(),
        (found[:, -1:] - found[:, :1]) / (MORE - 1) * torch.ones(R, MORE - 1),
        atol=1e-4,
        rtol=0,
    )


def test_no_gradient_goes_through_resampling():
    weights = torch.rand(R, K, requires_grad=True)
    assert not resampled(even(), weights, MORE).requires_grad


def test_the_union_is_in_order():
    t = even()
    both = joined(t, resampled(t, torch.rand(R, K), MORE, torch.rand(R, MORE)))
    assert both.shape == (R, K + MORE)
    assert (both.diff() >= 0).all()


def test_too_few_depths_are_refused():
    with pytest.raises(ValueError, match="at least two depths"):
        grid(torch.ones(1), torch.ones(1), 1)
    with pytest.raises(ValueError, match="at least three depths"):
        resampled(torch.ones(1, 2), torch.ones(1, 2), 4)
