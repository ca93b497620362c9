"""A scene rendered on the terminal: a bar over the rays, then a table."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from spikeloom.cli.output import console_for
from spikeloom.cli.tables import grid
from spikeloom.run.render import Wanted, render

SCORES = {"psnr": ("PSNR dB", ".2f"), "ssim": ("SSIM", ".4f"), "lpips": ("LPIPS", ".4f")}


def render_with_bar(
    folder: Path, wanted: Wanted, out: Path | None, weights: str | None, root: Path | None
) -> dict[str, Any]:
    """Render under a bar, which goes when all rays are done."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    console = console_for(err=True)
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task("rays", total=None)

        def told(done: int, rays: int) -> None:
            bar.update(task, completed=done, total=rays)

        return render(folder, wanted, out=out, weights=weights, root=root, tell=told)


def render_table(found: Mapping[str, Any]) -> Table:
    """Scores of every view, and of all of them."""
    names = [name for name in SCORES if name in found]
    height, width = found["size"]
    table = grid(
        "view", *(SCORES[name][0] for name in names), right=(0, 1, 2, 3)[: 1 + len(names)],
        footer=True,
    )  # fmt: skip
    table.title = (
        f"{height} x {width}, {found['weights']} weights, "
        f"{found['rays_per_second']:,.0f} rays a second"
    )
    table.title_justify, table.title_style = "left", "bold"
    for view in found["views"]:
        table.add_row(str(view["view"]), *(_number(name, view[name]) for name in names))
    means = ("mean", *(_number(name, found[name]) for name in names))
    for column, text in zip(table.columns, means, strict=True):
        column.footer = text
    return table


def _number(name: str, value: float | None) -> str:
    return "" if value is None else f"{value:{SCORES[name][1]}}"


__all__ = ["render_table", "render_with_bar"]
