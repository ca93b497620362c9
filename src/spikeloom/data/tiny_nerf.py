"""The one file of small views that NeRF's authors give away to try things on."""

import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from spikeloom.data.files import Layout, Remote, locate
from spikeloom.data.ray_plan import RayOrder, ray_plan
from spikeloom.data.source import Source
from spikeloom.data.views import Views, first
from spikeloom.functional.radiance import RAY, orbit
from spikeloom.functional.radiance.sources import NERF
from spikeloom.registry import register

NEAR, FAR = 2.0, 6.0
FILE = "tiny_nerf_data.npz"
LAYOUT = Layout((".", "tiny_nerf"), (FILE,))


@register("dataset", "tiny_nerf", paper=NERF)
def tiny_nerf(
    root: Path | None = None,
    *,
    rays: RayOrder = "one_view",
    updates: int | None = 1000,
    crop: int = 0,
    test_views: int = 10,
    download: bool = False,
) -> Source:
    """``tiny_nerf_data.npz``: the lego scene at 100 x 100 on black, all views in one array.

    The last views are the test set. Training views keep their order: ``data.val = n * 10000`` with
    ``val_from = "last"`` holds out the last n of them.

    Args:
        root: folder with the datasets; the variable SPIKELOOM_DATA if None.
        rays: ``one_view``: a batch holds rays of one view; ``shuffled``: of all of them.
        updates: batches in an epoch; None for one that goes through all rays (shuffled only).
        crop: the first so many batches look at the middle of views.
        test_views: the last so many views are for the test; NeRF's file has 106.
        download: not possible here.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: an argument out of range, a damaged file, ``download``.
    Source:
        Mildenhall et al., ECCV 2020, the notebook of their code.
    """
    if download:
        raise ValueError(f"{FILE} cannot be fetched here; put it under the root")
    found = locate("tiny_nerf", root, [LAYOUT], Remote("", {}))
    found.read(FILE)
    images, poses, focal = _arrays(found.paths[FILE])
    held = first("test_views", test_views, len(images) - 1)
    make = partial(
        Views, focal=focal, near=NEAR, far=FAR,
        path=partial(orbit, radius=float(np.linalg.norm(poses[:, :3, 3], axis=1).mean())),
    )  # fmt: skip
    train, test = (
        make(torch.from_numpy(images[part]).float(), torch.from_numpy(poses[part][:, :3]).float())
        for part in (slice(None, -held), slice(-held, None))
    )
    plan = ray_plan(rays, updates, crop, train.size)
    return Source(
        "tiny_nerf", train, test, (RAY,), files=found.digests, measure="psnr", outputs=3, plan=plan,
        plot=test.drawn(), facts={"white": False},
    )  # fmt: skip


def _arrays(path: Path) -> tuple[NDArray[Any], NDArray[Any], float]:
    """Pictures, poses and the focal length."""
    try:
        with np.load(path) as arrays:
            images, poses, focal = (arrays[name] for name in ("images", "poses", "focal"))
    except (KeyError, ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path} does not hold arrays images, poses and focal ({error}); fetch it anew"
        ) from error
    shapes = images.shape, poses.shape, focal.shape
    numbers = all(array.dtype.kind == "f" for array in (images, poses, focal))
    if not numbers or images.ndim != 4 or poses.shape != (len(images), 4, 4) or focal.size != 1:
        raise ValueError(
            f"{path} holds images, poses and focal of shapes {shapes}, expected fractions "
            "[V, H, W, 3], [V, 4, 4] and one number; fetch it anew"
        )
    return images, poses, float(focal)
