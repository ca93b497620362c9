"""One event at a time from a priority queue: what a clock-free chip does with a trained network.

An arrival adds its weights to the neurons it reaches. In the order of steps, a neuron decides once
all that a step brings it has arrived: populations take turns, and nothing arrives at one whose turn
is over. In drawn order there are no turns: arrivals of one step come in any order, and whom one
reaches decides at once.

A potential is brought up to date when its neuron is touched: silent steps are gone through one by
one, as a clock would. A neuron that would fire in silence (by a constant current, or with what a
soft reset left) looks ahead and puts that moment into the queue.
"""

import heapq
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spikeloom.functional.events.draws import ON_TIME, Late, drawn
from spikeloom.functional.events.members import AHEAD, NEVER, Members
from spikeloom.functional.events.program import Array, EventProgram, Hop, Mixing, Pool, Weights
from spikeloom.functional.events.stream import Counts, Events, Stream, ordered

ARRIVAL, DECISION = 0, 1


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
        for at, neuron, each in zip(
            events.time.tolist(), events.place.tolist(), worth, strict=True
        ):
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

    def _push(self, time: int, target: int, kind: int, where: int, neuron: int, value: Any) -> None:
        self._serial += 1
        order: tuple[int, ...] = (target, kind, neuron if kind == DECISION else where)
        if self.seed is not None:
            order = (drawn(self.seed, kind, where, neuron, time),)
        heapq.heappush(self._queue, (time, *order, self._serial, kind, where, neuron, value))

    def _send(self, connection: int, neuron: int, value: Any, time: int) -> None:
        c = self.program.connections[connection]
        late = self.late.steps(connection, neuron, time) if c.source else 0
        self._counts.late += late > 0
        time += c.delay + late
        if self.steps is not None and time >= self.steps:
            self._counts.dropped += 1
        else:
            self._push(time, c.target, ARRIVAL, connection, neuron, value)

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
                self._push(self.time, c.target, DECISION, c.target, each, True)
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
            self._push(wake, index, DECISION, index, neuron, None)
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


def cast(hop: Hop, dtype: torch.dtype) -> Hop:
    """The hop with weights of a dtype."""
    if isinstance(hop, Weights):
        weight = hop.weight.to(dtype)
        return Weights(weight, hop.window, hop.in_shape, hop.out_shape, hop.first)
    return Mixing(hop.weight.to(dtype), hop.in_shape) if isinstance(hop, Mixing) else hop
