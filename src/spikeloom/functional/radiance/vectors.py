"""Rays as vectors, the samples that radiance fields learn from."""

from typing import NamedTuple

import torch
from torch import Tensor

from spikeloom.functional.radiance.cameras import Rays

RAY = 11  # origin 3, direction 3, view 3, near, far


class RayParts(NamedTuple):
    """What a vector of a ray consists of.

    The unit view direction is that in the world, which normalised device coordinates lose.

    Shape:
        rays of [R, 3], view [R, 3], near, far [R]
    """

    rays: Rays
    view: Tensor
    near: Tensor
    far: Tensor


def ray_vectors(rays: Rays, view: Tensor, near: float, far: float) -> Tensor:
    """Rays with their views and bounds as vectors.

    Shape:
        rays of [R, 3], view [R, 3] -> [R, 11]
    """
    ends = rays.origin.new_tensor([near, far]).expand(len(view), 2)
    return torch.cat([*rays, view, ends], dim=1)


def ray_parts(x: Tensor) -> RayParts:
    """The rays that :func:`ray_vectors` made vectors of.

    Shape:
        x [R, 11] -> rays of [R, 3], view [R, 3], near, far [R]
    Raises:
        ValueError: another width.
    """
    if x.dim() != 2 or x.shape[1] != RAY:
        raise ValueError(
            f"rays are vectors of {RAY} numbers (origin, direction, view, near, far), got "
            f"{tuple(x.shape)}; use a data set of views, as blender, llff or tiny_nerf"
        )
    origin, direction, view, near, far = x.split([3, 3, 3, 1, 1], dim=1)
    return RayParts(Rays(origin, direction), view, near[:, 0], far[:, 0])
