"""A network whose neurons answer to single events: populations, and linear maps between them.

Population 0 is the input. A connection leads from a population to a later one, over a chain of
hops; several may end on one population, whose neurons then add up what arrives. Sums of real values
exist nowhere else: a residual stream is what its readers hear of all who write to it.

Places are numbered along rows, and neurons place by place: neuron = place C + channel.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from spikeloom.functional.neurons.lif import Reset
from spikeloom.functional.program import Shape, Window

Array = npt.NDArray[Any]
Contact = tuple[int, int, Array]  # place, first channel, weights of the channels from there on


@dataclass(frozen=True, eq=False)
class Weights:
    """A convolution, or a dense map, whose kernel is the image; a weight of 0 is no synapse.

    Args:
        weight: of all synapses.
        window: where the kernel looks.
        in_shape, out_shape: (C, H, W) before and behind.
        first: channel behind that output 0 is.
    Shape:
        weight [O, C / groups, *kernel]
    """

    weight: Tensor
    window: Window
    in_shape: Shape
    out_shape: Shape
    first: int = 0

    def contacts(self, place: int, channel: int) -> Iterator[Contact]:
        """Whom a neuron reaches, place by place in rising order."""
        y, x = divmod(place, self.in_shape[2])
        group, c = divmod(channel, self.weight.shape[1])
        width = len(self.weight) * self.weight.shape[1] // self.in_shape[0]
        rows = self.weight[group * width : (group + 1) * width, c].numpy()
        for to_y, i in taps(self.window, 0, y, self.out_shape[1]):
            for to_x, j in taps(self.window, 1, x, self.out_shape[2]):
                to = to_y * self.out_shape[2] + to_x
                yield to, self.first + group * width, rows[:, i, j]


@dataclass(frozen=True, eq=False)
class Mixing:
    """Token mixing: each head has a matrix over the places; see ``functional.token_mixing``.

    Shape:
        weight [G, M, M], from the second place to the first
    """

    weight: Tensor
    in_shape: Shape

    @property
    def out_shape(self) -> Shape:
        """(C, H, W) behind."""
        return self.in_shape

    def contacts(self, place: int, channel: int) -> Iterator[Contact]:
        """Whom a neuron reaches, place by place in rising order."""
        head = channel * len(self.weight) // self.in_shape[0]
        column = self.weight[head, :, place].numpy()
        for to in range(len(column)):
            yield to, channel, column[to : to + 1]


@dataclass(frozen=True, eq=False)
class Pool:
    """``scale`` times what is in a window: average pooling; with one place in it, one to one."""

    window: Window
    in_shape: Shape
    out_shape: Shape
    scale: float = 1.0

    def contacts(self, place: int, channel: int) -> Iterator[Contact]:
        """Whom a neuron reaches, place by place in rising order."""
        y, x = divmod(place, self.in_shape[2])
        for to_y, _ in taps(self.window, 0, y, self.out_shape[1]):
            for to_x, _ in taps(self.window, 1, x, self.out_shape[2]):
                yield to_y * self.out_shape[2] + to_x, channel, np.array([self.scale])


Hop = Weights | Mixing | Pool


def taps(window: Window, axis: int, at: int, length: int) -> Iterator[tuple[int, int]]:
    """Places of the output along an axis that see the input at ``at``, each with its tap."""
    for tap in reversed(range(window.kernel[axis])):
        reach = at + window.padding[axis] - tap * window.dilation[axis]
        to, rest = divmod(reach, window.stride[axis])
        if not rest and 0 <= to < length:
            yield to, tap


@dataclass(frozen=True, eq=False)
class Connection:
    """From a population to a later one; ``delay``: steps that everything takes on the way."""

    source: int
    target: int
    hops: tuple[Hop, ...]
    delay: int = 0


@dataclass(frozen=True, eq=False)
class Population:
    """Neurons of one rule; numbers of each neuron, as doubles.

    h[t] = rest + keep (v[t-1] - rest) + gain (bias + x[t]); they fire from the threshold on and
    reset as ``functional.lif`` does. What does not fire is a read-out: its potential comes out.

    Args:
        name: of the layer.
        shape: (C, H, W).
        keep, gain, threshold, bias: of each neuron.
        reset: ``hard``, ``soft`` or ``none``.
        v_reset: potential after a hard reset.
        rest: where the leak pulls to.
        strict: fire only above the threshold.
        fires: whether they fire at all.
    Shape:
        keep, gain, threshold, bias [C, H, W]
    """

    name: str
    shape: Shape
    keep: Tensor
    gain: Tensor
    threshold: Tensor
    bias: Tensor
    reset: Reset = "hard"
    v_reset: float = 0.0
    rest: float = 0.0
    strict: bool = False
    fires: bool = True


@dataclass(frozen=True, eq=False)
class EventProgram:
    """Populations in an order in which connections lead forward; the last one's answer comes out.

    Raises:
        ValueError: a connection that leads nowhere, backward, or to another shape; no read-out or
            a second one.
    """

    in_shape: tuple[int, ...]
    populations: tuple[Population, ...]
    connections: tuple[Connection, ...]
    outgoing: tuple[tuple[int, ...], ...] = field(init=False)

    def __post_init__(self) -> None:
        if not self.populations or not all(p.fires for p in self.populations[:-1]):
            raise ValueError("an event program needs populations, and only the last may not fire")
        for connection in self.connections:
            self._check(connection)
        outgoing: list[tuple[int, ...]] = [
            tuple(i for i, c in enumerate(self.connections) if c.source == source)
            for source in range(len(self.populations) + 1)
        ]
        object.__setattr__(self, "outgoing", tuple(outgoing))

    def shape(self, index: int) -> Shape:
        """(C, H, W) of a population; 0 is the input."""
        if index:
            return self.populations[index - 1].shape
        if len(self.in_shape) == 3:
            return self.in_shape[0], self.in_shape[1], self.in_shape[2]
        return prod(self.in_shape), 1, 1

    def _check(self, c: Connection) -> None:
        if not 0 <= c.source < c.target <= len(self.populations) or not c.hops or c.delay < 0:
            raise ValueError(
                f"a connection leads from {c.source} to {c.target} over {len(c.hops)} hops in "
                f"{c.delay} steps; it must lead forward, over one at least, and not back in time"
            )
        shapes = [self.shape(c.source), *(hop.out_shape for hop in c.hops)]
        wanted = [*(hop.in_shape for hop in c.hops), self.shape(c.target)]
        if shapes != wanted:
            raise ValueError(f"the hops {shapes} of a connection do not fit what reads {wanted}")


def by_place(values: Tensor) -> Tensor:
    """Numbers of all neurons in the order of the neurons.

    Shape:
        values [C, H, W] -> [H W, C]
    """
    return values.permute(1, 2, 0).flatten(0, 1).contiguous()


def neuron_numbers(shape: Shape, flat: Tensor) -> Tensor:
    """From places in a flattened [C, H, W] to the numbers of neurons."""
    places = shape[1] * shape[2]
    return flat % places * shape[0] + torch.div(flat, places, rounding_mode="floor")


def flat_numbers(shape: Shape, neuron: Tensor) -> Tensor:
    """From the numbers of neurons to places in a flattened [C, H, W]."""
    places = shape[1] * shape[2]
    return neuron % shape[0] * places + torch.div(neuron, shape[0], rounding_mode="floor")
