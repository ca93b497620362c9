"""One event at a time from a priority queue: what a clock-free chip does with a trained network.

An arrival adds its weights to the neurons it reaches. In the order of steps, a neuron decides once
all that a step brings it has arrived: populations take their turns, and nothing arrives at one whose
turn is over. In drawn order there is no such turn: arrivals of one step come in any order, and those
whom one reaches decide at once.

A potential is brought up to date when its neuron is touched: silent steps are gone through one by
one, as a clock would. A neuron that would fire in silence (by a constant current, or with what a
soft reset left) looks ahead and puts that moment into the queue.
"""

import heapq
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from spikeloom.functional.events.checks import check_events, check_options, check_until
from spikeloom.functional.events.draws import ON_TIME, Late, drawn
from spikeloom.functional.events.program import (
    Array,
    EventProgram,
    Hop,
    Mixing,
    Pool,
    Population,
    Weights,
    by_place,
    flat_numbers,
    neuron_numbers,
)

ARRIVAL, DECISION = 0, 1
AHEAD = 1024  # steps that a neuron looks ahead; then it looks again
SURELY = 0.999  # of the threshold: what stays below it is not looked at
NEVER = -1


class Events(NamedTuple):
    """Input events: at which step, at which place of the flattened sample, worth how much.

    Shape:
        time, index, value [E]
    """

    time: Tensor
    index: Tensor
    value: Tensor


def events_of(x: Tensor) -> Events:
    """Everything in a sequence of one sample that is not zero, in order.

    Shape:
        x [T, *]
    Example:
        >>> events_of(torch.tensor([[0.0, 1.0], [0.5, 0.0]]))[:2]
        (tensor([0, 1]), tensor([1, 0]))
    """
    flat = x.flatten(1)
    time, index = flat.nonzero(as_tuple=True)
    return Events(time, index, flat[time, index])


@dataclass
class Counts:
    """What a stream has done so far.

    Args:
        inputs: events that were fed.
        spikes: by population.
        arrivals: spikes and inputs that came to the end of a connection.
        accumulates: synaptic operations of spikes: a weight is added.
        multiply_accumulates: those of numbers: graded inputs, and sums that one hop hands to
            another.
        late: spikes that were sent late.
        dropped: arrivals after the last step.
        wakes: decisions that nothing had to arrive for.
    """

    inputs: int = 0
    spikes: list[int] = field(default_factory=list)
    arrivals: int = 0
    accumulates: int = 0
    multiply_accumulates: int = 0
    late: int = 0
    dropped: int = 0
    wakes: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        """Counts of both; one that holds nothing yet adds nothing."""
        mine, theirs = self.spikes or [0] * len(other.spikes), other.spikes
        total = Counts(spikes=[a + b for a, b in zip(mine, theirs or [0] * len(mine), strict=True)])
        for name in vars(self):
            if name != "spikes":
                setattr(total, name, getattr(self, name) + getattr(other, name))
        return total

    @property
    def events(self) -> int:
        """Inputs and spikes."""
        return self.inputs + sum(self.spikes)

    @property
    def synaptic_operations(self) -> int:
        """Accumulates and multiply-accumulates."""
        return self.accumulates + self.multiply_accumulates


def event_stream(
    program: EventProgram,
    *,
    steps: int | None = None,
    dtype: torch.dtype = torch.float64,
    late: Late = ON_TIME,
    seed: int | None = None,
) -> "Stream":
    """A network at rest, ready for events.

    With no spike late and in the order of steps it fires as the clocked network does.

    Args:
        program: the network.
        steps: how many there are, if that is known: what arrives later is dropped.
        dtype: of potentials and weights.
        late: which spikes are late.
        seed: of the order in which arrivals of one step come; None for the order of steps.
    Raises:
        ValueError: steps < 1, or a dtype that is neither float64 nor float32.
    """
    return EventStream(program, steps=steps, dtype=dtype, late=late, seed=seed)


