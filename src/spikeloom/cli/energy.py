"""Tables for the terminal: what a network costs for a sample."""

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from spikeloom.cli.scores import score_table
from spikeloom.cli.tables import grid
from spikeloom.report.energy import Energy, verdict
from spikeloom.report.wording import NARROW, amount, percent


def scores_with_energy(scores: Mapping[str, Any]) -> RenderableType:
    """What a network scores, and below it what it costs."""
    found = Energy.model_validate(scores["energy"])
    parts: list[RenderableType] = [score_table(scores), Text()]
    name = next(iter(found.counts))
    parts += [layer_table(found, name), network_table(found)]
    lines = [verdict(pair) for pair in found.equal_accuracy] + found.notes
    return Group(*parts, *map(Text, lines))


def layer_table(found: Energy, name: str) -> Table:
    """Every layer of a network: what it does for a sample, and what that costs."""
    row = next(network for network in found.networks if network.network == name)
    columns = ("layer", "does", "reads", "steps", "MAC", "AC", "other", "updates", "spikes")
    table = grid(*columns, "compute nJ", "memory nJ", right=tuple(range(3, 11)), footer=True)
    table.title = (
        f"{row.title}: for one sample, mean of {found.samples} test samples; T = {found.T}"
    )
    table.title_justify, table.title_style = "left", "bold"
    for layer, cost in zip(found.counts[name], row.layers, strict=True):
        kind = layer["kind"] if layer["kind"] != layer["role"] else ""
        table.add_row(
            layer["name"],
            Text(f"{kind} {layer['role']}".strip(), "cyan" if layer["neurons"] else ""),
            layer["inputs"],
            f"{layer['steps']:g}",
            *(_count(layer[key]) for key in ("macs", "acs")),
            _count(None if layer["adds"] is None else layer["adds"] + layer["multiplies"]),
            *(_count(layer[key]) for key in ("updates", "spikes")),
            amount(1000 * cost.compute),
            amount(1000 * cost.memory),
        )
    sums = ("all", "", "", "", row.macs, row.acs, None, row.updates, row.spikes)
    sides = (amount(1000 * row.compute), amount(1000 * row.memory))
    for column, text in zip(table.columns, (*sums, *sides), strict=True):
        column.footer = text if isinstance(text, str) else _count(text)
    return table


def network_table(found: Energy) -> Table:
    """Every network, precision and machine: accuracy and energy."""
    table = grid(
        "network", "test accuracy", "MAC", "AC", "compute µJ", "memory µJ", "total µJ",
        right=tuple(range(1, 7)),
    )  # fmt: skip
    table.title = f"energy for one sample, {found.constants['name']}"
    table.title_justify, table.title_style = "left", "bold"
    for row in found.networks:
        costs = (amount(cost) for cost in (row.compute, row.memory, row.total))
        done = (_count(row.macs), _count(row.acs))
        table.add_row(row.title, percent(row.accuracy).replace(NARROW, " "), *done, *costs)
    return table


def _count(value: float | None) -> str:
    return f"{value:,.0f}" if value else ""


__all__ = ["layer_table", "network_table", "scores_with_energy"]
