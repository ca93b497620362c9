"""The fast twin of ``functional.event_stream``: the queue and its inner loops, compiled.

Weights are packed once for a program and dtype, so that what a spike adds lies in a row; a run then
keeps potentials, and what is under way.
"""

import ctypes
import weakref
from collections.abc import Iterator
from ctypes import POINTER, c_double, c_int32, c_int64, c_uint64, c_void_p
from typing import Any

import torch
from torch import Tensor

from spikeloom.functional.events import (
    ON_TIME,
    Counts,
    EventProgram,
    Events,
    Hop,
    Late,
    Mixing,
    Pool,
    Population,
    Stream,
    Weights,
)
from spikeloom.functional.events.draws import MASK
from spikeloom.functional.events.program import by_place
from spikeloom.functional.events.stream import ordered
from spikeloom.kernels.cpu import native

WEIGHTS, MIXING, POOL = range(3)
RESETS = {"hard": 0, "soft": 1, "none": 2}
COUNTED = (
    "inputs", "arrivals", "accumulates", "multiply_accumulates", "late", "dropped", "wakes",
)  # fmt: skip


class EventHop(ctypes.Structure):
    """Mirrors ``EventHop`` in events.hpp, as the others below mirror theirs."""

    _fields_ = (
        ("kind", c_int32),
        *((name, c_int64) for name in ("in_channels", "in_width")),
        *((name, c_int64) for name in ("out_channels", "out_height", "out_width")),
        *((name, c_int64 * 2) for name in ("kernel", "stride", "padding", "dilation")),
        *((name, c_int64) for name in ("group", "width", "first")),
        ("scale", c_double),
        *((name, c_void_p) for name in ("weights", "synapses")),
    )


class EventConnection(ctypes.Structure):
    """A connection."""

    _fields_ = (
        *((name, c_int32) for name in ("source", "target")),
        *((name, c_int64) for name in ("delay", "count")),
        ("hops", POINTER(EventHop)),
    )


class EventPopulation(ctypes.Structure):
    """A population."""

    _fields_ = (
        *((name, c_int64) for name in ("channels", "places")),
        *((name, c_int32) for name in ("reset", "strict", "fires", "wakes")),
        *((name, c_double) for name in ("v_reset", "rest")),
        *((name, c_void_p) for name in ("keep", "gain", "threshold", "bias")),
    )


class EventsCall(ctypes.Structure):
    """What a run is opened with."""

    _fields_ = (
        *((name, c_int32) for name in ("wide", "drawn")),
        *((name, c_int64) for name in ("in_channels", "populations", "connections", "steps")),
        *((name, c_uint64) for name in ("seed", "late_seed")),
        ("late", c_double),
        ("most", c_int64),
        ("population", POINTER(EventPopulation)),
        ("connection", POINTER(EventConnection)),
    )


SIZES = (EventsCall, EventPopulation, EventConnection, EventHop)


def event_stream(
    program: EventProgram,
    *,
    steps: int | None = None,
    dtype: torch.dtype = torch.float64,
    late: Late = ON_TIME,
    seed: int | None = None,
) -> Stream:
    """:func:`spikeloom.functional.event_stream`, compiled."""
    return CompiledStream(program, steps=steps, dtype=dtype, late=late, seed=seed)


def objections(program: EventProgram, **options: Any) -> Iterator[str]:
    """Why the kernel cannot serve a call; nothing if it can."""
    if native.OPENED is None:
        yield native.PROBLEM


class CompiledStream(Stream):
    """A run inside the compiled library, which is closed with this object."""

    def __init__(self, program: EventProgram, **options: Any) -> None:
        super().__init__(program, **options)
        library = native.opened()
        self._packed = packed(program, self.dtype)
        call = EventsCall(
            self.dtype == torch.float64, self.seed is not None, program.shape(0)[0],
            len(program.populations), len(program.connections),
            -1 if self.steps is None else self.steps, (self.seed or 0) & MASK,
            self.late.seed & MASK, self.late.p, self.late.most,
            self._packed.populations, self._packed.connections,
        )  # fmt: skip
        self._run = library.spikeloom_events_open(ctypes.byref(call))
        if not self._run:
            raise MemoryError("no memory for the neurons of an event-driven network")
        weakref.finalize(self, library.spikeloom_events_close, self._run)

    @property
    def counts(self) -> Counts:
        found = self._counted()
        numbers = dict(zip(COUNTED, found, strict=False))
        return Counts(spikes=found[len(COUNTED) + 1 :], **numbers)

    @property
    def outputs(self) -> Tensor:
        C, H, W = self.program.populations[-1].shape
        found = torch.empty(self.time, H * W, C, dtype=torch.float64)
        native.opened().spikeloom_events_outputs(self._run, found.data_ptr())
        return found.permute(0, 2, 1).flatten(1).to(self.dtype)

    def spikes(self) -> Tensor:
        found = torch.empty(self._counted()[len(COUNTED)], 3, dtype=torch.int64)
        native.opened().spikeloom_events_spikes(self._run, found.data_ptr())
        return ordered(self.program, found)

    def _counted(self) -> list[int]:
        numbers = (c_int64 * (len(COUNTED) + 1 + len(self.program.populations)))()
        native.opened().spikeloom_events_counts(self._run, numbers)
        return list(numbers)

    def _feed(self, events: Events) -> None:
        time, index = (part.to(torch.int64).contiguous() for part in events[:2])
        value = events.value.to(torch.float64).contiguous()
        pointers = time.data_ptr(), index.data_ptr(), value.data_ptr()
        self._check(native.opened().spikeloom_events_feed(self._run, *pointers, len(time)))

    def _advance(self, until: int) -> None:
        self._check(native.opened().spikeloom_events_advance(self._run, until))
        self.time = until

    def _check(self, failed: int) -> None:
        if failed:
            raise MemoryError("no memory for the events that are under way")


