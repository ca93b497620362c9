"""From recorded events to steps: when and where each was, how they are binned, and sets of them.

Reading files is the business of each data set: it makes :class:`Events`, whatever the sensor.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Generic, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[Any]
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
    """How events become T steps, each of which counts the events of every place.

    Equal times: step = floor(T (t - t_0) / (t_last - t_0)), the last event in the last step; with a
    ``width`` step = floor(t / width), and what comes after step T is left out. Equal counts:
    step = floor(T i / E) for event i of E in order of time.

    Args:
        T: number of steps, >= 1.
        shape: of one step, an axis for each part of a place.
        by: cut the recording into equal times, or into equal counts of events.
        value: what a step holds: the ``count`` of events, at most 255, or ``binary``, whether there
            was any.
        width: length of a step in the unit of the events' times; None for equal parts of each
            recording, from its first event to its last.
    Shape:
        E events -> uint8 [T, *shape]
    Raises:
        ValueError: an argument out of range, or a width where counts are equal; when called, no
            events, or one outside of the shape.

    Example:
        >>> bins = Bins(2, (3,))
        >>> bins(Events(np.array([0, 4, 9]), (np.array([1, 1, 2]),))).tolist()
        [[0, 2, 0], [0, 0, 1]]
    """

    T: int
    shape: tuple[int, ...]
    by: Literal["time", "count"] = "time"
    value: Literal["count", "binary"] = "count"
    width: float | None = None

    def __post_init__(self) -> None:
        if self.T < 1 or not self.shape or min(self.shape) < 1:
            raise ValueError(f"T and all sides must be >= 1, got {self.T} and {self.shape}")
        if self.by not in ("time", "count"):
            raise ValueError(f"by is {self.by!r}; use 'time' or 'count'")
        if self.value not in ("count", "binary"):
            raise ValueError(f"value is {self.value!r}; use 'count' or 'binary'")
        if self.width is not None and (self.by == "count" or not self.width > 0):
            raise ValueError(
                f"width is the length of a step, > 0, for by = 'time'; got {self.width} and "
                f"by = {self.by!r}"
            )

    def __call__(self, events: Events) -> Tensor:
        if len(events.place) != len(self.shape):
            raise ValueError(f"places have {len(events.place)} axes, steps are of {self.shape}")
        if not len(events.time):
            raise ValueError("a recording without events")
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
        step = self._steps(events.time)
        kept = step < self.T
        flat = np.ravel_multi_index((step[kept], *(at[kept] for at in events.place)), self._sides)
        count = np.bincount(flat, minlength=prod(self._sides))
        most = MOST if self.value == "count" else 1
        return torch.from_numpy(np.minimum(count, most).astype(np.uint8).reshape(self._sides))

    @property
    def _sides(self) -> tuple[int, ...]:
        return (self.T, *self.shape)

    def _steps(self, time: Array) -> Array:
        """The step that each event falls into; T and more if it is left out."""
        if self.by == "count":
            place = np.empty(len(time), np.int64)
            place[np.argsort(time, kind="stable")] = np.arange(len(time))
            return place * self.T // len(time)
        if self.width is not None:
            return np.floor(np.asarray(time, np.float64) / self.width).astype(np.int64)
        since = np.asarray(time, np.float64) - float(time.min())
        length = float(since.max()) or 1.0
        return np.minimum((since * self.T / length).astype(np.int64), self.T - 1)


@dataclass(frozen=True, eq=False)
class Recordings(Generic[Place]):
    """Labelled recordings, read and binned when they are asked for.

    Args:
        places: of each recording, whatever ``read`` takes: a file, or a part of one.
        labels: their classes.
        read: gives the events of one of them.
        bins: makes steps of these.
    Shape:
        labels int64 [M] for M places
    """

    places: Sequence[Place]
    labels: Tensor
    read: Callable[[Place], Events]
    bins: Bins

    def __len__(self) -> int:
        return len(self.places)

    def __getitems__(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        x = [self._steps(self.places[at]) for at in indices]
        empty = torch.empty(0, self.bins.T, *self.bins.shape, dtype=torch.uint8)
        y = self.labels[torch.as_tensor(indices, dtype=torch.int64)]
        return torch.stack(x) if x else empty, y

    def _steps(self, place: Place) -> Tensor:
        try:
            return self.bins(self.read(place))
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from error
