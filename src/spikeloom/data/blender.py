"""NeRF's synthetic scenes: views of an object all around, as Blender rendered them."""

import hashlib
import json
import math
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from spikeloom.data.files import data_root
from spikeloom.data.ray_plan import RayOrder, ray_plan
from spikeloom.data.source import Source
from spikeloom.data.views import Views, first, on, read_pictures, scene_folder
from spikeloom.functional.radiance import RAY, orbit
from spikeloom.functional.radiance.sources import NERF
from spikeloom.registry import register

NEAR, FAR = 2.0, 6.0
FOLDERS = ("nerf_synthetic", "blender", ".")


@register("dataset", "blender", paper=NERF)
def blender(
    root: Path | None = None,
    *,
    scene: str = "lego",
    side: int = 400,
    white: bool = True,
    rays: RayOrder = "one_view",
    updates: int | None = 1000,
    crop: int = 0,
    train_views: int | None = None,
    val_views: int = 0,
    test_views: int | None = None,
    download: bool = False,
) -> Source:
    """A synthetic scene of NeRF: ``SCENE/transforms_{train,val,test}.json`` and the pictures.

    A sample is a pixel: its ray and colour. Views of the validation set come last among the
    training samples, so that ``data.val = val_views * side * side`` splits off just these.

    Args:
        root: folder with the datasets; the variable SPIKELOOM_DATA if None.
        scene: folder of the scene, under ``nerf_synthetic``, ``blender`` or the root itself.
        side: height and width that views are shrunk to, by area [pixels]; NeRF has 800, and 400
            where it halves them.
        white: the background, of the model too; black if false.
        rays: ``one_view``: a batch holds rays of one view; ``shuffled``: of all of them.
        updates: batches in an epoch; None for one that goes through all rays (shuffled only).
        crop: the first so many batches look at the middle of views.
        train_views: the first so many training views; all if None.
        val_views: the first so many validation views.
        test_views: the first so many test views; all if None.
        download: not possible here.

    Raises:
        FileNotFoundError: there is no such scene, or a picture is missing.
        ValueError: an argument out of range, a damaged file, ``download``.
    Source:
        Mildenhall et al., ECCV 2020.
    """
    if download:
        raise ValueError("the synthetic scenes cannot be fetched here; put them under the root")
    if side < 1:
        raise ValueError(f"side must be >= 1 pixel, got {side}")
    base = scene_folder(data_root(root), FOLDERS, scene, "transforms_train.json")
    files: dict[str, str] = {}
    background = 1.0 if white else 0.0
    read = partial(_part, base, side=side, background=background, files=files)
    train, held = read("train", first_views=train_views), 0
    if val_views:
        more = read("val", first_views=val_views)
        train, held = _with(train, more), len(more)
    test = read("test", first_views=test_views)
    plan = ray_plan(rays, updates, crop, train.size)
    return Source(
        "blender", train, test, (RAY,), files=files, measure="psnr", outputs=3, plan=plan,
        plot=test.drawn(), held=held, facts={"white": white},
    )  # fmt: skip


def _part(
    base: Path,
    part: str,
    *,
    first_views: int | None,
    side: int,
    background: float,
    files: dict[str, str],
) -> Views:
    path = base / f"transforms_{part}.json"
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing, which lists the views of {part}; put it there"
            + ", or set val_views = 0" * (part == "val")
        )
    raw = path.read_bytes()
    files[path.name] = hashlib.sha256(raw).hexdigest()
    angle, frames = _frames(path, raw)
    frames = frames[: first(f"{part}_views", first_views, len(frames))]
    paths = [base / f"{frame['file_path']}.png" for frame in frames]
    pictures, digest = read_pictures(paths, (side, side))
    files[f"{part} (names and sizes)"] = digest
    poses = torch.stack([_pose(path, frame) for frame in frames])
    radius = float(poses[..., 3].norm(dim=1).mean())
    return Views(
        on(background, pictures),
        poses,
        focal=0.5 * side / math.tan(0.5 * angle),
        near=NEAR,
        far=FAR,
        path=partial(orbit, radius=radius),
    )


def _frames(path: Path, raw: bytes) -> tuple[float, list[dict[str, Any]]]:
    try:
        tree = json.loads(raw)
        angle, frames = float(tree["camera_angle_x"]), list(tree["frames"])
        if not frames or not all(isinstance(frame["file_path"], str) for frame in frames):
            raise ValueError("it lists no frames with a file_path")
        if not 0 < angle < math.pi:
            raise ValueError(f"camera_angle_x = {angle} is no angle of a view")
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is no list of views ({error!r}); expected camera_angle_x, and frames with "
            "file_path and transform_matrix"
        ) from error
    return angle, frames


def _pose(path: Path, frame: dict[str, Any]) -> Tensor:
    try:
        pose = torch.tensor(frame["transform_matrix"], dtype=torch.float32)
        if pose.shape != (4, 4):
            raise ValueError(f"it is {tuple(pose.shape)}")
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path}: the transform_matrix of {frame['file_path']} is no 4 x 4 matrix ({error!r})"
        ) from error
    return pose[:3]


def _with(train: Views, held: Views) -> Views:
    pictures = torch.cat([train.pictures, held.pictures])
    return Views(pictures, torch.cat([train.poses, held.poses]), train.focal, NEAR, FAR, train.path)