class Packed:
    """A program in memory as the library reads it."""

    def __init__(self, program: EventProgram, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self.alive: list[Any] = []
        self._weights: dict[int, tuple[Tensor, Tensor]] = {}
        hops = [self._hops(c.hops) for c in program.connections]
        self.connections = (EventConnection * max(1, len(hops)))(*(
            EventConnection(c.source, c.target, c.delay, len(c.hops), own)
            for c, own in zip(program.connections, hops, strict=True)
        ))  # fmt: skip
        rules = [self._population(p) for p in program.populations]
        self.populations = (EventPopulation * len(rules))(*rules)

    def _hops(self, hops: tuple[Hop, ...]) -> "ctypes.Array[EventHop]":
        own = (EventHop * len(hops))(*map(self._hop, hops))
        self.alive.append(own)
        return own

    def _hop(self, hop: Hop) -> EventHop:
        C, _, W = hop.in_shape
        made = EventHop(WEIGHTS, C, W, *hop.out_shape)
        if not isinstance(hop, Mixing):
            w = hop.window
            made.kernel, made.stride = (c_int64 * 2)(*w.kernel), (c_int64 * 2)(*w.stride)
            made.padding, made.dilation = (c_int64 * 2)(*w.padding), (c_int64 * 2)(*w.dilation)
        if isinstance(hop, Pool):
            made.kind, made.scale = POOL, hop.scale
            return made
        if isinstance(hop, Mixing):
            made.kind, made.group = MIXING, C // len(hop.weight)
        else:
            made.group = hop.weight.shape[1]
            made.width, made.first = len(hop.weight) * made.group // C, hop.first
        rows, synapses = self._rows(hop)
        made.weights, made.synapses = rows.data_ptr(), synapses.data_ptr()
        return made

    def _rows(self, hop: Weights | Mixing) -> tuple[Tensor, Tensor]:
        """What each input and tap adds, a row each; packed once for all who share the weights."""
        key = id(hop.weight)
        if key not in self._weights:
            weight = hop.weight.to(self.dtype)
            if isinstance(hop, Mixing):
                rows = weight.transpose(1, 2).contiguous()
            else:
                groups = hop.in_shape[0] // weight.shape[1]
                by_group = weight.unflatten(0, (groups, -1))  # [G, O/G, C/G, kh, kw]
                rows = by_group.permute(0, 2, 3, 4, 1).contiguous()
            self._weights[key] = rows, rows.ne(0).sum(-1).contiguous()
            self.alive.append(hop.weight)  # so that nothing else gets its id
        return self._weights[key]

    def _population(self, population: Population) -> EventPopulation:
        numbers = (population.keep, population.gain, population.threshold, population.bias)
        own = [by_place(number).to(self.dtype).contiguous() for number in numbers]
        self.alive.append(own)
        places, channels = own[0].shape
        return EventPopulation(
            channels, places, RESETS[population.reset], population.strict, population.fires,
            wakes(population), population.v_reset, population.rest, *(n.data_ptr() for n in own),
        )  # fmt: skip


def wakes(population: Population) -> bool:
    """Whether a neuron may ever fire in silence."""
    quiet = population.reset == "hard" and not population.rest
    below = (
        population.threshold.gt(max(0.0, population.v_reset)).all() and population.bias.le(0).all()
    )
    return population.fires and not (quiet and bool(below))


PACKED: "weakref.WeakKeyDictionary[EventProgram, dict[torch.dtype, Packed]]"
PACKED = weakref.WeakKeyDictionary()


def packed(program: EventProgram, dtype: torch.dtype) -> Packed:
    """The program as the library reads it; made once."""
    own = PACKED.setdefault(program, {})
    if dtype not in own:
        own[dtype] = Packed(program, dtype)
    return own[dtype]


def _check_sizes() -> None:
    if native.OPENED is None:
        return
    for which, kind in enumerate(SIZES):
        if native.OPENED.spikeloom_events_size(which) != ctypes.sizeof(kind):
            raise ImportError(f"{kind.__name__} differs between events.py and events.hpp")


_check_sizes()
