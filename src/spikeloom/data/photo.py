"""One photograph as a function: from the place of a pixel to its colour."""

import hashlib
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from spikeloom.data.files import data_root
from spikeloom.data.source import Plot, Source, TensorNumbers
from spikeloom.registry import register

FOLDER = "photos"


@register("dataset", "photo")
def photo(
    root: Path | None = None,
    *,
    file: str = "astronaut.png",
    side: int | None = None,
    download: bool = False,
) -> Source:
    """A picture as a function: (row, column) in [0, 1)² -> (red, green, blue) in [0, 1].

    Every second pixel in both directions is for training, all pixels for the test, those of the
    training included, as published; the score is the PSNR.

    Args:
        root: folder with the datasets; the variable SPIKELOOM_DATA if None. Not needed where
            ``file`` is an absolute path.
        file: of the picture; a name is looked for in the folder ``photos`` and beside it.
        side: shorter side that the picture is made smaller to, by area [pixels]; None as it is.
        download: not there: bring a picture of your own.
    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no picture, smaller than ``side`` or than 4 pixels, or to be downloaded.
    Source:
        Fang and Xu, NeurIPS 2024, image regression.
    """
    if download:
        raise ValueError("photo has nothing to download; give file = the path of a picture")
    path = _find(root, file)
    raw = path.read_bytes()
    colours = _pixels(path, side)
    H, W = colours.shape[:2]
    places = torch.cartesian_prod(torch.arange(H) / H, torch.arange(W) / W)
    every, values = places.view(H, W, 2), colours.view(-1, 3)
    learn = TensorNumbers(every[::2, ::2].reshape(-1, 2), colours[::2, ::2].reshape(-1, 3))
    return Source(
        "photo", learn, TensorNumbers(places, values), (2,), measure="psnr", outputs=3,
        files={path.name: hashlib.sha256(raw).hexdigest()}, plot=Plot(places, values, size=(H, W)),
    )  # fmt: skip


def _find(root: Path | None, file: str) -> Path:
    given = Path(file).expanduser()
    places = [given] if given.is_absolute() else [
        folder / file for base in (data_root(root),) for folder in (base / FOLDER, base)
    ]  # fmt: skip
    for path in places:
        if path.is_file():
            return path
    looked = " or ".join(map(str, places))
    raise FileNotFoundError(
        f"there is no picture {looked}; put one there, or give file = an absolute path"
    )


def _pixels(path: Path, side: int | None) -> Tensor:
    """Colours in 0..1.

    Shape:
        -> float [H, W, 3]
    """
    try:
        with Image.open(path) as picture:
            whole = picture.convert("RGB")
    except Exception as error:  # decoders raise nearly anything on damaged files
        raise ValueError(f"{path} was not decoded as a picture ({error}); repair it") from error
    short = min(whole.size)
    if short < 4 or (side is not None and not 4 <= side <= short):
        raise ValueError(
            f"{path} has {whole.width} x {whole.height} pixels, and side = {side}; the shorter "
            "side must be at least 4 and at least what is asked for"
        )
    if side is not None:
        size = (round(whole.width * side / short), round(whole.height * side / short))
        whole = whole.resize(size, Image.Resampling.BOX)
    return torch.from_numpy(np.array(whole)).float() / 255
