"""One picture file to RGB pixels of one size, and a check of many before they are needed."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

TOLD = 3  # bad files that a message names
DEEP = ("I", "I;16", "I;16B", "I;16L", "I;16N")  # grey levels 0..65535 for Pillow
SIXTEEN_BIT = ("PNG", "PPM")  # formats whose mode "I" holds no more than that


def decode(path: Path, size: tuple[int, int]) -> Tensor:
    """The picture in RGB, turned as its EXIF orientation says.

    It keeps its proportions: it is scaled until it covers ``size`` and the overhang is cut off
    evenly. Levels of 16 bits are scaled to 8.

    Shape:
        size (H, W) -> uint8 [3, H, W]

    Raises:
        ValueError: Pillow cannot decode the file, or its levels have no agreed range.
    """
    try:
        with Image.open(path) as picture:
            upright = ImageOps.exif_transpose(_shallow(picture))
            fitted = ImageOps.fit(
                upright.convert("RGB"), (size[1], size[0]), Image.Resampling.BILINEAR
            )
    except Exception as error:  # decoders raise nearly anything on damaged files
        raise ValueError(
            f"{path} was not decoded as a picture ({error}); repair or remove it"
        ) from error
    return torch.from_numpy(np.array(fitted)).permute(2, 0, 1)


def check_pictures(paths: Sequence[Path], base: Path) -> None:
    """Decode every picture once and drop the pixels; several at a time.

    Raises:
        ValueError: names the first that cannot be decoded, relative to ``base``, and why.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(_objection_now, paths))
    bad = [(path, why) for path, why in zip(paths, found, strict=True) if why]
    if not bad:
        return
    told = "; ".join(f"{path.relative_to(base)} ({why})" for path, why in sorted(bad)[:TOLD])
    more = f"; and {len(bad) - TOLD} more" if len(bad) > TOLD else ""
    raise ValueError(
        f"{len(bad)} of {len(paths)} pictures under {base} cannot be decoded: {told}{more}. "
        "Repair or remove them"
    )


def _objection_now(path: Path) -> str:
    about = path.stat()
    return _objection(path, about.st_mtime_ns, about.st_size)


@cache  # a run reads its data set more than once
def _objection(path: Path, _changed: int, _size: int) -> str:
    """Why the file, as it was at that time, is no picture to us; empty if it is one."""
    try:
        with Image.open(path) as picture:
            picture.draft("RGB", (1, 1))  # JPEG: all of the file is read, few pixels are made
            _shallow(picture).load()
    except Exception as error:  # as above: decoders raise nearly anything
        return str(error).replace(str(path), path.name) or type(error).__name__
    return ""


def _shallow(picture: Image.Image) -> Image.Image:
    """Levels of 16 bits brought to 8; Pillow's own conversion cuts them off at 255."""
    if picture.mode == "F" or (picture.mode == "I" and picture.format not in SIXTEEN_BIT):
        raise ValueError(
            f"its levels are of mode {picture.mode}, which has no agreed range; save it with 8 or "
            "16 bits"
        )
    if picture.mode not in DEEP:
        return picture
    levels = np.asarray(picture).astype(np.float64) * (255 / 65535)
    shallow = Image.fromarray(levels.round().astype(np.uint8))
    shallow.info = picture.info
    shallow.getexif().update(picture.getexif())
    return shallow
