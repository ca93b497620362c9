"""A stream of events: what goes in, what is counted, and what both executors offer."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from spikeloom.functional.events.checks import check_events, check_options, check_until
from spikeloom.functional.events.draws import Late
from spikeloom.functional.events.program import EventProgram, flat_numbers, neuron_numbers


class Events(NamedTuple):
    """Input events: at which step, at which place of the flattened sample, worth how much.

    Shape:
        time, place, value [E]
    """

    time: Tensor
    place: Tensor
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
        self._feed(Events(events.time, neuron_numbers(shape, events.place), events.value))

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
            raise ValueError(
                "no step is over yet; advance the stream before you ask for a decision"
            )
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


def ordered(program: EventProgram, spikes: Tensor) -> Tensor:
    """Spikes of numbered neurons as those of places, in the order of step, population, place."""
    for index, population in enumerate(program.populations):
        own = spikes[:, 1] == index
        spikes[own, 2] = flat_numbers(population.shape, spikes[own, 2])
    for key in (2, 1, 0):
        spikes = spikes[spikes[:, key].argsort(stable=True)]
    return spikes
