"""N-Caltech101: pictures of Caltech 101 seen by a camera that makes three small movements."""

import functools
from pathlib import Path

import torch

from spikeloom.data.atis import check_whole, read_five_bytes
from spikeloom.data.events import Bins, By, Events, Recordings, Value
from spikeloom.data.files import locate_folder
from spikeloom.data.nmnist import PAPER
from spikeloom.data.recorded import check_count, coarser, digest, listed, mixed, recorded_source
from spikeloom.data.source import Source
from spikeloom.registry import register

HEIGHT, WIDTH = 180, 240  # pixels, of the largest recordings
FOLDERS = ("Caltech101", "ncaltech101", "N-Caltech101", "ncaltech101/Caltech101")
COUNT, CLASSES, EACH = 8_709, 101, 5  # recordings, classes, and how many of them for one to test


@register("dataset", "ncaltech101", paper=PAPER)
def ncaltech101(
    root: Path | None = None,
    *,
    T: int,
    by: By = "time",
    value: Value = "count",
    width: float | None = None,
    joined: int = 1,
    partial: bool = False,
) -> Source:
    """N-Caltech101: 8,709 recordings of 0.3 s, of 100 kinds of things and a background.

    Pictures have many sizes; each lies in the upper left corner of 180 x 240 pixels. There is no
    official split: here every fifth recording of a class, by number, tests.

    Args:
        root: folder with the datasets; the variable SPIKELOOM_DATA if None.
        T: number of steps; in a run those of the model.
        by: cut each recording into equal times or into equal counts of events.
        value: what a step holds, see :class:`Bins`.
        width: length of a step [us]; what comes later than T of them is left out. None for equal
            parts of each recording.
        joined: pixels a side that become one, a divisor of 60.
        partial: take other classes and another number of recordings than the official ones, too.

    Raises:
        FileNotFoundError: there are no recordings.
        ValueError: an argument out of range, a file that holds no whole events; without
            ``partial``, also if not all recordings are there.
    """
    if joined < 1 or HEIGHT % joined or WIDTH % joined:
        raise ValueError(f"joined must divide {HEIGHT} and {WIDTH} pixels, got {joined}")
    bins = Bins(T, (2, HEIGHT // joined, WIDTH // joined), by, value, width)
    base = locate_folder(
        "ncaltech101", root, FOLDERS,
        lambda folder: any(folder.glob("*/*.bin")),
        expected="<class>/image_<number>.bin",
        by_hand="Caltech101.zip from garrickorchard.com/datasets/n-caltech101",
    )  # fmt: skip
    names = tuple(sorted(path.name for path in base.iterdir() if any(path.glob("*.bin"))))
    found = [(sorted((base / name).glob("*.bin")), label) for label, name in enumerate(names)]
    check_count(base, sum(len(paths) for paths, _ in found), COUNT, partial=partial)
    parts, files = [], {}
    for part in ("train", "test"):
        chosen = [
            (path, label)
            for paths, label in found
            for number, path in enumerate(paths)
            if (number % EACH == 0) == (part == "test")
        ]
        if not chosen:
            raise FileNotFoundError(f"{base} has too few recordings to {part} with")
        paths, labels = zip(*(chosen[at] for at in mixed(len(chosen))), strict=True)
        check_whole(paths)
        listing, state = listed(paths, base)
        files[f"{part} (names and sizes)"] = listing
        read = functools.partial(read_recording, joined=joined)
        known = digest("ncaltech101", state, joined)
        parts.append(Recordings(paths, torch.tensor(labels), read, bins, known))
    return recorded_source("ncaltech101", parts[0], parts[1], names, files)


def read_recording(path: Path, *, joined: int = 1) -> Events:
    """The events of a file.

    Raises:
        ValueError: it is damaged.
    """
    return coarser(read_five_bytes(path, HEIGHT, WIDTH), joined)
