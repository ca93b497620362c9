"""Spoken words as spikes of 700 units, in one HDF5 file a part: SHD, SSC and sets made like them.

A file holds ``spikes/times`` (seconds) and ``spikes/units``, a row of each for every recording,
``labels``, and the names of the classes in ``extra/keys``.
"""

import functools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from spikeloom.data.events import Bins, Events, Recordings, Value
from spikeloom.data.files import Layout, Remote, locate
from spikeloom.data.recorded import check_count, digest, recorded_source
from spikeloom.data.source import Source
from spikeloom.papers import Paper
from spikeloom.registry import register

UNITS = 700
PARTS = ("train", "valid", "test")
Units = Literal["stored", "flipped"]
PAPER = Paper(
    key="cramer2022heidelberg",
    title="The Heidelberg Spiking Data Sets for the Systematic Evaluation of Spiking Neural "
    "Networks",
    authors=("Benjamin Cramer", "Yannik Stradmann", "Johannes Schemmel", "Friedemann Zenke"),
    venue="IEEE Transactions on Neural Networks and Learning Systems",
    form="article",
    year=2022,
    url="https://doi.org/10.1109/TNNLS.2020.3044364",
)


@dataclass(frozen=True)
class SpikeSet:
    """What sets one of them apart.

    Args:
        name: the registered name, with which the files' names begin.
        folders: where the files may be.
        counts: recordings of each official part; without them any number will do.
        md5: of the official archives, where they can be fetched.
    """

    name: str
    folders: tuple[str, ...]
    parts: tuple[str, ...]
    counts: Mapping[str, int]
    md5: Mapping[str, str]

    @property
    def layout(self) -> Layout:
        """Where the files lie."""
        return Layout(self.folders, tuple(f"{self.name}_{part}.h5" for part in self.parts))

    @property
    def remote(self) -> Remote | None:
        """Where they can be fetched."""
        hashes = {f"{self.name}_{part}.h5.zip": f"md5:{md5}" for part, md5 in self.md5.items()}
        return Remote("https://zenkelab.org/datasets/", hashes, self.name) if hashes else None


SHD = SpikeSet(
    "shd",
    ("shd", "SHD", "hdspikes", "."),
    ("train", "test"),
    {"train": 8_156, "test": 2_264},
    {"train": "f3252aeb598ac776c1b526422d90eecb", "test": "1503a5064faa34311c398fb0a1ed0a6f"},
)
SSC = SpikeSet(
    "ssc",
    ("ssc", "SSC", "hdspikes", "."),
    PARTS,
    {"train": 75_466, "valid": 9_981, "test": 20_382},
    {
        "train": "d102be95e7144fcc0553d1f45ba94170",
        "valid": "b4eee3516a4a90dd0c71a6ac23a8ae43",
        "test": "a35ff1e9cffdd02a20eb850c17c37748",
    },
)
FSDD_SPIKES = SpikeSet("fsdd_spikes", ("fsdd_spikes", "."), ("train", "test"), {}, {})


@dataclass(frozen=True)
class Row:
    """One recording of a file."""

    path: Path
    number: int

    def __str__(self) -> str:
        return f"{self.path}, recording {self.number}"


@register("dataset", "shd", paper=PAPER)
def shd(
    root: Path | None = None,
    *,
    T: int,
    duration: float = 1.0,
    value: Value = "binary",
    units: Units = "stored",
    partial: bool = False,
    download: bool = False,
) -> Source:
    """Spiking Heidelberg digits: 20 spoken digits, 8,156 + 2,264. See :func:`load_spikes`."""
    bins = _bins(T, duration, value)
    return load_spikes(SHD, root, bins, units=units, partial=partial, download=download)


@register("dataset", "ssc", paper=PAPER)
def ssc(
    root: Path | None = None,
    *,
    T: int,
    duration: float = 1.0,
    value: Value = "binary",
    units: Units = "stored",
    partial: bool = False,
    download: bool = False,
) -> Source:
    """Spiking speech commands: 35 words, 75,466 + 9,981 + 20,382. See :func:`load_spikes`.

    The official validation part is the end of the training samples: with ``data.val = 9_981`` it
    is what a run validates on.
    """
    bins = _bins(T, duration, value)
    return load_spikes(SSC, root, bins, units=units, partial=partial, download=download)


