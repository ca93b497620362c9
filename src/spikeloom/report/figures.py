"""Figures of numbers: curves, bars, dots and the confusion matrix, each as inline SVG."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter
from numpy.typing import NDArray

from spikeloom.report.palette import INK, MUTED, PIXEL, SERIES, rgb, series
from spikeloom.report.svg import canvas, drawn, inline, label
from spikeloom.report.wording import NARROW, amount, is_share

Array = NDArray[Any]
Line = Sequence[float | None]
Band = tuple[Sequence[float], Sequence[float], Sequence[float | None]]  # x, mean, sd

DASHES = ("-", "--", "-.", ":")
NAMED_CLASSES = 30  # more names than this do not fit on an axis
COUNTED_CLASSES = 12  # nor more counts than this into the cells


@drawn
def curves(
    lines: Mapping[str, Line],
    *,
    name: str,
    key: str,
    over: str = "epoch",
    breaks: Sequence[int] = (),
    log: bool = False,
) -> str:
    """Lines over the positions 1, 2, ...; they pass over None and break at what is not finite.

    Args:
        lines: values by the name of the line.
        name: what the values are.
        key: prefix of ids, unique on the page.
        over: what a position is.
        breaks: positions where a new phase starts.
        log: a logarithmic axis, for positive values only.
    """
    figure = canvas(2.5)
    axes = figure.subplots()
    for at, (line, values) in enumerate(lines.items()):
        x = [place for place, value in enumerate(values, start=1) if value is not None]
        y = np.array([v if math.isfinite(v) else math.nan for v in values if v is not None])
        axes.plot(x, y, label=label(line), **_look(at), **_marker(y))
    for place in breaks:
        axes.axvline(place - 0.5, color=MUTED.light, linewidth=0.8, linestyle=":")
    if log:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    _dress(axes, name, over, legend=len(lines) > 1)
    said = "; ".join(f"{label(line)} {_course(values)}" for line, values in lines.items())
    return inline(figure, key=key, alt=f"Line chart of {name} by {over}: {said}.")


@drawn
def bands(
    arms: Mapping[str, Band], *, name: str, key: str, over: str = "epoch", whole: bool = True
) -> str:
    """The mean of each arm as a line, and one standard deviation to each side as a band.

    ``whole`` says that positions are whole numbers, and so are the marks of the axis.
    """
    figure = canvas(2.9)
    axes = figure.subplots()
    for at, (arm, (x, mean, sd)) in enumerate(arms.items()):
        axes.plot(x, mean, label=label(arm), **_look(at), **_marker(np.array(mean, float)))
        if None not in sd:
            low, high = np.array(mean) - np.array(sd), np.array(mean) + np.array(sd)
            axes.fill_between(x, low, high, color=series(at), alpha=0.18, linewidth=0)
    _dress(axes, name, over, legend=True, whole=whole)
    said = "; ".join(f"{label(arm)} {_course(mean)}" for arm, (_, mean, _) in arms.items())
    return inline(figure, key=key, alt=f"Line chart of mean {name} by {over}: {said}.")


@drawn
def dots(arms: Mapping[str, Sequence[float]], *, name: str, key: str) -> str:
    """Every value as a dot on the row of its arm, and the mean as an upright stroke."""
    figure = canvas(0.8 + 0.34 * len(arms))
    axes = figure.subplots()
    for at, values in enumerate(arms.values()):
        axes.plot(values, [at] * len(values), "o", color=series(at), alpha=0.75, markersize=5)
        axes.plot([np.mean(values)], [at], "|", color=INK.light, markersize=14)
    axes.set_yticks(range(len(arms)), [label(arm) for arm in arms])
    axes.set_ylim(len(arms) - 0.5, -0.5)
    axes.set_xlabel(label(name))
    if is_share(name):
        axes.xaxis.set_major_formatter(FuncFormatter(_per_cent))
    axes.grid(axis="x")
    said = "; ".join(f"{label(arm)} {min(v):.4g} to {max(v):.4g}" for arm, v in arms.items())
    return inline(figure, key=key, alt=f"Dot plot of {name} by arm: {said}.")


@drawn
def rate_bars(rates: Mapping[str, float], *, key: str) -> str:
    """One bar per layer: spikes per neuron and time step."""
    figure = canvas(0.75 + 0.24 * len(rates))
    axes = figure.subplots()
    shown = [rate if math.isfinite(rate) else 0.0 for rate in rates.values()]
    axes.barh(range(len(shown)), shown, height=0.62, color=SERIES[0].light)
    top = max(shown, default=0.0) or 1.0
    for at, (length, rate) in enumerate(zip(shown, rates.values(), strict=True)):
        axes.text(length + 0.02 * top, at, f"{rate:.3f}", va="center", fontsize=8.5)
    axes.set_yticks(range(len(shown)), [label(layer) for layer in rates])
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_xlim(0, 1.22 * top)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.set_xlabel("spikes per neuron and step")
    axes.grid(axis="x")
    said = "; ".join(f"{label(layer)} {rate:.3f}" for layer, rate in rates.items())
    return inline(figure, key=key, alt=f"Bar chart of firing rates by layer: {said}.")


@drawn
def cost_bars(costs: Mapping[str, tuple[float, float]], *, key: str, limit: int = 24) -> str:
    """One bar for each name: energy of compute, and behind it that of memory [microjoule]."""
    figure = canvas(1.0 + 0.24 * len(costs))
    axes = figure.subplots()
    places = range(len(costs))
    compute = [pair[0] for pair in costs.values()]
    memory = [pair[1] for pair in costs.values()]
    axes.barh(places, compute, height=0.62, color=SERIES[0].light, label="compute")
    axes.barh(places, memory, 0.62, compute, color=SERIES[1].light, label="memory")
    top = max((sum(pair) for pair in costs.values()), default=0.0) or 1.0
    for at, pair in enumerate(costs.values()):
        axes.text(sum(pair) + 0.02 * top, at, amount(sum(pair)), va="center", fontsize=8.5)
    axes.set_yticks(places, [label(name, limit) for name in costs])
    axes.set_ylim(len(costs) - 0.4, -0.6)
    axes.set_xlim(0, 1.25 * top)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.set_xlabel("µJ for one sample")
    axes.grid(axis="x")
    figure.legend(loc="outside upper right", ncols=2, fontsize=8.5, borderpad=0.1)
    said = "; ".join(
        f"{label(name, limit)} {amount(pair[0])} compute, {amount(pair[1])} memory"
        for name, pair in costs.items()
    )
    return inline(figure, key=key, alt=f"Bar chart of energy in microjoules: {said}.")


@drawn
def confusion_matrix(
    counts: Sequence[Sequence[int]], class_names: Sequence[str], *, key: str
) -> str:
    """A shade per true (row) and predicted (column) class: the share of the row.

    Raises:
        ValueError: the counts are not square, or there are names, but not one per class.
    """
    table = _square(counts, class_names)
    size = len(table)
    share = table / np.maximum(table.sum(1, keepdims=True), 1)
    shades = np.empty((size, size, 4))
    shades[..., :3] = rgb(PIXEL)
    # Under a count never so dark that it cannot be read.
    shades[..., 3] = share * (0.62 if size <= COUNTED_CLASSES else 1.0)
    figure = canvas(3.9)
    axes = figure.subplots()
    axes.imshow(shades, interpolation="none", aspect="equal")
    axes.spines[:].set_visible(True)
    if size <= COUNTED_CLASSES:
        fontsize = 8.5 if table.max() < 1000 else 7.0
        for (row, column), count in np.ndenumerate(table):
            if count:
                axes.text(column, row, f"{count}", ha="center", va="center", fontsize=fontsize)
    if size <= NAMED_CLASSES:
        names = [label(name, 14) for name in class_names or range(size)]
        fontsize = 8.5 if size <= COUNTED_CLASSES else 6.5
        upright = 90 if max(map(len, names)) > 2 else 0
        axes.set_xticks(range(size), names, rotation=upright, fontsize=fontsize)
        axes.set_yticks(range(size), names, fontsize=fontsize)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    right = np.trace(table) / max(table.sum(), 1)
    said = f"Confusion matrix of {size} classes: {right:.1%} of {table.sum()} on the diagonal."
    return inline(figure, key=key, alt=said)


def _square(counts: Sequence[Sequence[int]], class_names: Sequence[str]) -> Array:
    size = len(counts)
    if not size or any(len(row) != size for row in counts):
        raise ValueError(f"confusion has rows of {[len(row) for row in counts]}, expected a square")
    if class_names and len(class_names) != size:
        raise ValueError(f"confusion is {size} x {size}, but there are {len(class_names)} names")
    return np.array(counts)


def _look(at: int) -> dict[str, Any]:
    # The dash differs too, so lines can be told apart in grey, and beyond the last colour.
    return {"color": series(at), "linestyle": DASHES[(at + at // len(SERIES)) % len(DASHES)]}


def _marker(values: Array) -> dict[str, Any]:
    """Points are marked where a line alone would hide them: few of them, or gaps."""
    few = len(values) <= 12 or bool(np.isnan(values).any())
    return {"marker": "o", "markersize": 3.0} if few else {}


def _dress(axes: Axes, name: str, over: str, *, legend: bool, whole: bool = True) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=whole, min_n_ticks=1))
    axes.set_xlabel(over)
    axes.set_title(label(name, 40))
    axes.grid(axis="y")
    if is_share(name):
        axes.yaxis.set_major_formatter(FuncFormatter(_per_cent))
    if legend:
        axes.legend(fontsize=8.5, borderpad=0.1, handlelength=2.2)


def _per_cent(value: float, _: int | None) -> str:
    return f"{100 * value:.6g}{NARROW}%"


def _course(values: Line) -> str:
    seen = [value for value in values if value is not None and math.isfinite(value)]
    return f"from {seen[0]:.4g} to {seen[-1]:.4g}" if seen else "without finite values"
