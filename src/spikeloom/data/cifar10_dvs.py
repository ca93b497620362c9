"""CIFAR10-DVS: pictures of CIFAR-10 that move on a screen before a camera for events."""

import functools
import re
from pathlib import Path

import torch

from spikeloom.data.aedat import SIDE, read_aedat2
from spikeloom.data.events import Bins, By, Events, Recordings, Value
from spikeloom.data.files import Remote, locate_folder
from spikeloom.data.recorded import check_count, coarser, digest, listed, recorded_source
from spikeloom.data.source import Source
from spikeloom.papers import Paper
from spikeloom.registry import register

FOLDERS = ("cifar10_dvs", "CIFAR10-DVS", "CIFAR10DVS", "cifar10-dvs")
CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
COUNT, HELD = 10_000, 100  # recordings; those of each class that test
NAME = re.compile(r"cifar10_[a-z]+_(\d+)\.aedat")
REMOTE = Remote(
    "https://ndownloader.figshare.com/files/",
    {
        "airplane.zip": "md5:0afd5c4bf9ae06af762a77b180354fdd",
        "automobile.zip": "md5:8438dfeba3bc970c94962d995b1b9bdd",
        "bird.zip": "md5:a9c207c91c55b9dc2002dc21c684d785",
        "cat.zip": "md5:52c63c677c2b15fa5146a8daf4d56687",
        "deer.zip": "md5:b6bf21f6c04d21ba4e23fc3e36c8a4a3",
        "dog.zip": "md5:f379ebdf6703d16e0a690782e62639c3",
        "frog.zip": "md5:cad6ed91214b1c7388a5f6ee56d08803",
        "horse.zip": "md5:e7cbbf77bec584ffbf913f00e682782a",
        "ship.zip": "md5:41c7bd7d6b251be82557c6cce9a7d5c9",
        "truck.zip": "md5:89f3922fd147d9aeff89e76a2b0b70a7",
    },
    "cifar10_dvs",
    names={
        "airplane.zip": "7712788", "automobile.zip": "7712791", "bird.zip": "7712794",
        "cat.zip": "7712812", "deer.zip": "7712815", "dog.zip": "7712818", "frog.zip": "7712842",
        "horse.zip": "7712851", "ship.zip": "7712836", "truck.zip": "7712839",
    },
)  # fmt: skip


@register(
    "dataset",
    "cifar10_dvs",
    paper=Paper(
        key="li2017cifar10",
        title="CIFAR10-DVS: An Event-Stream Dataset for Object Classification",
        authors=("Hongmin Li", "Hanchao Liu", "Xiangyang Ji", "Guoqi Li", "Luping Shi"),
        venue="Frontiers in Neuroscience",
        form="article",
        year=2017,
        url="https://doi.org/10.3389/fnins.2017.00309",
    ),
)
def cifar10_dvs(
    root: Path | None = None,
    *,
    T: int,
    by: By = "time",
    value: Value = "count",
    width: float | None = None,
    joined: int = 1,
    partial: bool = False,
    download: bool = False,
) -> Source:
    """CIFAR10-DVS: 10,000 recordings of 1.3 s, 1,000 a class.

    There is no official split. Here the files 0 to 99 of each class test and the others train, as
    in the code of TEBN and of many since; a random tenth, which others take, is easier or harder,
    so figures of the two do not compare.

    Args:
        root: folder with the datasets; the variable SPIKELOOM_DATA if None.
        T: number of steps; in a run those of the model.
        by: cut each recording into equal times or into equal counts of events.
        value: what a step holds, see :class:`Bins`.
        width: length of a step [us]; what comes later than T of them is left out. None for equal
            parts of each recording.
        joined: pixels a side that become one, a divisor of 128.
        partial: take another number of recordings than the official one, too.
        download: fetch the official archives, with checksums, if there is no such folder.

    Raises:
        FileNotFoundError: a class has no recordings.
        ValueError: an argument out of range; without ``partial``, not all recordings are there.
    """
    if joined < 1 or SIDE % joined:
        raise ValueError(f"joined must divide {SIDE} pixels, got {joined}")
    bins = Bins(T, (2, SIDE // joined, SIDE // joined), by, value, width)
    base = locate_folder(
        "cifar10_dvs", root, FOLDERS, lambda folder: all((folder / c).is_dir() for c in CLASSES),
        expected=f"folders of all classes, as {CLASSES[0]}/cifar10_{CLASSES[0]}_0.aedat,",
        remote=REMOTE, download=download,
    )  # fmt: skip
    found = sorted(
        (int(hit[1]), label, path)
        for label, name in enumerate(CLASSES)
        for path in (base / name).glob("*.aedat")
        if (hit := NAME.fullmatch(path.name))
    )
    check_count(base, len(found), COUNT, partial=partial)
    test = [each for each in found if each[0] < HELD]
    train = [each for each in found if each[0] >= HELD]
    parts, files = [], {}
    for name, part in (("train", train), ("test", test)):
        if not part:
            raise FileNotFoundError(
                f"{base} has no recordings to {name} with; files 0 to {HELD - 1} of a class test, "
                "the others train"
            )
        paths = [path for _, _, path in part]
        listing, state = listed(paths, base)
        files[f"{name} (names and sizes)"] = listing
        labels = torch.tensor([label for _, label, _ in part])
        read = functools.partial(read_recording, joined=joined)
        parts.append(Recordings(paths, labels, read, bins, digest("cifar10_dvs", state, joined)))
    return recorded_source("cifar10_dvs", parts[0], parts[1], CLASSES, files)


def read_recording(path: Path, *, joined: int = 1) -> Events:
    """The events of a file.

    Raises:
        ValueError: it is damaged.
    """
    return coarser(read_aedat2(path), joined)
