"""Poses of cameras: around an object, along a spiral, and in a frame of their own mean."""

import math

import torch
from torch import Tensor


def orbit(count: int, *, radius: float, elevation: float = -30.0) -> Tensor:
    """Poses on a circle around the origin that all look at it; z is up.

    Args:
        count: how many, evenly around.
        radius: distance from the origin.
        elevation: angle from the horizon, negative for cameras above it [degrees].
    Shape:
        -> [count, 3, 4]
    Source:
        The test path of NeRF's synthetic scenes, Mildenhall et al., ECCV 2020, their code.
    """
    tilt = math.radians(elevation)
    poses = []
    for turn in torch.arange(count, dtype=torch.float64) * (2 * math.pi / count):
        place = radius * torch.tensor(
            [math.cos(tilt) * turn.sin(), -math.cos(tilt) * turn.cos(), -math.sin(tilt)],
            dtype=torch.float64,
        )
        poses.append(looking(place, -place, torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)))
    return torch.stack(poses).float()


def looking(place: Tensor, along: Tensor, up: Tensor) -> Tensor:
    """The pose of a camera at a place that looks along a direction.

    Shape:
        place, along, up [3] -> [3, 4]
    """
    z = -along / along.norm()
    x = torch.linalg.cross(up, z)
    x = x / x.norm()
    return torch.stack([x, torch.linalg.cross(z, x), z, place], dim=1)


def mean_pose(poses: Tensor) -> Tensor:
    """The pose in the middle: the mean place, the summed view and the summed upward axes.

    Shape:
        poses [V, 3, 4] -> [3, 4]
    """
    return looking(poses[..., 3].mean(0), -poses[..., 2].sum(0), poses[..., 1].sum(0))


def recentred(poses: Tensor) -> Tensor:
    """Poses in the frame of their mean: that one then is at the origin and looks along -z.

    Shape:
        poses [V, 3, 4] -> [V, 3, 4]
    Source:
        Mildenhall et al., ECCV 2020, their code's ``recenter_poses``.
    """
    middle = mean_pose(poses.double())
    turn = middle[:, :3].T
    moved = turn @ (poses[..., 3].double() - middle[:, 3]).T
    return torch.cat([turn @ poses[..., :3].double(), moved.T[..., None]], dim=-1).to(poses)


def spiral(poses: Tensor, count: int, *, near: float, far: float, turns: int = 2) -> Tensor:
    """A winding path around the mean of poses that keeps an eye on what is in focus.

    It reaches as far to each side as nine in ten of the poses. The focus is a weighted harmonic
    mean of the bounds, nearer to the near one: 1 / (0.25 / near' + 0.75 / far'), with
    near' = 0.9 near and far' = 5 far.

    Args:
        poses: of the scene, recentred.
        count: how many to make.
        near, far: bounds of the scene.
        turns: how often the path goes round.
    Shape:
        poses [V, 3, 4] -> [count, 3, 4]
    Source:
        Mildenhall et al., ECCV 2020, their code's ``render_path_spiral``.
    """
    poses = poses.double()
    middle = mean_pose(poses)
    focus = 1 / (0.25 / (0.9 * near) + 0.75 / (5 * far))
    reach = torch.quantile(poses[..., 3].abs(), 0.9, dim=0)
    up = poses[..., 1].sum(0)
    ahead = middle[:, :3] @ torch.tensor([0.0, 0.0, -focus], dtype=torch.float64) + middle[:, 3]
    path = []
    for angle in torch.arange(count, dtype=torch.float64) * (2 * math.pi * turns / count):
        swing = torch.stack([angle.cos(), -angle.sin(), -(0.5 * angle).sin()]) * reach
        place = middle[:, :3] @ swing + middle[:, 3]
        path.append(looking(place, ahead - place, up))
    return torch.stack(path).float()
