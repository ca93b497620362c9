"""Event-driven execution: programs, and the stream that runs them one event at a time."""

from spikeloom.functional.events.draws import ON_TIME, Late
from spikeloom.functional.events.heap import EventStream, event_stream
from spikeloom.functional.events.program import (
    Connection,
    EventProgram,
    Hop,
    Mixing,
    Pool,
    Population,
    Weights,
)
from spikeloom.functional.events.stream import Counts, Events, Stream, events_of

__all__ = [
    "ON_TIME",
    "Connection",
    "Counts",
    "EventProgram",
    "EventStream",
    "Events",
    "Hop",
    "Late",
    "Mixing",
    "Pool",
    "Population",
    "Stream",
    "Weights",
    "event_stream",
    "events_of",
]