class Stream(ABC):
    """A network in the middle of a stream of events; :func:`event_stream` makes one.

    Args:
        program: the network.
        steps: how many there are; None for no end.
        dtype: of potentials and weights.
        late: which spikes are late.
        seed: of the order of arrivals.
    """

    def __init__(
        self,
        program: EventProgram,
        *,
        steps: int | None,
        dtype: torch.dtype,
        late: Late,
        seed: int | None,
    ) -> None:
        check_options(steps, dtype)
        self.program, self.steps, self.late, self.seed = program, steps, late, seed
        self.dtype = dtype
        self.time = 0

    def feed(self, events: Events) -> None:
        """Put input events into the queue; those of one step in the order that they have.

        Raises:
            ValueError: one that does not fit the network, or whose step is over.
        """
        shape = self.program.shape(0)
        check_events(*events, shape, self.time, self.steps)
        self._feed(Events(events.time, neuron_numbers(shape, events.index), events.value))

    def advance(self, until: int) -> None:
        """Take all events of the steps before ``until``.

        Raises:
            ValueError: a step that is over, or behind the last one.
        """
        check_until(until, self.time, self.steps)
        self._advance(until)

    @property
    def decision(self) -> int:
        """The output that was largest on the mean of all steps so far.

        Raises:
            ValueError: there was none yet.
        """
        if not self.time:
            raise ValueError("no step is over yet; advance the stream before you ask for a decision")
        return int(self.outputs.mean(0).argmax())

    @property
    @abstractmethod
    def counts(self) -> Counts:
        """What was done so far."""

    @property
    @abstractmethod
    def outputs(self) -> Tensor:
        """What the last population put out at every step so far: potentials, or spikes.

        Shape:
            [t, C H W], as a flattened [C, H, W]
        """

    @abstractmethod
    def spikes(self) -> Tensor:
        """All spikes so far: step, population (from 0), place in the flattened [C, H, W].

        Shape:
            [S, 3], in the order of these
        """

    @abstractmethod
    def _feed(self, events: Events) -> None:
        """Take events that fit, by the numbers of the neurons."""

    @abstractmethod
    def _advance(self, until: int) -> None:
        """Go on to a step that is ahead."""


