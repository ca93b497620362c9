"""Tables for the terminal: what there is to choose from, what it builds, what works here."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from spikeloom.run.inspect import Description
from spikeloom.run.machine import Finding

COLUMNS = {
    "recipes": ("name", "title", "dataset", "model", "T", "epochs"),
    "studies": ("name", "title", "arms", "seeds"),
    "methods": ("name", "year", "kind", "status", "recipes", "paper"),
}


def layer_table(description: Description) -> Table:
    """Every layer, its output and its size, and the sums."""
    names = ("layer", "kind", "output", "neurons", "parameters", "kernel")
    table = grid(*names, right=(3, 4), footer=True)
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
    table = grid(*("what it is" if name == "summary" else name for name in wanted))
    table.columns[0].style = "cyan"
    table.columns[0].no_wrap = True
    for row in rows:
        table.add_row(*(Text(_cell(row[name])) for name in wanted))
    return table


def shelves_table(shelves: Mapping[str, Sequence[str]]) -> Table:
    """What can be listed."""
    table = grid("list", "names")
    table.columns[0].style = "cyan"
    for shelf, names in shelves.items():
        table.add_row(shelf, ", ".join(names))
    return table


def finding_table(findings: Sequence[Finding]) -> Table:
    """What was found on this machine; ``!`` marks what does not work."""
    table = grid(None, None, None, header=False)
    for finding in findings:
        mark = Text("" if finding.ok else "!", "yellow")
        said = Text(finding.found, "" if finding.ok else "yellow")
        if finding.hint:
            said = Text.assemble(said, "\n", (finding.hint, "dim"))
        table.add_row(mark, finding.what, said)
    return table


def grid(
    *columns: str | None, right: Sequence[int] = (), header: bool = True, footer: bool = False
) -> Table:
    """An empty table in the one style of all; without a header it has no lines either."""
    table = Table(
        box=box.SIMPLE_HEAD if header else None,
        show_header=header,
        show_footer=footer,
        pad_edge=False,
        padding=(0, 1 if header else 2, 0, 0),
        header_style="bold",
    )
    for at, name in enumerate(columns):
        table.add_column(name or "", justify="right" if at in right else "left", overflow="fold")
    return table


def _cell(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(_argument(name, default) for name, default in value.items())
    if isinstance(value, list):
        return "\n".join(map(str, value)) or "–"
    return str(value) if value not in (None, "") else "–"


def _argument(name: str, default: Any) -> str:
    if default in (None, [], "..."):
        return name
    return f"{name}={str(default).lower() if isinstance(default, bool) else default}"


__all__ = ["finding_table", "grid", "layer_table", "shelf_table", "shelves_table"]
