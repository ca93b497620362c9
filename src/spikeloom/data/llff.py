"""Real scenes in front of the camera, with poses and bounds as LLFF estimates them."""

import hashlib
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from spikeloom.data.files import data_root
from spikeloom.data.ray_plan import RayOrder, ray_plan
from spikeloom.data.source import Source
from spikeloom.data.views import Views, on, opened, read_pictures, scene_folder
from spikeloom.functional.radiance import RAY, recentred, spiral
from spikeloom.papers import Paper
from spikeloom.registry import register

LLFF = Paper(
    key="mildenhall2019llff",
    title="Local Light Field Fusion: Practical View Synthesis with Prescriptive Sampling "
    "Guidelines",
    authors=(
        "Ben Mildenhall",
        "Pratul P. Srinivasan",
        "Rodrigo Ortiz-Cayon",
        "Nima Khademi Kalantari",
        "Ravi Ramamoorthi",
        "Ren Ng",
        "Abhishek Kar",
    ),
    venue="ACM Transactions on Graphics",
    form="article",
    year=2019,
    url="https://arxiv.org/abs/1905.00889",
)
FOLDERS = ("nerf_llff_data", "llff", ".")
HELD = 8  # every eighth view is for the test
NEAREST = 0.75  # of the nearest bound, which becomes the distance 1 / NEAREST


@register("dataset", "llff", paper=LLFF)
def llff(
    root: Path | None = None,
    *,
    scene: str = "fern",
    height: int = 378,
    rays: RayOrder = "shuffled",
    updates: int | None = None,
    download: bool = False,
) -> Source:
    """A scene of LLFF: ``SCENE/poses_bounds.npy`` and the pictures of ``images*``.

    Poses and bounds are scaled so that the nearest thing is at 4/3, and put into the frame of their
    mean; rays are in normalised device coordinates, from 0 to 1. View directions are those before.
    Every eighth view, from the first on, is for the test. Training views keep their order.

    Args:
        root: folder with the datasets; the variable SPIKELOOM_DATA if None.
        scene: folder of the scene, under ``nerf_llff_data``, ``llff`` or the root itself.
        height: that views are shrunk to, by area, in their proportions [pixels]. Read from the
            smallest of ``images``, ``images_4`` and ``images_8`` that is as large.
        rays: ``shuffled``: a batch holds rays of all views; ``one_view``: of one.
        updates: batches in an epoch; None for one that goes through all rays (shuffled only).
        download: not possible here.

    Raises:
        FileNotFoundError: there is no such scene.
        ValueError: an argument out of range, a damaged file, another number of pictures than poses,
            ``download``.
    Source:
        Mildenhall et al., ECCV 2020, their code's ``load_llff``.
    """
    if download:
        raise ValueError("the scenes of LLFF cannot be fetched here; put them under the root")
    if height < 1:
        raise ValueError(f"height must be >= 1 pixel, got {height}")
    base = scene_folder(data_root(root), FOLDERS, scene, "poses_bounds.npy")
    path = base / "poses_bounds.npy"
    files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest()}
    rows = _rows(path)
    paths = _pictures(base, len(rows), height)
    with opened(paths[0]) as picture:
        size = (height, round(picture.width * height / picture.height))
    pictures, files["pictures (names and sizes)"] = read_pictures(paths, size)
    table = torch.from_numpy(rows[:, :15].reshape(-1, 3, 5))
    bounds = rows[:, 15:]
    scale = 1 / (NEAREST * float(bounds.min()))
    down, right, back, place, full = table.unbind(-1)
    poses = recentred(torch.stack([right, -down, back, place * scale], dim=-1).float())
    ends = float(bounds.min()) * scale, float(bounds.max()) * scale
    held = torch.arange(len(rows)) % HELD == 0
    train, test = (
        Views(
            on(1.0, pictures[part]), poses[part], focal=float(full[0, 2] * height / full[0, 0]),
            near=0.0, far=1.0, path=partial(spiral, poses, near=ends[0], far=ends[1]), ndc=True,
        )
        for part in (~held, held)
    )  # fmt: skip
    plan = ray_plan(rays, updates, 0, train.size)
    return Source(
        "llff", train, test, (RAY,), files=files, measure="psnr", outputs=3, plan=plan,
        plot=test.drawn(), facts={"white": False},
    )  # fmt: skip


def _rows(path: Path) -> NDArray[np.float64]:
    try:
        rows: NDArray[Any] = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"{path} is no array ({error}); fetch it anew") from error
    if rows.ndim != 2 or rows.shape[1] != 17 or len(rows) < 2 or not np.isfinite(rows).all():
        raise ValueError(
            f"{path} is {rows.shape}, expected [V, 17] finite numbers of two views or more: a "
            "3 x 5 pose, height, width and focal length among it, and the nearest and farthest "
            "thing seen"
        )
    near, far = rows[:, 15:].T
    if not (near.min() > 0 and (far > near).all()):
        raise ValueError(
            f"{path} has bounds from {near.min():g} to {far.max():g}; the nearest thing of every "
            "view must be in front of the camera, and the farthest beyond it"
        )
    if not (rows[:, [4, 9, 14]] > 0).all():
        raise ValueError(f"{path} has heights, widths or focal lengths that are not > 0")
    return rows.astype(np.float64)


def _pictures(base: Path, count: int, height: int) -> list[Path]:
    """The picture files of a scene, from the smallest folder of those large enough."""
    suffixes = (".png", ".jpg", ".jpeg")
    seen = []
    for name in ("images_8", "images_4", "images"):
        folder = base / name
        inside = sorted(folder.iterdir()) if folder.is_dir() else []
        found = [p for p in inside if p.suffix.lower() in suffixes]
        if not found:
            continue
        with opened(found[0]) as picture:
            tall = picture.height
        seen.append(f"{name} ({len(found)} of height {tall})")
        if tall < height:
            continue
        if len(found) != count:
            raise ValueError(
                f"{folder} holds {len(found)} pictures, poses_bounds.npy {count} poses; a view has "
                "one of each"
            )
        return found
    raise ValueError(
        f"{base} has no pictures of height {height} or more, only {', '.join(seen) or 'none'}; "
        "give a smaller height"
    )