class EventStream(Stream):
    """The readable executor."""

    def __init__(self, program: EventProgram, **options: Any) -> None:
        super().__init__(program, **options)
        self.kind = torch.empty(0, dtype=self.dtype).numpy().dtype
        self._counts = Counts(spikes=[0] * len(program.populations))
        self.members = [Members(p, self.kind) for p in program.populations]
        self._hops = [tuple(cast(hop, self.dtype) for hop in c.hops) for c in program.connections]
        self._queue: list[tuple[Any, ...]] = []
        self._serial = 0
        self._spikes: list[tuple[int, int, int]] = []
        self._outputs: list[Array] = []
        self._fired: Counter[int] = Counter()  # of the last population, in this step
        for index, members in enumerate(self.members, start=1):
            for neuron in range(members.v.size if members.rule.fires else 0):
                self._look_ahead(index, neuron)

    @property
    def counts(self) -> Counts:
        return self._counts

    def _feed(self, events: Events) -> None:
        self._counts.inputs += len(events.time)
        worth = events.value.numpy().astype(self.kind)
        for at, neuron, each in zip(events.time.tolist(), events.index.tolist(), worth, strict=True):
            for connection in self.program.outgoing[0]:
                self._send(connection, neuron, each, at)

    def _advance(self, until: int) -> None:
        while self.time < until:
            while self._queue and self._queue[0][0] == self.time:
                *_, kind, where, neuron, value = heapq.heappop(self._queue)
                if kind == ARRIVAL:
                    self._arrive(where, neuron, value)
                else:
                    self._turn(where, neuron, woken=value is None)
            self._read()
            self.time += 1

    @property
    def outputs(self) -> Tensor:
        shape = self.program.populations[-1].shape
        found = np.array(self._outputs, dtype=self.kind).reshape(-1, shape[1] * shape[2], shape[0])
        return torch.from_numpy(found).permute(0, 2, 1).flatten(1)

    def spikes(self) -> Tensor:
        found = torch.tensor(self._spikes, dtype=torch.int64).reshape(-1, 3)
        return ordered(self.program, found)

    def _push(self, time: int, target: int, kind: int, detail: int, *payload: Any) -> None:
        self._serial += 1
        order = (target, kind, detail) if self.seed is None else (drawn(self.seed, self._serial),)
        heapq.heappush(self._queue, (time, *order, self._serial, kind, *payload))

    def _send(self, connection: int, neuron: int, value: Any, time: int) -> None:
        c = self.program.connections[connection]
        late = self.late.steps(connection, neuron, time) if c.source else 0
        self._counts.late += late > 0
        time += c.delay + late
        if self.steps is not None and time >= self.steps:
            self._counts.dropped += 1
        else:
            self._push(time, c.target, ARRIVAL, connection, connection, neuron, value)

    def _arrive(self, connection: int, neuron: int, value: Any) -> None:
        c = self.program.connections[connection]
        self._counts.arrivals += 1
        touched: set[int] = set()
        place, channel = divmod(neuron, self.program.shape(c.source)[0])
        self._deliver(c.target, self._hops[connection], place, channel, value, value == 1, touched)
        if not self.members[c.target - 1].rule.fires:
            return
        for each in sorted(touched):
            if self.seed is None:
                self._push(self.time, c.target, DECISION, each, c.target, each, True)
            elif self.members[c.target - 1].current[each]:
                self._decide(c.target, each)

    def _deliver(
        self,
        target: int,
        hops: Sequence[Hop],
        place: int,
        channel: int,
        value: Any,
        unit: bool,
        touched: set[int],
    ) -> None:
        """Bring a value over the hops to its end; what lies between is handed on at once."""
        hop, *rest = hops
        weighted = not isinstance(hop, Pool)
        channels = hop.out_shape[0]
        for to, first, row in hop.contacts(place, channel):
            there = np.flatnonzero(row)
            self._count(len(there), unit, weighted or not rest)
            for o, weight in zip(there + first, row[there], strict=True):
                part = self.kind.type(weight) * value
                if rest:
                    self._deliver(target, rest, to, int(o), part, unit and not weighted, touched)
                else:
                    self.members[target - 1].current[to * channels + o] += part
                    touched.add(int(to * channels + o))

    def _count(self, synapses: int, unit: bool, counted: bool) -> None:
        if counted and unit:
            self._counts.accumulates += synapses
        elif counted:
            self._counts.multiply_accumulates += synapses

    def _turn(self, index: int, neuron: int, *, woken: bool) -> None:
        """A decision from the queue, unless it was taken since."""
        members = self.members[index - 1]
        due = bool(members.wake[neuron] == self.time)
        if due or (not woken and members.last[neuron] < self.time):
            self._counts.wakes += due
            self._decide(index, neuron)

    def _decide(self, index: int, neuron: int) -> None:
        members = self.members[index - 1]
        if members.update(neuron, self.time):
            self._counts.spikes[index - 1] += 1
            self._spikes.append((self.time, index - 1, neuron))
            if index == len(self.members):
                self._fired[neuron] += 1
            for connection in self.program.outgoing[index]:
                self._send(connection, neuron, self.kind.type(1), self.time)
        self._look_ahead(index, neuron)

    def _look_ahead(self, index: int, neuron: int) -> None:
        members = self.members[index - 1]
        last = int(members.last[neuron])
        limit = AHEAD if self.steps is None else min(AHEAD, self.steps - 1 - last)
        ahead = members.crossing(neuron, limit)
        wake = last + ahead if ahead else NEVER
        if wake not in (NEVER, members.wake[neuron]):
            self._push(wake, index, DECISION, neuron, index, neuron, None)
        members.wake[neuron] = wake

    def _read(self) -> None:
        """Note what the last population puts out at this step."""
        last = self.members[-1]
        if last.rule.fires:
            out = np.zeros(last.v.size, self.kind)
            for neuron, count in self._fired.items():
                out[neuron] = count
            self._fired.clear()
        else:
            last.v = last.charge(slice(None), last.v, last.bias + last.current)
            last.current[:] = 0
            out = last.v.copy()
        self._outputs.append(out)


