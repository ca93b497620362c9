"""A run tested event by event on the terminal: a bar over the samples, then a table."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from spikeloom.cli.output import console_for
from spikeloom.cli.tables import grid
from spikeloom.report.wording import NARROW, quantity
from spikeloom.run.stream import How, stream


def stream_with_bar(
    folder: Path, how: How, weights: str | None, root: Path | None
) -> dict[str, Any]:
    """Run the samples under a bar, which goes when they are done."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    console = console_for(err=True)
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task("samples", total=how.test)

        def told(done: int) -> None:
            bar.update(task, completed=done)

        return stream(folder, how, weights=weights, root=root, tell=told)


def stream_table(found: Mapping[str, Any]) -> Table:
    """What running event by event came to; counts are means over samples."""
    table = grid(None, None, header=False)
    samples = max(1, found["samples"])

    def each(name: str) -> str:
        return f"{found[name] / samples:,.0f}"

    counted = f"of {samples:,} samples, {found['weights']} weights"
    table.add_row("test accuracy", _percent(found["accuracy"]), counted)
    table.add_row("clocked network", _percent(found["accuracy_clocked"]), "in float64")
    spikes = f"of {found['spikes']:,}, against the clocked network"
    table.add_row("differing spikes", f"{found['differing']:,}", spikes)
    table.add_row("input events", each("inputs"), "a sample")
    table.add_row("spikes", each("spikes"), "")
    table.add_row("synaptic operations", each("synaptic_operations"), "")
    table.add_row("  accumulates", each("accumulates"), "a weight is added")
    table.add_row("  multiply-accumulates", each("multiply_accumulates"), "of numbers")
    if found["wakes"]:
        table.add_row("wakes", each("wakes"), "decisions that nothing arrived for")
    if found["late"]:
        table.add_row("late spikes", each("late"), f"{each('dropped')} came after the last step")
    rate = found["synaptic_operations"] / max(found["seconds"], 1e-9)
    table.add_row("on this machine", f"{rate / 1e6:,.0f} M", "synaptic operations a second")
    table.add_row("", f"{1e3 * found['seconds'] / samples:,.1f} ms", "a sample")
    for layer in found["layers"]:
        unlike = f", {layer['differing']:,} differ" if layer["differing"] else ""
        neurons = f"spikes per neuron and step, {layer['neurons']:,} neurons{unlike}"
        table.add_row(f"  {layer['layer']}", f"{layer['rate']:.4f}", neurons)
    return table


def _percent(share: float) -> str:
    return quantity("accuracy", share).replace(NARROW, " ")


__all__ = ["stream_table", "stream_with_bar"]
