"""Tables for the terminal, made of the plain values that the library returns."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from spikeloom.report import Comparison
from spikeloom.report.result import Result
from spikeloom.report.wording import NARROW, change, duration, percent, quantity
from spikeloom.run.inspect import Description
from spikeloom.run.machine import Finding

BAR = 20  # cells of a full bar
COLUMNS = {
    "recipes": ("name", "dataset", "model", "T", "epochs", "title"),
    "methods": ("name", "year", "kind", "status", "recipes", "paper"),
}


def result_table(result: Mapping[str, Any]) -> Table:
    """What a finished run comes to: scores, its twin's, firing rates, time."""
    found = Result.model_validate(result)
    table = _table(None, None, header=False)
    test = found.test
    counted = f"of {test['count']:,} images" if "count" in test else ""
    for name, value in sorted(test.items(), key=lambda item: item[0] != "accuracy"):
        if name == "accuracy":
            table.add_row("test accuracy", _value(name, value), counted)
        elif name != "count":
            table.add_row(f"test {name}", _value(name, value))
    twin = found.twin.test.get("accuracy") if found.twin else None
    if twin is not None:
        gap = _plain(change("accuracy", test["accuracy"] - twin))
        table.add_row("its ReLU twin", _value("accuracy", twin), f"spiking minus twin: {gap}")
    if found.mean_rate is not None:
        table.add_row("firing rate", f"{found.mean_rate:.4f}", "spikes per neuron and step")
        for layer, rate in found.firing_rates.items():
            table.add_row(f"  {layer}", f"{rate:.4f}", "█" * round(BAR * min(rate, 1.0)) or "▏")
    if found.parameters is not None:
        table.add_row("parameters", f"{found.parameters:,}")
    if found.seconds is not None:
        table.add_row("training time", _plain(duration(found.seconds)))
    return table


def score_table(scores: Mapping[str, Any]) -> Table:
    """What :func:`~spikeloom.run.session.score` found."""
    table = _table(None, None, header=False)
    counted = f"of {scores['count']:,} images, {scores['weights']} weights"
    table.add_row("test accuracy", _value("accuracy", scores["accuracy"]), counted)
    table.add_row("test loss", _value("loss", scores["loss"]))
    for step, share in enumerate(scores["accuracy_by_step"], start=1):
        table.add_row(f"  after step {step}", _value("accuracy", share))
    return table


def layer_table(description: Description) -> Table:
    """Every layer, its output and its size, and the sums."""
    names = ("layer", "kind", "output", "neurons", "parameters", "kernel")
    table = _table(*names, right=(3, 4), footer=True)
    for layer in description.layers:
        shape = "not passed" if layer.shape is None else " x ".join(map(str, layer.shape))
        table.add_row(
            Text(layer.name, "cyan" if layer.neurons else ""),
            Text(layer.kind, "cyan" if layer.neurons else ""),
            shape,
            f"{layer.neurons:,}" if layer.neurons else "",
            f"{layer.parameters:,}" if layer.parameters else "",
            layer.kernel,
        )
    steps = f"T = {description.T}, input {' x '.join(map(str, description.in_shape))}"
    sums = ("all", "", steps, f"{description.neurons:,}", f"{description.parameters:,}", "")
    for column, text in zip(table.columns, sums, strict=True):
        column.footer = text
    return table


def shelf_table(shelf: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    """The rows of a shelf of the catalogue."""
    wanted = COLUMNS.get(shelf, ("name", "summary", "arguments"))
    table = _table(*("what it is" if name == "summary" else name for name in wanted))
    table.columns[0].style = "cyan"
    table.columns[0].no_wrap = True
    for row in rows:
        table.add_row(*(Text(_cell(row[name])) for name in wanted))
    return table


def shelves_table(shelves: Mapping[str, Sequence[str]]) -> Table:
    """What can be listed."""
    table = _table("list", "names")
    table.columns[0].style = "cyan"
    for shelf, names in shelves.items():
        table.add_row(shelf, ", ".join(names))
    return table


def finding_table(findings: Sequence[Finding]) -> Table:
    """What was found on this machine; ``!`` marks what does not work."""
    table = _table(None, None, None, header=False)
    for finding in findings:
        mark = Text("" if finding.ok else "!", "yellow")
        said = Text(finding.found, "" if finding.ok else "yellow")
        if finding.hint:
            said = Text.assemble(said, "\n", (finding.hint, "dim"))
        table.add_row(mark, finding.what, said)
    return table


def comparison_table(comparison: Comparison) -> Table:
    """Every arm: mean and spread over seeds, and the paired difference to the baseline."""
    metric = comparison.metric
    names = ["arm", "n", f"{metric}, mean ± sd"]
    paired = comparison.baseline is not None
    names += ["difference", "95 % interval", "pairs"] if paired else []
    table = _table(*names, right=(1,))
    for row in comparison.rows():
        spread = "" if row["sd"] is None else f" ± {_value(metric, row['sd'])}"
        cells = [row["arm"], str(row["n"]), _value(metric, row["mean"]) + spread]
        if paired and row["pairs"] is None:
            cells += ["baseline", "", ""]
        elif paired:
            low, high = row["interval"] or (None, None)
            between = (
                f"{_change(metric, low)} to {_change(metric, high)}" if row["interval"] else "–"
            )
            cells += [_change(metric, row["difference"]), between, str(row["pairs"])]
        table.add_row(*cells)
    return table


def _table(
    *columns: str | None, right: Sequence[int] = (), header: bool = True, footer: bool = False
) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD if header else None,
        show_header=header,
        show_footer=footer,
        pad_edge=False,
        header_style="bold",
    )
    for at, name in enumerate(columns):
        table.add_column(name or "", justify="right" if at in right else "left", overflow="fold")
    return table


def _cell(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(_argument(name, default) for name, default in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "–"
    return str(value) if value not in (None, "") else "–"


def _argument(name: str, default: Any) -> str:
    if default is None:
        return name
    if isinstance(default, bool):
        return f"{name}={str(default).lower()}"
    return name if default == "..." else f"{name}={default}"


def _value(metric: str, value: float) -> str:
    return (
        percent(value).replace(NARROW, " ")
        if metric.endswith("accuracy")
        else _plain(quantity(metric, value))
    )


def _change(metric: str, value: float | None) -> str:
    return _plain(change(metric, value))


def _plain(text: str) -> str:
    """With spaces that a terminal and a search find."""
    return text.replace(NARROW, " ")


__all__ = [
    "comparison_table",
    "finding_table",
    "layer_table",
    "result_table",
    "score_table",
    "shelf_table",
    "shelves_table",
]