class Members:
    """The neurons of a population: potential, last step it was brought to, what has arrived."""

    def __init__(self, rule: Population, kind: Any) -> None:
        self.rule = rule
        numbers = (rule.keep, rule.gain, rule.threshold, rule.bias)
        each = [by_place(number).flatten().numpy().astype(kind) for number in numbers]
        self.keep, self.gain, self.threshold, self.bias = each
        self.rest, self.v_reset = kind.type(rule.rest), kind.type(rule.v_reset)
        self.v = np.full(self.keep.size, self.rest, kind)
        self.current = np.zeros_like(self.v)
        self.last = np.full(self.v.size, -1)
        self.wake = np.full(self.v.size, NEVER)

    def charge(self, n: Any, v: Any, x: Any) -> Any:
        """The potential a step later."""
        if self.rest:
            return self.rest + self.keep[n] * (v - self.rest) + self.gain[n] * x
        return self.keep[n] * v + self.gain[n] * x

    def update(self, n: int, time: int) -> bool:
        """Bring a neuron to ``time`` with what has arrived; whether it fires."""
        x, h = self.current[n], self.v[n]
        self.current[n] = 0
        if self.last[n] < time:
            for _ in range(self.last[n] + 1, time):
                h, before = self.charge(n, h, self.bias[n]), h
                if h == before:
                    break
            h = self.charge(n, h, self.bias[n] + x)
        else:
            h = h + self.gain[n] * x
        fires = bool(self.fires(n, h))
        self.v[n], self.last[n] = self.after(n, h) if fires else h, time
        return fires

    def fires(self, n: int, h: Any) -> Any:
        """Whether a potential makes the neuron fire."""
        return h > self.threshold[n] if self.rule.strict else h >= self.threshold[n]

    def after(self, n: int, h: Any) -> Any:
        """The potential after a spike."""
        if self.rule.reset == "hard":
            return self.v_reset
        return h - self.threshold[n] if self.rule.reset == "soft" else h

    def crossing(self, n: int, limit: int) -> int:
        """Steps until a neuron fires in silence, or must look again; 0 for not within the limit."""
        if self._surely_silent(n):
            return 0
        h = self.v[n]
        for step in range(1, limit + 1):
            h, before = self.charge(n, h, self.bias[n]), h
            if self.fires(n, h):
                return step
            if h == before:
                return 0
        return limit if limit == AHEAD else 0

    def _surely_silent(self, n: int) -> bool:
        """Whether the potential, and where it goes to, are clearly below the threshold."""
        far = self.keep.dtype.type(SURELY) * self.threshold[n]
        if self.rest or not far > 0 or not self.v[n] < far:
            return False
        drive, leak = self.gain[n] * self.bias[n], 1 - self.keep[n]
        return bool(drive <= 0 or drive < far * leak)


def cast(hop: Hop, dtype: torch.dtype) -> Hop:
    """The hop with weights of a dtype."""
    if isinstance(hop, Weights):
        weight = hop.weight.to(dtype)
        return Weights(weight, hop.window, hop.in_shape, hop.out_shape, hop.first)
    return Mixing(hop.weight.to(dtype), hop.in_shape) if isinstance(hop, Mixing) else hop


def ordered(program: EventProgram, spikes: Tensor) -> Tensor:
    """Spikes of numbered neurons as those of places, in the order of step, population, place."""
    for index, population in enumerate(program.populations):
        own = spikes[:, 1] == index
        spikes[own, 2] = flat_numbers(population.shape, spikes[own, 2])
    for key in (2, 1, 0):
        spikes = spikes[spikes[:, key].argsort(stable=True)]
    return spikes
