"""What counted work costs on a stated machine, layer by layer, with and without its memory.

Two machines. ``event-driven``: nothing happens without a spike; each synaptic operation fetches its
weight anew and updates a sum in memory, and spikes travel as addresses. Maps of numbers (images,
averaged spikes) run there in whichever of the two ways costs less. ``clocked``: every input counts,
but a weight is fetched once a step for all that it is used for, sums stay in registers, and spikes
travel as bits. In both, all neurons are updated at every step.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

from spikeloom.deploy.energy.constants import Arithmetic, Constants, Precision
from spikeloom.deploy.energy.counts import SYNAPTIC, Counts, LayerCounts
from spikeloom.deploy.energy.values import Kind

Machine = Literal["event-driven", "clocked"]
PARTS = ("weights", "sums", "activations", "states")


@dataclass(frozen=True)
class Traffic:
    """Bits that pass to and from one array of so many bytes."""

    bits: float
    size: float


@dataclass(frozen=True)
class LayerEnergy:
    """What one layer costs for one sample [pJ]; ``traffic`` are bytes by memory."""

    name: str
    compute: float
    weights: float
    sums: float
    activations: float
    states: float
    traffic: dict[str, float]

    @property
    def memory(self) -> float:
        """All accesses [pJ]."""
        return self.weights + self.sums + self.activations + self.states

    @property
    def total(self) -> float:
        """Compute and memory [pJ]."""
        return self.compute + self.memory

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain values."""
        return asdict(self) | {"memory": self.memory, "total": self.total}


def price(
    counts: Counts, constants: Constants, precision: Precision, machine: Machine
) -> tuple[LayerEnergy, ...]:
    """The energy of every layer for one sample.

    Example:
        >>> from spikeloom.deploy.energy import Counts, LayerCounts, read_constants
        >>> layer = LayerCounts("map", "map", "Linear", acs=10.0, weights=10, out_size=5)
        >>> (found,) = price(Counts((layer,), 1, 10, 40), read_constants(), "float32",
        ...                  "event-driven")
        >>> found.compute, found.weights
        (9.0, 50.0)
    """
    arithmetic = constants.arithmetic(precision)
    return tuple(_cheapest(layer, constants, arithmetic, machine) for layer in counts.layers)


def _cheapest(
    layer: LayerCounts, constants: Constants, a: Arithmetic, machine: Machine
) -> LayerEnergy:
    """What a layer costs; one that reads numbers may run either way on an event-driven machine."""
    found = _priced(layer, constants, a, machine)
    if machine == "clocked" or layer.role != "map" or layer.inputs != "graded":
        return found
    return min(found, _priced(layer, constants, a, "clocked"), key=lambda each: each.total)


def _priced(
    layer: LayerCounts, constants: Constants, a: Arithmetic, machine: Machine
) -> LayerEnergy:
    memory = constants.memory
    event = machine == "event-driven"
    moved = {
        "weights": [_weights(layer, a, event)],
        "sums": [_sums(layer, a, memory.sums_per_operation if event else 0)],
        "activations": [*_activations(layer, a, event)],
        "states": [_states(layer, a)],
    }
    traffic: dict[str, float] = {}
    for part in (part for parts in moved.values() for part in parts if part.bits):
        name = memory.level(part.size)
        traffic[name] = traffic.get(name, 0.0) + part.bits / 8
    costs = {
        name: sum(part.bits * memory.per_bit(part.size) for part in parts)
        for name, parts in moved.items()
    }
    return LayerEnergy(layer.name, _compute(layer, a, event), traffic=traffic, **costs)


def _compute(layer: LayerCounts, a: Arithmetic, event: bool) -> float:
    """Operations that are due, or all of them on a machine that skips none."""
    graded = layer.inputs == "graded"
    macs = layer.macs if event else layer.dense * graded
    acs = layer.acs if event else layer.dense * (not graded)
    adds = layer.adds if event else layer.dense_adds
    update = (layer.states + 1) * a.state_add  # one more to compare with the threshold
    update += layer.states * layer.leaks * a.state_multiply
    return (
        macs * (a.multiply + a.add)
        + acs * a.add
        + adds * a.state_add
        + layer.multiplies * a.state_multiply
        + layer.updates * update
    )


def _weights(layer: LayerCounts, a: Arithmetic, event: bool) -> Traffic:
    if layer.role == "norm":
        return Traffic(layer.parameters * layer.steps * a.state_bits, layer.parameters * 4)
    size = layer.weights * a.weight_bits / 8
    if not layer.weights:
        return Traffic(0, 0)
    fetched = layer.synops if event else layer.weights * layer.steps
    return Traffic(fetched * a.weight_bits, size)


def _sums(layer: LayerCounts, a: Arithmetic, accesses: float) -> Traffic:
    due = layer.synops if layer.role in SYNAPTIC else layer.adds if layer.role == "sum" else 0
    return Traffic(accesses * due * a.state_bits, layer.out_size * a.state_bits / 8)


def _states(layer: LayerCounts, a: Arithmetic) -> Traffic:
    """Each number that a neuron keeps is read and written at every step; decays are read."""
    bits = layer.updates * (2 * layer.states + layer.decays) * a.state_bits
    size = layer.neurons * (layer.states + layer.decays) * a.state_bits / 8
    return Traffic(bits, size)


def _activations(layer: LayerCounts, a: Arithmetic, event: bool) -> list[Traffic]:
    steps = layer.steps
    read = _carried(layer.in_size, steps, layer.events, layer.inputs or "binary", a, event)
    if not layer.written and event:
        return [read]
    if layer.role not in ("neurons", "rectifier", "pool", "product"):
        return [read]
    return [read, _carried(layer.out_size, steps, layer.written, layer.out_kind, a, event)]


def _carried(
    size: int, steps: float, events: float, kind: Kind, a: Arithmetic, event: bool
) -> Traffic:
    """Values as a plain array of so many a step, or as addresses of those that are not zero.

    Numbers go whichever way is shorter; spikes on an event-driven machine as addresses.
    """
    if not size:
        return Traffic(0, 0)
    plain = {"binary": 1, "ternary": 2, "graded": a.activation_bits}[kind]
    array = Traffic(size * steps * plain, size * plain / 8)
    if not event:
        return array
    payload = {"binary": 0, "ternary": 1, "graded": a.activation_bits}[kind]
    bits = max(math.ceil(math.log2(size)), 1) + payload
    addresses = Traffic(events * bits, size * bits / 8)
    return array if kind == "graded" and array.bits < addresses.bits else addresses


__all__ = ["PARTS", "LayerEnergy", "Machine", "Traffic", "price"]
