"""The part of a run's page about energy: two figures and what they show as tables."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from spikeloom.report import figures
from spikeloom.report.energy import Energy, LayerCost, Network, verdict
from spikeloom.report.template import Shown


@dataclass(frozen=True)
class Section:
    """What the page shows of an account; ``layers`` pairs the counts of a layer with its costs."""

    energy: Energy
    shown: list[Shown]
    first: Network
    layers: Sequence[tuple[Mapping[str, Any], LayerCost]]
    verdicts: list[str]


def energy_section(energy: Energy, keys: Iterator[str]) -> Section:
    """The figures, and the rows of both tables."""
    first = energy.networks[0]
    machine = energy.constants.get("name", "a stated machine")
    layers = {layer.name: (layer.compute, layer.memory) for layer in first.layers if layer.total}
    networks = {row.title: (row.compute, row.memory) for row in energy.networks}
    shown = [
        Shown(
            Markup(figures.cost_bars(layers, key=next(keys))),
            f"Energy of each layer for one sample: {first.title}. {machine}.",
        ),
        Shown(
            Markup(figures.cost_bars(networks, key=next(keys), limit=40)),
            f"Energy of the whole network for one sample, beside its ReLU twin. {machine}.",
        ),
    ]
    counted = energy.counts.get(first.network, [])
    rows = list(zip(counted, first.layers, strict=True))
    return Section(energy, shown, first, rows, [verdict(pair) for pair in energy.equal_accuracy])


__all__ = ["Section", "energy_section"]
