"""Densities and colours along a ray to one colour, depth and opacity."""

from typing import NamedTuple

import torch
from torch import Tensor

BEYOND = 1e10  # length of the last interval: what is there hides all that is behind
LEAST = 1e-10  # light that passes what hides everything, so that logarithms and ratios exist


class Composite(NamedTuple):
    """What a ray shows.

    Shape:
        colour [R, 3], depth, opacity [R], weights [R, K]
    """

    colour: Tensor
    depth: Tensor
    opacity: Tensor
    weights: Tensor


def intervals(t: Tensor, direction: Tensor) -> Tensor:
    """Lengths between depths in the world: delta[k] = (t[k+1] - t[k]) |d|; the last is 1e10 |d|.

    Shape:
        t [R, K], direction [R, 3] -> [R, K]
    """
    gaps = torch.cat([t[:, 1:] - t[:, :-1], torch.full_like(t[:, :1], BEYOND)], dim=1)
    lengths: Tensor = gaps * torch.linalg.vector_norm(direction, dim=-1, keepdim=True)
    return lengths


def opacities(density: Tensor, delta: Tensor) -> Tensor:
    """How much of the light each interval takes: alpha = 1 - exp(-relu(sigma) delta).

    Shape:
        density, delta [R, K] -> [R, K]
    """
    return 1 - torch.exp(-density.relu() * delta)


def composite(
    density: Tensor, colour: Tensor, t: Tensor, direction: Tensor, *, white: bool = False
) -> Composite:
    """Colours along rays, weighed by how much of each is seen.

    alpha[k] = 1 - exp(-relu(sigma[k]) delta[k]);
    w[k] = alpha[k] prod_{l<k} (1 - alpha[l] + 1e-10);
    C = sum_k w[k] c[k] (+ 1 - sum_k w[k] before white);  depth = sum_k w[k] t[k].

    Args:
        density: sigma, before the rectifier [1 / length].
        colour: c of each point, from 0 to 1.
        t: increasing depths.
        direction: d of each ray, as long as it is.
        white: whether what nothing hides is white; else it is black.
    Shape:
        density, t [R, K], colour [R, K, 3], direction [R, 3]
        -> colour [R, 3], depth, opacity [R], weights [R, K]
    Source:
        Mildenhall et al., ECCV 2020, sec. 4, eq. 3; their code.
    """
    alpha = opacities(density, intervals(t, direction))
    passed = torch.cumprod(1 - alpha + LEAST, dim=1)
    weights = alpha * torch.cat([torch.ones_like(passed[:, :1]), passed[:, :-1]], dim=1)
    opacity = weights.sum(1)
    seen = (weights[..., None] * colour).sum(1)
    if white:
        seen = seen + (1 - opacity)[:, None]
    return Composite(seen, (weights * t).sum(1), opacity, weights)
