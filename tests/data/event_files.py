"""Small recordings, byte for byte in the layouts of the data sets."""

import struct
import wave
from pathlib import Path

import h5py
import numpy as np

KEYS = ("zero", "one", "fünf")
GESTURE_HEADER = (
    b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: DVS128\r\n"
    b"#Start-Time: 2016-06-02 11:03:31 (TZ+0200)\r\n#!END-HEADER\r\n"
)
AEDAT2_HEADER = b"#!AER-DAT2.0\r\n# This is a raw AE data file\r\n# created by hand\r\n"


def write_spikes(path: Path, recordings: list, labels: list[int], keys=KEYS) -> None:
    """The layout of ``shd_train.h5``: (times in seconds, units) of each recording."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        spikes, count = file.create_group("spikes"), len(recordings)
        times = spikes.create_dataset("times", (count,), dtype=h5py.vlen_dtype(np.float16))
        units = spikes.create_dataset("units", (count,), dtype=h5py.vlen_dtype(np.uint16))
        for at, (time, unit) in enumerate(recordings):
            times[at], units[at] = np.float16(time), np.uint16(unit)
        file["labels"] = np.array(labels, np.uint16)
        file["extra/keys"] = np.array([key.encode() for key in keys])


def aedat2_bytes(*events: tuple[int, int, int, int]) -> bytes:
    """Big-endian address and time of (bits 8 to 14, bits 1 to 7, bit 0, time)."""
    words = [((high << 8) | (low << 1) | bit, time) for high, low, bit, time in events]
    return b"".join(struct.pack(">II", *pair) for pair in words)


def packet(*events: tuple[int, int, int, int], kind: int = 1, overflow: int = 0) -> bytes:
    """A packet of AEDAT 3.1 with (x, y, polarity, time), all valid."""
    head = struct.pack("<hhiiiiii", kind, 1, 8, 4, overflow, len(events), len(events), len(events))
    words = [((x << 17) | (y << 2) | (p << 1) | 1, time) for x, y, p, time in events]
    return head + b"".join(struct.pack("<Ii", *pair) for pair in words)


def write_gestures(folder: Path, trials: dict[str, dict[str, tuple[bytes, str]]]) -> None:
    """Lists of trials to train and to test, their packets, and rows of their tables."""
    folder.mkdir(parents=True, exist_ok=True)
    for part, files in trials.items():
        (folder / f"trials_to_{part}.txt").write_text("".join(f"{n}.aedat\n" for n in files) + "\n")
        for name, (packets, rows) in files.items():
            (folder / f"{name}.aedat").write_bytes(GESTURE_HEADER + packets)
            table = "class,startTime_usec,endTime_usec\n" + rows
            (folder / f"{name}_labels.csv").write_text(table)


def write_wav(path: Path, sound: np.ndarray, *, rate: int = 8000, width: int = 2) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(np.round(sound * 32767).astype("<i2").tobytes())


def tone(hertz: float, seconds: float, rate: int = 8000) -> np.ndarray:
    """A sine that swells and fades."""
    t = np.arange(round(seconds * rate)) / rate
    return np.sin(2 * np.pi * hertz * t) * np.sin(np.pi * t / seconds) ** 2
