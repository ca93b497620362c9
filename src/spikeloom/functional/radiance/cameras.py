"""Rays of pixels: pinhole cameras that look along -z, and normalised device coordinates.

A pose is [R | p], the camera's axes and its place in the world: x to the right, y up, and the view
along -z, as Blender has it.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Rays(NamedTuple):
    """Half lines o + t d; d is not normalised, so that t measures depth along the camera's axis.

    Shape:
        origin, direction [R, 3]
    """

    origin: Tensor
    direction: Tensor


def pixel_rays(
    pose: Tensor, row: Tensor, column: Tensor, *, size: tuple[int, int], focal: float
) -> Rays:
    """Rays through pixels, given by whole rows and columns without a shift by half a pixel.

    d_cam = ((i - W/2) / f, -(j - H/2) / f, -1) of column i and row j;  d = R d_cam;  o = p.

    Args:
        pose: one camera for all pixels, or one for each.
        row, column: of each pixel, from the top left.
        size: (H, W) of the picture [pixels].
        focal: focal length [pixels], > 0.
    Shape:
        pose [3, 4] or [R, 3, 4], row, column [R] -> origin, direction [R, 3]
    Raises:
        ValueError: focal <= 0, or poses of another shape.
    Source:
        Mildenhall et al., ECCV 2020; their code's ``get_rays``.
    """
    if not focal > 0:
        raise ValueError(f"the focal length must be > 0 pixels, got {focal}")
    if pose.shape[-2:] != (3, 4):
        raise ValueError(
            f"poses are [3, 4] or [R, 3, 4], got {tuple(pose.shape)}; of 4 x 4 matrices take the "
            "first three rows"
        )
    height, width = size
    seen = torch.stack(
        [
            (column.to(pose.dtype) - width / 2) / focal,
            -(row.to(pose.dtype) - height / 2) / focal,
            torch.full_like(row, -1, dtype=pose.dtype),
        ],
        dim=-1,
    )
    direction = (pose[..., :3] @ seen[..., None])[..., 0]
    return Rays(pose[..., 3].expand_as(direction), direction)


def view_of(direction: Tensor) -> Tensor:
    """Unit view directions v = d / |d|, as the colour of a point depends on them.

    Shape:
        direction [R, 3] -> [R, 3]
    """
    view: Tensor = direction / torch.linalg.vector_norm(direction, dim=-1, keepdim=True)
    return view


def to_ndc(rays: Rays, *, size: tuple[int, int], focal: float, near: float = 1.0) -> Rays:
    """Rays in normalised device coordinates, for scenes in front of all cameras.

    The start moves to the near plane, t0 = -(n + o_z) / d_z, o <- o + t0 d; then
    o' = (-(2f/W) o_x/o_z, -(2f/H) o_y/o_z, 1 + 2n/o_z),
    d' = (-(2f/W) (d_x/d_z - o_x/o_z), -(2f/H) (d_y/d_z - o_y/o_z), -2n/o_z).
    t = 0 is the near plane, z' = -1; t = 1 is infinity, z' = +1.

    Args:
        rays: of cameras that look along -z of the world.
        size: (H, W) [pixels].
        focal: focal length [pixels].
        near: distance of the near plane, n.
    Shape:
        origin, direction [R, 3] -> the same
    Raises:
        ValueError: a ray that runs along the near plane, or away from it.
    Source:
        Mildenhall et al., ECCV 2020, appendix on normalised device coordinates.
    """
    origin, direction = rays
    if not bool((direction[..., 2] < 0).all()):
        raise ValueError(
            "normalised device coordinates need rays that look along -z; this scene is not in "
            "front of all cameras, so leave its rays as they are"
        )
    height, width = size
    start = -(near + origin[..., 2]) / direction[..., 2]
    x, y, z = (origin + start[..., None] * direction).unbind(-1)
    dx, dy, dz = direction.unbind(-1)
    across, up = -2 * focal / width, -2 * focal / height
    return Rays(
        torch.stack([across * x / z, up * y / z, 1 + 2 * near / z], dim=-1),
        torch.stack([across * (dx / dz - x / z), up * (dy / dz - y / z), -2 * near / z], dim=-1),
    )
