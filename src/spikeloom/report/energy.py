"""Reads ``energy.json``: what a network costs for one sample, beside its ReLU twin."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from spikeloom.report.result import Part, Table

ENERGY = "energy.json"
NAMES = {"spiking": "spiking", "shifted": "spiking, shifted to -1, 0, 1", "twin": "ReLU twin"}


class LayerCost(Part):
    """What one layer costs for a sample [microjoule]."""

    name: str
    compute: float
    memory: float
    total: float


class Network(Part):
    """One network in one precision on one machine; counts and energies for a sample [microjoule].

    Counts that are not known, of a twin that was not trained, are None.
    """

    network: str
    precision: str
    machine: str
    accuracy: float | None = None
    standard_error: float | None = None
    macs: float | None = None
    acs: float | None = None
    spikes: float | None = None
    dense: float
    updates: float
    compute: float
    weights: float
    sums: float
    activations: float
    states: float
    memory: float
    total: float
    traffic: Table = Field(default_factory=dict)
    layers: list[LayerCost] = Field(default_factory=list)

    @property
    def title(self) -> str:
        """What it is, in words."""
        return f"{NAMES.get(self.network, self.network)}, {self.precision}, {self.machine}"


class Pair(Part):
    """A spiking network beside its twin in the same precision."""

    precision: str
    machine: str
    difference: float
    standard_error: float
    equal: bool
    compute_ratio: float
    total_ratio: float


class Energy(Part):
    """What ``energy.json`` says; ``counts`` are rows of layers by network."""

    weights: str
    samples: int
    T: int
    constants: Table
    networks: list[Network]
    counts: dict[str, list[dict[str, Any]]]
    neurobench: Table = Field(default_factory=dict)
    equal_accuracy: list[Pair] = Field(default_factory=list)
    notes: list[str] = Field(default_factory=list)

    def find(self, network: str, precision: str, machine: str) -> Network | None:
        """That network; None if it is not there."""
        wanted = (network, precision, machine)
        return next(
            (n for n in self.networks if (n.network, n.precision, n.machine) == wanted), None
        )

    def flat(self) -> dict[str, float]:
        """Plain numbers by dotted name, such as ``energy.spiking.float32.event-driven.total``."""
        names = ("compute", "memory", "total", "macs", "acs", "dense", "updates", "accuracy")
        numbers: dict[str, float] = {}
        for row in self.networks:
            at = f"energy.{row.network}.{row.precision}.{row.machine}"
            numbers |= {
                f"{at}.{name}": value
                for name in names
                if isinstance(value := getattr(row, name), float | int)
            }
        return numbers


# What a comparison of runs says about energy: one number of each network [microjoule].
COSTS = {
    "spiking µJ": ("spiking", "float32", "event-driven"),
    "spiking int8 µJ": ("spiking", "int8", "event-driven"),
    "twin µJ": ("twin", "float32", "clocked"),
    "twin int8 µJ": ("twin", "int8", "clocked"),
}


def arm_energy(runs: Sequence[Energy | None]) -> dict[str, float] | None:
    """Means over runs of what networks cost in all; None if a run has no account."""
    known = [run for run in runs if run]
    if not known or len(known) < len(runs):
        return None
    found = {}
    for name, which in COSTS.items():
        rows = [row for run in known if (row := run.find(*which))]
        if len(rows) == len(known):
            found[name] = sum(row.total for row in rows) / len(rows)
    return found


def verdict(pair: Pair | Mapping[str, Any]) -> str:
    """What a comparison with the twin says, in a sentence."""
    found = pair if isinstance(pair, Pair) else Pair.model_validate(pair)
    alike = "equally accurate" if found.equal else "not equally accurate"
    return (
        f"{found.precision}, {found.machine}: {alike} "
        f"({100 * found.difference:+.2f} ± {100 * found.standard_error:.2f} pp), "
        f"{found.total_ratio:.2f} times the twin's energy, "
        f"{found.compute_ratio:.2f} times without memory"
    ).replace("(-", "(−")


__all__ = ["COSTS", "ENERGY", "Energy", "LayerCost", "Network", "Pair", "arm_energy", "verdict"]
