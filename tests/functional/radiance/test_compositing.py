"""Compositing against closed forms, and its gradients against finite differences."""

import pytest
import torch

from spikeloom.functional.radiance import composite, grid, intervals, opacities

NEAR, FAR, K = 2.0, 6.0, 64


def ray(dtype=torch.float64, rays=1):
    ends = torch.ones(rays, dtype=dtype)
    direction = torch.tensor([[0.0, 0.0, -1.0]], dtype=dtype).expand(rays, 3)
    return grid(NEAR * ends, FAR * ends, K), direction


@pytest.mark.parametrize("sigma", [0.1, 0.7, 3.0])
def test_a_fog_takes_light_exponentially(sigma):
    t, direction = ray()
    fog, colour = torch.full_like(t, sigma), torch.tensor([0.2, 0.5, 0.9]).double().expand(1, K, 3)
    found = composite(fog, colour, t, direction)
    expected = 1 - torch.exp(torch.tensor(-sigma * (FAR - NEAR)).double())
    torch.testing.assert_close(found.weights[0, :-1].sum(), expected, atol=1e-7, rtol=0)
    torch.testing.assert_close(found.opacity[0], torch.tensor(1.0).double(), atol=1e-7, rtol=0)
    torch.testing.assert_close(found.colour[0], colour[0, 0].double(), atol=1e-7, rtol=0)


def test_nothing_is_white_on_white_and_black_on_black():
    t, direction = ray(torch.float32)
    empty, colour = torch.zeros_like(t), torch.rand(1, K, 3)
    assert composite(empty, colour, t, direction, white=True).colour.tolist() == [[1.0, 1.0, 1.0]]
    assert composite(empty, colour, t, direction).colour.tolist() == [[0.0, 0.0, 0.0]]


def test_densities_below_zero_are_none():
    t, direction = ray(torch.float32)
    found = composite(-torch.rand_like(t), torch.rand(1, K, 3), t, direction)
    assert found.opacity.item() == 0


def test_weights_are_shares():
    t, direction = ray(torch.float32, rays=200)
    density = 10 ** (4 * torch.rand(200, K)) * (torch.rand(200, K) < 0.3)
    weights = composite(density, torch.rand(200, K, 3), t, direction).weights
    assert (weights >= 0).all()
    assert (weights.sum(1) <= 1 + 1e-6).all()


def test_depth_is_that_of_the_first_wall():
    t, direction = ray()
    wall = torch.zeros_like(t)
    wall[0, 20] = 1e9
    found = composite(wall, torch.rand(1, K, 3).double(), t, direction)
    torch.testing.assert_close(found.depth, t[:, 20])


def test_a_longer_direction_makes_longer_intervals():
    t, direction = ray()
    torch.testing.assert_close(intervals(t, 3 * direction), 3 * intervals(t, direction))
    assert (opacities(torch.ones_like(t), intervals(t, 3 * direction)) >= 0.1).all()


@pytest.mark.parametrize("white", [False, True])
def test_gradients_agree_with_finite_differences(white):
    # The last interval is endless: its density is kept below zero, where it has no slope.
    density = torch.rand(3, 8, dtype=torch.float64) + 0.1
    density[:, -1] = -1
    t = torch.sort(torch.rand(3, 8, dtype=torch.float64), dim=1).values
    direction = torch.randn(3, 3, dtype=torch.float64)

    def shown(density, colour):
        found = composite(density, colour, t, direction, white=white)
        return found.colour, found.depth, found.opacity

    given = density.requires_grad_(), torch.rand(3, 8, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(shown, given, eps=1e-6, atol=1e-6)
