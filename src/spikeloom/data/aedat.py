"""Readers of AEDAT, the files of cameras for events: 2.0 of the DVS128, and 3.1.

2.0: lines that begin with #, then eight bytes an event, big-endian: address and time [us].
3.1: such lines up to one that ends them, then packets: a header of 28 bytes, then events of
eight bytes each, little-endian. Packets of another kind than brightness changes are passed over.
"""

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from spikeloom.data.events import Array, Events

SIDE = 128  # pixels
CURE = "it is cut off or damaged, unpack it anew"
VERSION_2, VERSION_3, END = b"#!AER-DAT2.0", b"#!AER-DAT3.1", b"#!END-HEADER\r\n"
# kind, source, size of an event, where its time is, times that the clock ran over, capacity,
# events, valid events
PACKET = struct.Struct("<hh6i")
POLARITY, EVENT, MOST_HEADER = 1, 8, 1 << 16  # a kind of packet; bytes


def read_aedat2(path: Path) -> Events:
    """The events of a DVS128 camera, at (polarity, y, x) as a picture, from the first one on.

    Bit 0 of an address is 0 where brightness rose; bits 1 to 7 and 8 to 14 count from the far
    corner. Recordings of CIFAR10-DVS stand upright if the first of these are rows.

    Raises:
        ValueError: it is no such file, is cut off, or is of another camera.
    """
    raw = path.read_bytes()
    if not raw.startswith(VERSION_2):
        raise ValueError(f"begins with {raw[:12]!r}, not with {VERSION_2!r}; {CURE}")
    start = 0
    while raw[start : start + 1] == b"#" and (line := raw.find(b"\n", start)) >= 0:
        start = line + 1
    if not (length := len(raw) - start) or length % EVENT:
        raise ValueError(f"{length} bytes after the header are not {EVENT} an event; {CURE}")
    address, time = np.frombuffer(raw, ">u4", offset=start).reshape(-1, 2).T.astype(np.int64)
    if address.max() >= SIDE * SIDE * 2:
        raise ValueError(f"addresses beyond {SIDE} x {SIDE} pixels; {CURE}")
    y, x = SIDE - 1 - ((address >> 1) & 127), SIDE - 1 - (address >> 8)
    return Events(time - time.min(), (1 - (address & 1), y, x))


def read_aedat3(path: Path, start: float, end: float) -> Events:
    """The events from ``start`` up to ``end`` [us], at (polarity, y, x), times since ``start``.

    Whether events are marked as valid is not asked, as in the read-me of DVS128 Gesture. Of one
    packet events are in order of time, so those that are too early are passed over unread.

    Raises:
        ValueError: it is no such file, is cut off before ``end``, or is of another camera.
    """
    found = [_within(words, start, end) for words in _packets(path, start, end)]
    data, time = np.concatenate([np.empty((2, 0), np.int64), *found], axis=1)
    y, x = (data >> 2) & 0x7FFF, (data >> 17) & 0x7FFF
    if len(time) and max(int(y.max()), int(x.max())) >= SIDE:
        raise ValueError(f"events beyond {SIDE} x {SIDE} pixels; {CURE}")
    return Events(time - start, ((data >> 1) & 1, y, x))


def _within(words: Array, start: float, end: float) -> Array:
    return words[:, (words[1] >= start) & (words[1] < end)]


def _packets(path: Path, start: float, end: float) -> Iterator[Array]:
    """Data and times [us] of the packets that reach into a stretch of time, [2, E] each."""
    if not path.stat().st_size:
        raise ValueError(f"an empty file; {CURE}")
    raw = np.memmap(path, np.uint8, "r")
    head = raw[:MOST_HEADER].tobytes()
    if not head.startswith(VERSION_3) or (at := head.find(END)) < 0:
        raise ValueError(
            f"begins with {head[:12]!r}; expected {VERSION_3!r}, and an end of the header: {CURE}"
        )
    at += len(END)
    while at < len(raw):
        kind, size, overflow, count = _header(raw, at)
        at, first = at + PACKET.size + count * size, at + PACKET.size
        if at > len(raw):
            raise ValueError(f"ends {at - len(raw)} bytes within a packet; {CURE}")
        if kind != POLARITY or not count:
            continue
        if size != EVENT:
            raise ValueError(f"events of {size} bytes, not of {EVENT}; {CURE}")
        words = np.frombuffer(raw, "<u4", 2 * count, first).reshape(-1, 2)
        late = overflow << 31
        if late + int(words[0, 1]) >= end:
            return
        if late + int(words[-1, 1]) >= start:
            both = words.T.astype(np.int64)
            both[1] += late
            yield both


def _header(raw: Array, at: int) -> tuple[int, int, int, int]:
    """Kind, size of an event, overflows and number of events of the packet that begins there."""
    if len(raw) - at < PACKET.size:
        raise ValueError(f"{len(raw) - at} bytes where a packet begins; {CURE}")
    kind, _, size, _, overflow, _, count, _ = PACKET.unpack(raw[at : at + PACKET.size].tobytes())
    if size < 1 or count < 0 or overflow < 0:
        raise ValueError(f"a packet of {count} events of {size} bytes; {CURE}")
    return kind, size, overflow, count