@register("dataset", "fsdd_spikes")
def fsdd_spikes(
    root: Path | None = None,
    *,
    T: int,
    duration: float = 1.0,
    value: Value = "binary",
    units: Units = "stored",
) -> Source:
    """Free spoken digits as spikes, in files like those of SHD. See :func:`load_spikes`.

    Made from recordings of ``fsdd`` by a bank of filters and neurons; figures do not compare with
    those of SHD, which is larger and harder.
    """
    return load_spikes(FSDD_SPIKES, root, _bins(T, duration, value), units=units)


def load_spikes(
    spec: SpikeSet,
    root: Path | None,
    bins: Bins,
    *,
    units: Units = "stored",
    partial: bool = False,
    download: bool = False,
) -> Source:
    """Read one of these sets, of which the first ``duration`` seconds are kept, in T equal steps.

    Args:
        root: folder with the datasets; the variable SPIKELOOM_DATA if None.
        bins: how spikes become steps.
        units: as ``stored``; or ``flipped``, where unit u is at place 700 - u and unit 0 is left
            out, as in the authors' code of HetSyn.
        partial: take other numbers of recordings than the official ones, too.
        download: fetch the official files, with checksums, if they are not there.

    Raises:
        FileNotFoundError: files are missing.
        ValueError: an argument out of range, h5py is not installed, a file is damaged, or, without
            ``partial``, of another number of recordings.
    """
    if units not in ("stored", "flipped"):
        raise ValueError(f"units is {units!r}; use 'stored' or 'flipped'")
    found = locate(spec.name, root, [spec.layout], spec.remote, download=download)
    names: list[tuple[str, ...]] = []
    parts: dict[str, tuple[list[Row], list[int]]] = {"train": ([], []), "test": ([], [])}
    for part, file in zip(spec.parts, spec.layout.files, strict=True):
        path = found.unread(file)
        labels, keys = _about(path)
        check_count(path, len(labels), spec.counts.get(part, len(labels)), partial=partial)
        rows, classes = parts["test" if part == "test" else "train"]
        rows += [Row(path, number) for number in range(len(labels))]
        classes += labels
        names.append(keys)
    if len(set(names)) > 1:
        raise ValueError(f"{spec.name}: the files name different classes: are they of one set?")
    read = functools.partial(read_row, units=units)
    known = digest(spec.name, sorted(found.digests.items()), units)
    train, test = (
        Recordings(rows, torch.tensor(labels), read, bins, digest(known, part))
        for part, (rows, labels) in parts.items()
    )
    return recorded_source(spec.name, train, test, names[0], found.digests)


def read_row(place: Row, *, units: Units = "stored") -> Events:
    """The spikes of one recording, in seconds.

    Raises:
        ValueError: the file is damaged.
    """
    with _opened(place.path) as file:
        time = np.asarray(file["spikes/times"][place.number], np.float64)
        unit = np.asarray(file["spikes/units"][place.number], np.int64)
    if units == "flipped":
        time, unit = time[unit > 0], UNITS - unit[unit > 0]
    return Events(time, (unit, np.zeros_like(unit), np.zeros_like(unit)))


def _bins(T: int, duration: float, value: Value) -> Bins:
    if not (duration > 0 and T >= 1):
        raise ValueError(f"duration must be > 0 s and T >= 1, got {duration} and {T}")
    return Bins(T, (UNITS, 1, 1), value=value, width=duration / T)


def _about(path: Path) -> tuple[list[int], tuple[str, ...]]:
    """Labels and class names of a file."""
    with _opened(path) as file:
        labels = np.asarray(file["labels"], np.int64)
        keys = [bytes(key).decode("utf-8", "replace") for key in file["extra/keys"]]
        lengths = {len(labels), len(file["spikes/times"]), len(file["spikes/units"])}
    if len(lengths) > 1 or not len(labels):
        raise ValueError(
            f"{path} has {len(labels)} labels for {max(lengths)} recordings; it is damaged, unpack "
            "it anew"
        )
    if labels.min() < 0 or labels.max() >= len(keys):
        raise ValueError(
            f"{path} has labels {labels.min()} to {labels.max()} and names for {len(keys)} "
            "classes; it is damaged, unpack it anew"
        )
    return labels.tolist(), tuple(keys)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """An HDF5 file; opened anew for each recording, so that processes may share the data set."""
    try:
        import h5py
    except ImportError as error:
        raise ValueError(
            f"reading {path.name} takes h5py ({error}); get it with: pip install 'spikeloom[h5py]'"
        ) from error
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, KeyError) as error:
        raise ValueError(
            f"{path} is not such a file of spikes, or is cut off ({error}); unpack it anew"
        ) from error
