"""N-MNIST: handwritten digits seen by a camera for events that makes three small movements."""

import functools
from pathlib import Path

import numpy as np
import torch

from spikeloom.data.atis import check_whole, read_five_bytes
from spikeloom.data.events import Bins, By, Events, Recordings, Value
from spikeloom.data.files import Remote, locate_folder
from spikeloom.data.recorded import check_count, digest, listed, recorded_source
from spikeloom.data.source import Source
from spikeloom.papers import Paper
from spikeloom.registry import register

SIDE = 34  # pixels
FOLDERS = ("nmnist", "NMNIST", "N-MNIST")
COUNTS = {"Train": 60_000, "Test": 10_000}
CLASSES = tuple("0123456789")
REMOTE = Remote(
    "https://data.mendeley.com/public-files/datasets/468j46mzdv/files/",
    {
        "Train.zip": "md5:20959b8e626244a1b502305a9e6e2031",
        "Test.zip": "md5:69ca8762b2fe404d9b9bad1103e97832",
    },
    "nmnist",
    names={
        "Train.zip": "39c25547-014b-4137-a934-9d29fa53c7a0/file_downloaded",
        "Test.zip": "05a4d654-7e03-4c15-bdfa-9bb2bcbea494/file_downloaded",
    },
)


PAPER = Paper(
    key="orchard2015converting",
    title="Converting Static Image Datasets to Spiking Neuromorphic Datasets Using Saccades",
    authors=("Garrick Orchard", "Ajinkya Jayawant", "Gregory K. Cohen", "Nitish Thakor"),
    venue="Frontiers in Neuroscience",
    form="article",
    year=2015,
    url="https://doi.org/10.3389/fnins.2015.00437",
)


@register("dataset", "nmnist", paper=PAPER)
def nmnist(
    root: Path | None = None,
    *,
    T: int,
    by: By = "time",
    value: Value = "count",
    width: float | None = None,
    side: int = SIDE,
    partial: bool = False,
    download: bool = False,
) -> Source:
    """N-MNIST: events of handwritten digits, 60,000 + 10,000 recordings of 0.3 s.

    Sequences of T steps with one channel for falling and one for rising brightness. What is counted
    reaches the network as it is. The order is that of MNIST, so that the last ones hold all
    classes. The record notes a digest of names and sizes, not of contents.

    Args:
        root: folder with the datasets; the variable SPIKELOOM_DATA if None.
        T: number of steps; in a run those of the model.
        by: cut each recording into equal times or into equal counts of events.
        value: what a step holds, see :class:`Bins`.
        width: length of a step [us]; what comes later than T of them is left out. None for equal
            parts of each recording.
        side: of the square in the middle that is kept, at most 34 [pixels].
        partial: take another number of recordings than the official one, too: a cut-down copy.
            Look at ``len(source.test)`` before comparing a figure.
        download: fetch the official archives, with checksums, if there is no such folder.

    Raises:
        FileNotFoundError: there are no recordings.
        ValueError: an argument out of range, a file that holds no whole events; without
            ``partial``, also if not all recordings are there.
    Source:
        Orchard, Jayawant, Cohen and Thakor (2015).
    """
    if not 1 <= side <= SIDE:
        raise ValueError(f"side must be in 1 ... {SIDE} pixels, got {side}")
    bins = Bins(T, (2, side, side), by, value, width)
    base = locate_folder(
        "nmnist", root, FOLDERS, lambda folder: all((folder / part).is_dir() for part in COUNTS),
        expected="Train/<digit>/<number>.bin and Test/...", remote=REMOTE, download=download,
    )  # fmt: skip
    train, listing = _part(base / "Train", bins, partial=partial)
    test, test_listing = _part(base / "Test", bins, partial=partial)
    files = {"Train (names and sizes)": listing, "Test (names and sizes)": test_listing}
    return recorded_source("nmnist", train, test, CLASSES, files)


def read_recording(path: Path, *, side: int = SIDE) -> Events:
    """The events of a file whose places lie in a square in the middle of the camera.

    Raises:
        ValueError: the file is cut off, or has events where no pixel is.
    """
    events = read_five_bytes(path, SIDE, SIDE)
    p, y, x = events.place
    margin = (SIDE - side) // 2
    x, y = x - margin, y - margin
    kept = (np.minimum(x, y) >= 0) & (np.maximum(x, y) < side)
    return Events(events.time[kept], (p[kept], y[kept], x[kept]))


def _part(base: Path, bins: Bins, *, partial: bool) -> tuple[Recordings[Path], str]:
    found = [path for name in CLASSES for path in base.glob(f"{name}/*.bin")]
    paths = sorted(found, key=lambda path: (path.stem, path.parent.name))
    if not paths:
        raise FileNotFoundError(f"{base} holds no recordings; expected {base}/<digit>/<number>.bin")
    check_count(base, len(paths), COUNTS[base.name], partial=partial)
    check_whole(paths)
    listing, state = listed(paths, base)
    labels = torch.tensor([int(path.parent.name) for path in paths])
    side = bins.shape[-1]
    read = functools.partial(read_recording, side=side)
    return Recordings(paths, labels, read, bins, digest("nmnist", state, side)), listing
