"""Streams on the terminal: a run tested event by event, and live decisions line by line."""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from spikeloom.cli.app import INTERRUPTED
from spikeloom.cli.output import console_for
from spikeloom.cli.tables import grid
from spikeloom.report.wording import NARROW, quantity
from spikeloom.run.config import ConfigError
from spikeloom.run.live import Heard, Listener, Listening, listener
from spikeloom.run.stream import How, stream

SHOWN = 5  # bad lines that are told one by one


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


def listen(
    folder: Path,
    source: str,
    how: Listening,
    every: int | None,
    weights: str | None,
    root: Path | None,
    as_json: bool,
) -> None:
    """Say what the network makes of the events of a file, or of stdin (``-``), as they come.

    A line when the decision changes, at every ``every`` steps, and at the end; after Ctrl-C, too.
    """
    told: list[str] = []

    def complain(said: str) -> None:
        told.append(said)
        if len(told) <= SHOWN:
            typer.echo(f"passed over {said}", err=True)

    with _lines(source) as lines:
        ear = listener(folder, how, weights=weights, root=root, complain=complain)
        end = _hear(ear, lines, every, as_json)
    if not ear.events and end != "interrupted":
        why = f"; line by line: {'; '.join(told[:SHOWN])}" if told else ""
        raise ConfigError(f"no events in {source}, of {ear.lines} lines{why}")
    _close(ear, end, as_json)
    if end == "interrupted":
        raise typer.Exit(INTERRUPTED)


@contextmanager
def _lines(source: str) -> Iterator[Iterable[str]]:
    if source == "-":
        yield sys.stdin
    else:
        with Path(source).open(encoding="utf-8", errors="replace") as file:
            yield file


def _hear(ear: Listener, lines: Iterable[str], every: int | None, as_json: bool) -> str:
    """Take line after line; says why that ended."""
    said: list[Heard] = []  # what was shown last, if anything

    def show(heard: list[Heard]) -> None:
        for one in heard:
            changed = one.label != (said[-1].label if said else None)
            if changed or (every and one.step % every == 0):
                said[:] = [one]
                typer.echo(json.dumps(one.as_dict()) if as_json else _line(one))

    try:
        for line in lines:
            show(ear.hear(line))
            if ear.done:
                return "steps"
        show(ear.end())
    except KeyboardInterrupt:
        show(ear.end(silent=False))
        return "interrupted"
    return "end of events"


def _line(heard: Heard) -> str:
    decision = "–" if heard.decision is None else f"{heard.decision}, {_percent(heard.confidence)}"
    return f"time {heard.time:g}, step {heard.step}: {decision}"


def _close(ear: Listener, end: str, as_json: bool) -> None:
    if ear.last is None:
        return
    if as_json:
        more = {"end": end, "late": ear.late, "bad": ear.bad}
        typer.echo(json.dumps(ear.last.as_dict() | more))
        return
    decided = "none" if ear.last.decision is None else ear.last.decision
    read = f"{ear.last.step:,} steps and {ear.last.events:,} events ({end})"
    typer.echo(f"decision: {decided}, {_percent(ear.last.confidence)}, after {read}")
    if ear.late or ear.bad:
        lines = f"{ear.late:,} events came too late, {ear.bad:,} lines could not be read"
        typer.echo(f"left out: {lines}", err=True)


def numbers(name: str, words: Sequence[str]) -> tuple[float, ...]:
    """Numbers set apart by commas, in one word or several.

    Raises:
        ConfigError: something else is there.
    """
    parts = [part for word in words for part in word.split(",") if part.strip()]
    try:
        return tuple(float(part) for part in parts)
    except ValueError as error:
        raise ConfigError(f"--{name} takes numbers set apart by commas: {error}") from error


def _percent(share: float) -> str:
    return quantity("accuracy", share).replace(NARROW, " ")


__all__ = ["listen", "numbers", "stream_table", "stream_with_bar"]
