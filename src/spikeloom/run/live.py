"""Live decisions of a trained run: events come as lines of text, the network reads step by step."""

import math
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from spikeloom.data import Bins, Recordings, Source, perturb
from spikeloom.deploy import Live
from spikeloom.deploy.live import Decision
from spikeloom.run.config import ConfigError
from spikeloom.run.distributed import Processes
from spikeloom.run.loop import Silent, Training
from spikeloom.run.record import stored_config
from spikeloom.run.robust import needs_events
from spikeloom.run.task import Task, device_of, needs_classes, prepare

NAMES = {"t": "time", "p": "polarity", "pol": "polarity", "channel": "unit", "neuron": "unit"}
PIECE = 256  # silent steps that are fed at once
FARTHEST = 1_000_000  # steps that an event may lie ahead of the one before


@dataclass(frozen=True)
class Listening:
    """How lines become steps.

    Args:
        width: length of a step, in the unit of the events' times; that of the run's data if None.
        start: the time at which the first step begins, or ``first`` for that of the first event.
        steps: when to stop; the T of the model if None, 0 for no end.
    """

    width: float | None = None
    start: float | Literal["first"] = 0.0
    steps: int | None = None


@dataclass(frozen=True)
class Heard:
    """What the network says at the end of a step.

    Args:
        time: at which the step ends, in the unit of the events.
        step: how many have been read.
        decision: name of the class; None while there is none.
        label: its number.
        confidence: as :class:`spikeloom.deploy.Live` has it.
        events: that have been read.
    """

    time: float
    step: int
    decision: str | None
    label: int | None
    confidence: float
    events: int

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain values."""
        return asdict(self)


class Listener:
    """Reads lines ``time,unit`` or ``time,polarity,y,x`` and tells what the network makes of them.

    A first line with these names may give them another order; fields are set apart by commas or
    spaces; empty lines and those that begin with # are passed over. A step is read when an event of
    a later one comes: events of one step may come in any order, those of an earlier one are
    ``late`` and left out. Lines that cannot be read are ``bad``, and left out, too.

    Args:
        task: of the run.
        live: its network.
        how: the steps; ``width`` must be known.
        complain: told of every bad line.
    """

    def __init__(
        self, task: Task, live: Live, how: Listening, complain: Callable[[str], None]
    ) -> None:
        bins = bins_of(task.source)
        width = bins.width if how.width is None and bins else how.width
        if width is None:
            raise ConfigError(
                "the length of a step is not known: this run's data have no steps of one "
                "length in time; give it with --width, in the unit of the events' times"
            )
        if not (width > 0 and math.isfinite(width)) or (how.steps is not None and how.steps < 0):
            raise ConfigError(
                f"a step has a length > 0 and there are >= 0 of them, got {width} and {how.steps}"
            )
        self.task, self.live, self.complain = task, live, complain
        self.width, self.start = float(width), None if how.start == "first" else float(how.start)
        T = task.config.model.T
        self.limit, self.T = T if how.steps is None else how.steps or None, T
        self.most = 1 if bins and bins.value == "binary" else perturb.MOST
        shape = task.source.shape
        self.names = ["time", "unit"] if shape[1:] == (1, 1) else ["time", "polarity", "y", "x"]
        self.columns: list[int] = []  # of these names; none before the first line
        self.open = np.zeros(shape, np.int64)
        self.step = self.lines = self.events = self.late = self.bad = self.waiting = 0
        self.last: Heard | None = None

    @property
    def done(self) -> bool:
        """Whether all steps that were wanted have been read."""
        return self.limit is not None and self.step >= self.limit

    def hear(self, line: str) -> list[Heard]:
        """Take one line; what the network says to the steps that are over with it."""
        self.lines += 1
        fields = [field for field in re.split(r"[,;\s]+", line.strip()) if field]
        if not fields or fields[0].startswith("#") or self.done:
            return []
        if not self.columns and self._header(fields):
            return []
        try:
            time, place = self._event(fields)
            step = self._step(time)
        except ValueError as error:
            self.bad += 1
            self.complain(f"line {self.lines}: {error}")
            return []
        if step < self.step:
            self.late += 1
            return []
        heard = self._advance(step)
        if not self.done:
            self.open[place] += 1
            self.waiting += 1
        return heard

    def end(self, *, silent: bool = True) -> list[Heard]:
        """There are no more lines: read the last step, and silence up to T if ``silent``."""
        last = self.step + (1 if self.waiting else 0)
        return self._advance(max(last, self.limit or self.T) if silent else last)

    def _header(self, fields: list[str]) -> bool:
        """Whether the first line names the columns; else they are in the usual order."""
        self.columns = list(range(len(self.names)))
        given = [field.lower().strip("\ufeff\"'") for field in fields]
        given = [NAMES.get(name, name) for name in given]
        if any(re.match(r"[-+.\d]", name) for name in given):
            return False
        if missing := [name for name in self.names if name not in given]:
            raise ConfigError(
                f"the first line names {', '.join(given)}, which lacks {', '.join(missing)}; "
                f"expected {','.join(self.names)} in any order, or no such line"
            )
        self.columns = [given.index(name) for name in self.names]
        return True

    def _event(self, fields: list[str]) -> tuple[float, tuple[int, ...]]:
        if len(fields) <= max(self.columns):
            raise ValueError(f"{len(fields)} fields, expected {','.join(self.names)}")
        first, *rest = (fields[column] for column in self.columns)
        time, place = float(first), tuple(int(field) for field in rest)
        if not math.isfinite(time):
            raise ValueError(f"a time of {time}")
        sides = self.task.source.shape[: len(place)]
        for name, at, side in zip(self.names[1:], place, sides, strict=True):
            if not 0 <= at < side:
                raise ValueError(f"{name} {at} is not in 0 ... {side - 1}")
        return time, place

    def _step(self, time: float) -> int:
        self.start = time if self.start is None else self.start
        step = math.floor((time - self.start) / self.width)
        if step < 0:
            raise ValueError(f"time {time:g} is before {self.start:g}, when the first step begins")
        if step - self.step > FARTHEST and self.limit is None:
            raise ValueError(
                f"time {time:g} lies {step - self.step:,} steps ahead; is it in the unit of the "
                f"width {self.width:g}, and does time begin at {self.start:g}?"
            )
        return step

    def _advance(self, to: int) -> list[Heard]:
        """Read all steps before one."""
        to = to if self.limit is None else min(to, self.limit)
        heard: list[Heard] = []
        while self.step < to:
            x = torch.zeros(min(to - self.step, PIECE), *self.open.shape, dtype=torch.uint8)
            x[0] = torch.from_numpy(self.open.clip(max=self.most))
            self.open[:] = 0
            self.events, self.waiting = self.events + self.waiting, 0
            with self.task.autocast():
                heard += [self._said(decision) for decision in self.live.feed(self._sequence(x))]
            self.step += len(x)
        self.last = heard[-1] if heard else self.last
        return heard

    def _sequence(self, x: Tensor) -> Tensor:
        """Steps as the network gets them.

        Shape:
            x uint8 [T, C, H, W] -> x_seq [T, 1, C, H, W]
        """
        nothing = torch.zeros(1, dtype=torch.int64)
        return self.task.of_steps(len(x)).batch(x[None], nothing, training=False).x_seq

    def _said(self, decision: Decision) -> Heard:
        names, label = self.task.source.class_names, decision.label
        return Heard(
            time=(self.start or 0.0) + decision.steps * self.width,
            step=decision.steps,
            decision=None if label is None else names[label],
            label=label,
            confidence=decision.confidence,
            events=self.events,
        )


def listener(
    folder: Path,
    how: Listening,
    *,
    weights: str | None = None,
    root: Path | None = None,
    complain: Callable[[str], None] = lambda said: None,
) -> Listener:
    """What listens with the network of a run.

    Raises:
        ConfigError: this is no run folder; its data are no events, or the length of a step is not
            known.
        CheckpointError: its checkpoint is missing, altered or of another model.
        Unsupported: the network needs its sequences whole.
    """
    config = stored_config(folder)
    task = prepare(config, Processes(), device_of(config.run.device), root, folder)
    needs_classes(task, "a live stream")
    needs_events(task, "a live stream")
    model = Training(task, folder, Silent()).weights(weights or config.run.select)
    return Listener(task, Live(model), how, complain)


def bins_of(source: Source) -> Bins | None:
    """How the recordings of a data set become steps, if it has any that do."""
    return source.test.bins if isinstance(source.test, Recordings) else None


__all__ = ["Heard", "Listener", "Listening", "bins_of", "listener"]
