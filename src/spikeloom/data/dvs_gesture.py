"""DVS128 Gesture: people who wave, clap and play air guitar before a camera for events."""

import csv
import functools
from dataclasses import dataclass
from pathlib import Path

import torch

from spikeloom.data.aedat import SIDE, read_aedat3
from spikeloom.data.events import Bins, By, Events, Recordings, Value
from spikeloom.data.files import locate_folder
from spikeloom.data.recorded import check_count, coarser, digest, listed, recorded_source
from spikeloom.data.source import Source
from spikeloom.papers import Paper
from spikeloom.registry import register

FOLDERS = ("DvsGesture", "dvs_gesture", "DVSGesture", "DVS128Gesture")
LISTS = {"train": "trials_to_train.txt", "test": "trials_to_test.txt"}
COUNTS = {"train": 1_176, "test": 288}
COLUMNS = ("class", "startTime_usec", "endTime_usec")
CLASSES = (
    "hand clapping", "right hand wave", "left hand wave", "right arm clockwise",
    "right arm counter clockwise", "left arm clockwise", "left arm counter clockwise",
    "arm roll", "air drums", "air guitar", "other gestures",
)  # fmt: skip


@dataclass(frozen=True)
class Gesture:
    """A stretch of a recording, in microseconds of the camera's clock."""

    path: Path
    start: int
    end: int

    def __str__(self) -> str:
        return f"{self.path}, {self.start / 1e6:.2f} to {self.end / 1e6:.2f} s"


@register(
    "dataset",
    "dvs_gesture",
    paper=Paper(
        key="amir2017low",
        title="A Low Power, Fully Event-Based Gesture Recognition System",
        authors=(
            "Arnon Amir", "Brian Taba", "David Berg", "Timothy Melano", "Jeffrey McKinstry",
            "Carmelo Di Nolfo", "Tapan Nayak", "Alexander Andreopoulos", "Guillaume Garreau",
            "Marcela Mendoza", "Jeff Kusnitz", "Michael Debole", "Steve Esser", "Tobi Delbruck",
            "Myron Flickner", "Dharmendra Modha",
        ),
        venue="CVPR",
        year=2017,
        url="https://openaccess.thecvf.com/content_cvpr_2017/html/"
        "Amir_A_Low_Power_CVPR_2017_paper.html",
    ),
)  # fmt: skip
def dvs_gesture(
    root: Path | None = None,
    *,
    T: int,
    by: By = "time",
    value: Value = "count",
    width: float | None = None,
    joined: int = 1,
    partial: bool = False,
) -> Source:
    """DVS128 Gesture: 11 gestures of 29 people, 1,176 + 288 of some 6 s.

    A recording is a stretch of a longer one, as the tables beside these say. The official lists
    decide who trains and who is tested; the people at the end of the training list come last.

    Args:
        root: folder with the datasets; the variable SPIKELOOM_DATA if None.
        T: number of steps; in a run those of the model.
        by: cut each gesture into equal times or into equal counts of events.
        value: what a step holds, see :class:`Bins`.
        width: length of a step [us]; what comes later than T of them is left out. None for equal
            parts of each gesture.
        joined: pixels a side that become one, a divisor of 128.
        partial: take what is there of the files that the official lists name.

    Raises:
        FileNotFoundError: a list is missing, or, without ``partial``, a file that it names.
        ValueError: an argument out of range, a damaged table; without ``partial``, another number
            of gestures.
    """
    if joined < 1 or SIDE % joined:
        raise ValueError(f"joined must divide {SIDE} pixels, got {joined}")
    bins = Bins(T, (2, SIDE // joined, SIDE // joined), by, value, width)
    base = locate_folder(
        "dvs_gesture", root, FOLDERS,
        lambda folder: all((folder / each).is_file() for each in LISTS.values()),
        expected=" and ".join(LISTS.values()),
        by_hand="DvsGesture.tar.gz from research.ibm.com/dvsgesture",
    )  # fmt: skip
    read = functools.partial(read_gesture, joined=joined)
    parts, files = {}, {}
    for part, name in LISTS.items():
        trials = _trials(base / name, partial=partial)
        found = [row for trial in trials for row in _labelled(trial)]
        check_count(base / name, len(found), COUNTS[part], partial=partial)
        listing, state = listed(trials, base)
        files[f"{name} (names and sizes)"] = listing
        labels = torch.tensor([label for _, label in found])
        places = [place for place, _ in found]
        stretches = [(place.start, place.end) for place in places]
        known = digest("dvs_gesture", state, stretches, joined)
        parts[part] = Recordings(places, labels, read, bins, known)
    return recorded_source("dvs_gesture", parts["train"], parts["test"], CLASSES, files)


def read_gesture(place: Gesture, *, joined: int = 1) -> Events:
    """The events of one gesture, its beginning being time 0.

    Raises:
        ValueError: the file is damaged.
    """
    return coarser(read_aedat3(place.path, place.start, place.end), joined)


def _trials(path: Path, *, partial: bool) -> list[Path]:
    """The recordings that a list names, each with a table beside it."""
    names = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    trials = [path.parent / name for name in names if name]
    wanted = [file for trial in trials for file in (trial, _table(trial))]
    missing = {file for file in wanted if not file.is_file()}
    if missing and not partial:
        raise FileNotFoundError(
            f"{path} names {len(trials)} recordings; {len(missing)} files are not there, as "
            f"{min(missing)}: unpack them, or take what there is with partial = true under [data] "
            "(data.partial=true)"
        )
    return [trial for trial in trials if not {trial, _table(trial)} & missing]


def _table(trial: Path) -> Path:
    return trial.with_name(f"{trial.stem}_labels.csv")


def _labelled(trial: Path) -> list[tuple[Gesture, int]]:
    """The gestures of a recording, and their classes from 0 on."""
    path, found = _table(trial), []
    with path.open(newline="", encoding="utf-8") as file:
        for number, row in enumerate(csv.DictReader(file), start=2):
            try:
                label, start, end = (int(row[column]) for column in COLUMNS)
            except (KeyError, TypeError, ValueError) as error:
                raise ValueError(
                    f"{path}, line {number}: expected whole numbers for {', '.join(COLUMNS)}, got "
                    f"{list(row.values())}; unpack it anew"
                ) from error
            if not 1 <= label <= len(CLASSES) or not 0 <= start < end:
                raise ValueError(
                    f"{path}, line {number}: class {label} from {start} to {end}; expected a class "
                    f"of 1 to {len(CLASSES)} and a time that goes forwards; unpack it anew"
                )
            found.append((Gesture(trial, start, end), label - 1))
    return found
