"""Recordings of five bytes an event: the encoding of N-MNIST and N-Caltech101.

x, y, then polarity in the highest of 24 bits and the time [us] in the others, big-endian. Where the
camera's own clock ran over there is a marker in place of an event, which pushes all later times on.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from spikeloom.data.events import Events

MARKER, RUN_OVER = 240, 2**13  # a y that no pixel has, and the time [us] that it stands for
CURE = "which is not a whole number of 5-byte events; it is cut off, unpack it anew"


def read_five_bytes(path: Path, height: int, width: int) -> Events:
    """The events of a file, at (polarity, y, x).

    Raises:
        ValueError: the file is cut off, or has events where no pixel is.
    """
    raw = np.frombuffer(path.read_bytes(), np.uint8)
    if not len(raw) or len(raw) % 5:
        raise ValueError(f"{len(raw)} bytes, {CURE}")
    x, y, *rest = raw.reshape(-1, 5).T.astype(np.int64)
    time = ((rest[0] & 127) << 16) + (rest[1] << 8) + rest[2]
    marker = y == MARKER
    time += RUN_OVER * np.cumsum(marker)
    event = ~marker
    if (y[event] >= height).any() or (x[event] >= width).any():
        raise ValueError(
            f"events beyond {height} x {width} pixels: damaged, or of another camera; unpack it "
            "anew"
        )
    return Events(time[event], ((rest[0] >> 7)[event], y[event], x[event]))


def check_whole(paths: Iterable[Path]) -> None:
    """Refuse files that are cut off, by their sizes, before any of them is read.

    Raises:
        ValueError: names the first one.
    """
    for path in paths:
        size = path.stat().st_size
        if not size or size % 5:
            raise ValueError(f"{path} has {size} bytes, {CURE}")
