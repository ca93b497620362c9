"""From recorded events to steps: when and where each was, how they are binned, and sets of them.

Reading files is the business of each data set: it makes :class:`Events`, whatever the sensor.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Generic, Literal, TypeVar, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[Any]
By = Literal["time", "count"]
Value = Literal["count", "binary", "voxel", "signed"]
MOST = 255  # events of one place and step that are counted
Place = TypeVar("Place")


@dataclass(frozen=True, eq=False)
class Events:
    """What a sensor for events recorded, an entry for each event.

    Args:
        time: since the recording began, in any unit; need not be in order.
        place: an index array for each axis of a step: (polarity, y, x) of a camera, (unit,) of
            spike trains.

    Shape:
        time [E], place [E] each

    Raises:
        ValueError: arrays of different lengths.
    """

    time: Array
    place: tuple[Array, ...]

    def __post_init__(self) -> None:
        lengths = {len(array) for array in (self.time, *self.place)}
        if len(lengths) != 1:
            raise ValueError(f"an event is one entry in each array, got lengths {sorted(lengths)}")


@dataclass(frozen=True)
class Bins:
    """How events become T steps, each of which says what happened at every place.

    Equal times: step = floor(T (t - t_0) / (t_last - t_0)), the last event in the last step; with a
    ``width`` step = floor(t / width), and what comes after step T is left out. Equal counts:
    step = floor(T i / E) for event i of E in order of time.

    A voxel grid shares each event between the two steps next to its time u, in steps:
    step k gets max(0, 1 - |u - k|), where u = (T - 1) (t - t_0) / (t_last - t_0), or t / width, or
    (T - 1) i / (E - 1).

    Args:
        T: number of steps, >= 1.
        shape: of one step, an axis for each part of a place.
        by: cut the recording into equal times, or into equal counts of events.
        value: what a step holds: the ``count`` of events, at most 255; ``binary``, whether there
            was any; a ``voxel`` grid; or that grid ``signed``, of which the second place on the
            first axis counts up and the first one down, as brightness rises and falls.
        width: length of a step in the unit of the events' times; None for equal parts of each
            recording, from its first event to its last.
    Shape:
        E events -> uint8 [T, *shape]; a voxel grid is float32, signed [T, 1, *shape[1:]]
    Raises:
        ValueError: an argument out of range, or a width where counts are equal; when called, an
            event outside of the shape, or none where there is no width.
    Source:
        The voxel grid: Zhu, Yuan, Chaney and Daniilidis, CVPR 2019.

    Example:
        >>> bins = Bins(2, (3,))
        >>> bins(Events(np.array([0, 4, 9]), (np.array([1, 1, 2]),))).tolist()
        [[0, 2, 0], [0, 0, 1]]
        >>> Bins(3, (1,), value="voxel")(Events(np.array([0, 6, 8]), (np.zeros(3, int),))).tolist()
        [[1.0], [0.5], [1.5]]
    """

    T: int
    shape: tuple[int, ...]
    by: By = "time"
    value: Value = "count"
    width: float | None = None

    def __post_init__(self) -> None:
        if self.T < 1 or not self.shape or min(self.shape) < 1:
            raise ValueError(f"T and all sides must be >= 1, got {self.T} and {self.shape}")
        for name, words in (("by", By), ("value", Value)):
            if getattr(self, name) not in (known := get_args(words)):
                raise ValueError(f"{name} is {getattr(self, name)!r}; use one of {list(known)}")
        if self.width is not None and (self.by == "count" or not self.width > 0):
            raise ValueError(
                f"width is the length of a step, > 0, for by = 'time'; got {self.width} and "
                f"by = {self.by!r}"
            )
        if self.value == "signed" and self.shape[0] != 2:
            raise ValueError(
                "value = 'signed' subtracts one polarity from the other; the first axis of "
                f"{self.shape} has {self.shape[0]} places, not 2: use value = 'voxel'"
            )

    @property
    def step(self) -> tuple[int, ...]:
        """Shape of a step as it comes out."""
        return (1, *self.shape[1:]) if self.value == "signed" else self.shape

    @property
    def dtype(self) -> torch.dtype:
        """Of the steps."""
        return torch.uint8 if self.value in ("count", "binary") else torch.float32

    def __call__(self, events: Events) -> Tensor:
        self._check(events)
        time = np.asarray(events.time, np.float64)
        if self.dtype == torch.uint8:
            most = MOST if self.value == "count" else 1
            count = self._summed(events, self._steps(time), np.ones(len(time)))
            return torch.from_numpy(np.minimum(count, most).astype(np.uint8))
        at = self._along(time)
        first = np.floor(at).astype(np.int64)
        later = at - first
        grid = self._summed(events, first, 1 - later) + self._summed(events, first + 1, later)
        return torch.from_numpy(grid.astype(np.float32))

    def _check(self, events: Events) -> None:
        if len(events.place) != len(self.shape):
            raise ValueError(f"places have {len(events.place)} axes, steps are of {self.shape}")
        if not len(events.time):
            if self.width is None:
                raise ValueError("a recording without events, which has no parts; give a width")
            return
        for at, side in zip(events.place, self.shape, strict=True):
            if int(at.min()) < 0 or int(at.max()) >= side:
                raise ValueError(
                    f"events at {int(at.min())} to {int(at.max())} on an axis of {side} places"
                )
        if self.width is not None and not float(events.time.min()) >= 0:
            raise ValueError(
                f"times begin at {events.time.min()}; with a width they count from 0 on, when the "
                "recording began"
            )

    def _summed(self, events: Events, step: Array, weight: Array) -> Array:
        """Weights of the events in each step and place; steps from T on are left out."""
        place = events.place
        if self.value == "signed":
            weight = np.where(place[0] == 0, -weight, weight)
            place = (np.zeros_like(place[0]), *place[1:])
        kept, sides = step < self.T, (self.T, *self.step)
        flat = np.ravel_multi_index((step[kept], *(at[kept] for at in place)), sides)
        return np.bincount(flat, weight[kept], minlength=prod(sides)).reshape(sides)

    def _steps(self, time: Array) -> Array:
        """The step that each event falls into; T and more if it is left out."""
        if self.by == "count":
            return _ranks(time) * self.T // len(time)
        if self.width is not None:
            return np.floor(time / self.width).astype(np.int64)
        return np.minimum((_since(time) * self.T / _length(time)).astype(np.int64), self.T - 1)

    def _along(self, time: Array) -> Array:
        """When each event is, in steps, with the first at 0 and the last at T - 1."""
        if self.by == "count":
            return _ranks(time) * (self.T - 1) / max(len(time) - 1, 1)
        if self.width is not None:
            return time / self.width
        return _since(time) * (self.T - 1) / _length(time)


def _ranks(time: Array) -> Array:
    """Number of each event in order of time."""
    rank = np.empty(len(time), np.int64)
    rank[np.argsort(time, kind="stable")] = np.arange(len(time))
    return rank


def _since(time: Array) -> Array:
    since: Array = time - time.min()
    return since


def _length(time: Array) -> float:
    return float(time.max() - time.min()) or 1.0


@dataclass(frozen=True, eq=False)
class Recordings(Generic[Place]):
    """Labelled recordings, read and binned when they are asked for.

    Args:
        places: of each recording, whatever ``read`` takes: a file, or a part of one.
        labels: their classes.
        read: gives the events of one of them.
        bins: makes steps of these.
        digest: of all that the events depend on: which files, and how they are read. Without one
            the steps are not kept on disk.
    Shape:
        labels int64 [M] for M places
    """

    places: Sequence[Place]
    labels: Tensor
    read: Callable[[Place], Events]
    bins: Bins
    digest: str = ""

    def __len__(self) -> int:
        return len(self.places)

    def __getitems__(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        x = [self.steps(at) for at in indices]
        empty = torch.empty(0, self.bins.T, *self.bins.step, dtype=self.bins.dtype)
        y = self.labels[torch.as_tensor(indices, dtype=torch.int64)]
        return torch.stack(x) if x else empty, y

    def steps(self, at: int) -> Tensor:
        """The steps of one recording.

        Shape:
            -> [T, *] as :class:`Bins` makes them
        Raises:
            ValueError: it is damaged; the message begins with its place.
        """
        place = self.places[at]
        try:
            return self.bins(self.read(place))
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from error
