"""What data sets of recorded events have in common: the source they make, and their digests."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from spikeloom.data.events import Events, Recordings
from spikeloom.data.source import Source


def recorded_source(
    name: str,
    train: Recordings[Any],
    test: Recordings[Any],
    class_names: tuple[str, ...],
    files: dict[str, str],
) -> Source:
    """A data set of recordings, whose steps reach the network as they are.

    Counts are bytes, which a run scales as pixels: mean 0 and standard deviation 1/255 undo that.
    Floats are not scaled, so they need neither.
    """
    shape, counts = train.bins.step, train.bins.dtype == torch.uint8
    mean, std = ((0.0,) * shape[0], (1 / 255,) * shape[0]) if counts else ((), ())
    return Source(name, train, test, shape, class_names, mean, std, files)


def listed(paths: Sequence[Path], base: Path) -> tuple[str, str]:
    """Digests of many files that are not read: of names and sizes, and of when they changed, too.

    The first is the same wherever the files lie, and is for records. The second is a way to tell
    that a file is not the one of yesterday, and is for what is kept on disk.
    """
    sizes, states = hashlib.sha256(), hashlib.sha256()
    for path in paths:
        about, name = path.stat(), path.relative_to(base).as_posix()
        sizes.update(f"{name} {about.st_size}\n".encode())
        states.update(f"{name} {about.st_size} {about.st_mtime_ns}\n".encode())
    return sizes.hexdigest(), states.hexdigest()


def digest(*parts: object) -> str:
    """One digest of several things, by their representations as text."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def check_count(where: Path, found: int, official: int, *, partial: bool) -> None:
    """Refuse another number of recordings than the official one, unless that is on purpose.

    Raises:
        ValueError: the numbers differ, and ``partial`` is false; or there are none at all.
    """
    if not found or (found != official and not partial):
        raise ValueError(
            f"{where} holds {found:,} recordings, the official set {official:,}: unpack it anew; "
            "or, if it is a cut-down copy on purpose, say partial = true under [data] "
            "(data.partial=true)"
        )


def mixed(count: int) -> list[int]:
    """A fixed order that mixes classes, so that a validation split cut off the end has them all."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(0)).tolist()


def coarser(events: Events, side: int) -> Events:
    """Events of a camera whose pixels are joined in squares of so many a side."""
    *rest, y, x = events.place
    return Events(events.time, (*rest, y // side, x // side))
