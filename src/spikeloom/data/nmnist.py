"""N-MNIST: handwritten digits seen by a camera for events that makes three small movements.

A file is one recording, an event five bytes: x, y, then polarity in the highest of 24 bits and the
time [us] in the others, big-endian. Where the camera's own clock ran over there is a marker in
place of an event, which pushes all later times on.
"""

import functools
import hashlib
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from spikeloom.data.events import Bins, Events, Recordings
from spikeloom.data.files import Remote, data_root
from spikeloom.data.source import Source
from spikeloom.papers import Paper
from spikeloom.registry import register

SIDE = 34  # pixels
FOLDERS = ("nmnist", "NMNIST", "N-MNIST")
COUNTS = {"Train": 60_000, "Test": 10_000}
CLASSES = tuple("0123456789")
MARKER, RUN_OVER = 240, 2**13  # a y that no pixel has, and the time [us] that it stands for
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


@register(
    "dataset",
    "nmnist",
    paper=Paper(
        key="orchard2015converting",
        title="Converting Static Image Datasets to Spiking Neuromorphic Datasets Using Saccades",
        authors=("Garrick Orchard", "Ajinkya Jayawant", "Gregory K. Cohen", "Nitish Thakor"),
        venue="Frontiers in Neuroscience",
        form="article",
        year=2015,
        url="https://doi.org/10.3389/fnins.2015.00437",
    ),
)
def nmnist(
    root: Path | None = None,
    *,
    T: int,
    by: Literal["time", "count"] = "time",
    value: Literal["count", "binary"] = "count",
    width: float | None = None,
    side: int = SIDE,
    partial: bool = False,
    download: bool = False,
) -> Source:
    """N-MNIST: events of handwritten digits, 60,000 + 10,000 recordings of 0.3 s.

    Sequences of T steps with one channel for falling and one for rising brightness. What is counted
    reaches the network as it is: mean 0 and standard deviation 1/255 undo the scaling of pixels.
    The order is that of MNIST, so that the last ones hold all classes. The record notes a digest of
    names and sizes, not of contents.

    Args:
        root: folder with the datasets; the variable SPIKELOOM_DATA if None.
        T: number of steps; in a run those of the model.
        by: cut each recording into equal times or into equal counts of events.
        value: the ``count`` of events in a step, or ``binary``: whether there was any.
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
    base = _base(data_root(root), download=download)
    train, digest = _part(base / "Train", bins, whole=not partial)
    test, test_digest = _part(base / "Test", bins, whole=not partial)
    files = {"Train (names and sizes)": digest, "Test (names and sizes)": test_digest}
    return Source(
        "nmnist", train, test, (2, side, side), CLASSES, (0.0, 0.0), (1 / 255, 1 / 255), files
    )


def read_recording(path: Path, *, side: int = SIDE) -> Events:
    """The events of a file whose places lie in a square in the middle of the camera.

    Raises:
        ValueError: the file is cut off, or has events where no pixel is.
    """
    raw = np.frombuffer(path.read_bytes(), np.uint8)
    if not len(raw) or len(raw) % 5:
        raise ValueError(f"{len(raw)} bytes, which is not a whole number of 5-byte events")
    x, y, *rest = raw.reshape(-1, 5).T.astype(np.int64)
    time = ((rest[0] & 127) << 16) + (rest[1] << 8) + rest[2]
    marker = y == MARKER
    time += RUN_OVER * np.cumsum(marker)
    if (np.maximum(x, y)[~marker] >= SIDE).any():
        raise ValueError(f"events beyond {SIDE} x {SIDE} pixels: damaged, or of another camera")
    margin = (SIDE - side) // 2
    x, y = x - margin, y - margin
    kept = ~marker & (np.minimum(x, y) >= 0) & (np.maximum(x, y) < side)
    return Events(time[kept], ((rest[0] >> 7)[kept], y[kept], x[kept]))


def _base(root: Path, *, download: bool) -> Path:
    """The folder that holds Train and Test."""

    def found() -> Path | None:
        bases = (root / name for name in FOLDERS)
        return next((base for base in bases if all((base / p).is_dir() for p in COUNTS)), None)

    if found() is None and download:
        from spikeloom.data.download import fetch

        fetch(REMOTE, root, whole=lambda: found() is not None)
    if (base := found()) is None:
        raise FileNotFoundError(
            f"nmnist is not under {root}. Looked for Train/<digit>/<number>.bin and Test/... in "
            f"{', '.join(FOLDERS)}. Put the files there, give another root, or let "
            "download = true fetch them."
        )
    return base


def _part(base: Path, bins: Bins, *, whole: bool) -> tuple[Recordings[Path], str]:
    found = [path for name in CLASSES for path in base.glob(f"{name}/*.bin")]
    paths = sorted(found, key=lambda path: (path.stem, path.parent.name))
    if not paths:
        raise FileNotFoundError(f"{base} holds no recordings; expected {base}/<digit>/<number>.bin")
    if whole and len(paths) != COUNTS[base.name]:
        raise ValueError(
            f"{base} holds {len(paths):,} recordings, the official set {COUNTS[base.name]:,}: "
            "unpack it anew; or, if it is a cut-down copy on purpose, say partial = true under "
            "[data] (data.partial=true)"
        )
    digest = hashlib.sha256()
    for path in paths:
        size = path.stat().st_size
        if not size or size % 5:
            raise ValueError(
                f"{path} has {size} bytes, which is not a whole number of 5-byte events; it is cut "
                "off, unpack it anew"
            )
        digest.update(f"{path.parent.name}/{path.name} {size}\n".encode())
    labels = torch.tensor([int(path.parent.name) for path in paths])
    read = functools.partial(read_recording, side=bins.shape[-1])
    return Recordings(paths, labels, read, bins), digest.hexdigest()
