"""Figures of what a network did with one input: the input, its spikes, its potentials."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from spikeloom.report.palette import MUTED, PIXEL, SERIES, rgb
from spikeloom.report.svg import canvas, drawn, inline, label

Array = NDArray[Any]

THRESHOLD = SERIES[1]
TRACES = tuple(colour for colour in SERIES if colour is not THRESHOLD)
OFF, ON = SERIES[1].light, PIXEL


@drawn
def raster(spikes: Mapping[str, Array], *, key: str) -> str:
    """A row per neuron, a column per time step, a mark where the neuron fired.

    Shape:
        spikes of each layer [T, neurons], 0 where silent
    """
    # A row lower than a pixel could lose its spikes, so many neurons make a tall panel.
    figure, panels = _panels([max(0.3, 0.0145 * fired.shape[1]) for fired in spikes.values()])
    for axes, (layer, fired) in zip(panels, spikes.items(), strict=True):
        T, neurons = fired.shape
        marks = np.zeros((neurons, T, 4))
        marks[..., :3] = rgb(PIXEL)
        marks[..., 3] = (fired != 0).T
        extent = (0.5, T + 0.5, 0.5, neurons + 0.5)
        axes.imshow(marks[::-1], interpolation="none", aspect="auto", extent=extent)
        axes.set_yticks([1, neurons] if neurons > 1 else [1])
        axes.set_title(f"{label(layer)} · rate {(fired != 0).mean():.3f}")
    _time_axis(panels[-1])
    said = "; ".join(
        f"{label(layer)} {np.count_nonzero(fired)} spikes of {fired.shape[1]} neurons"
        for layer, fired in spikes.items()
    )
    return inline(figure, key=key, alt=f"Spike raster: {said}.")


@drawn
def traces(
    potential: Mapping[str, Array], threshold: Mapping[str, float] | None = None, *, key: str
) -> str:
    """The membrane potential of some neurons of each layer, and the threshold where it is known.

    Shape:
        potential of each layer [T, neurons]
    """
    figure, panels = _panels([0.68] * len(potential))
    known = threshold or {}
    for axes, (layer, v_seq) in zip(panels, potential.items(), strict=True):
        steps = np.arange(1, len(v_seq) + 1)
        finite = np.where(np.isfinite(v_seq), v_seq, np.nan)
        marker = "o" if len(steps) <= 12 else ""
        for at, v in enumerate(finite.T):
            colour = TRACES[at % len(TRACES)].light
            axes.plot(steps, v, color=colour, linewidth=1.1, marker=marker, markersize=2.5)
        if layer in known:
            axes.axhline(known[layer], color=THRESHOLD.light, linestyle="--", linewidth=1.1)
            axes.set_title(f"{label(layer)} · threshold {known[layer]:g}")
        else:
            axes.set_title(label(layer))
        axes.yaxis.set_major_locator(MaxNLocator(3))
        axes.grid(axis="y")
    _time_axis(panels[-1])
    said = "; ".join(
        f"{label(layer)} {_range(v_seq[np.isfinite(v_seq)])}" for layer, v_seq in potential.items()
    )
    return inline(figure, key=key, alt=f"Membrane potentials: {said}.")


@drawn
def picture(image: Array, *, key: str) -> str:
    """The input: grey for one channel, colour for three, off and on events for two, else the mean.

    Shape:
        image [C, H, W]
    """
    channels, height, width = image.shape
    shown = _stretched(image)
    if channels == 2:
        off, on = shown[0, ..., None], shown[1, ..., None]
        colours = off * np.array(rgb(OFF)) + on * np.array(rgb(ON))
        pixels = np.concatenate([np.clip(colours, 0, 1), np.maximum(off, on)], axis=-1)
    elif channels == 3:
        pixels = shown.transpose(1, 2, 0)
    else:
        pixels = np.repeat(shown.mean(0)[..., None], 3, axis=-1)
    figure = canvas(2.5 * min(height / width, 1.0))
    axes = figure.subplots()
    axes.imshow(pixels, interpolation="none")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(True)
    axes.spines[:].set_color(MUTED.light)
    said = f"The input: {channels} x {height} x {width} values."
    return inline(figure, key=key, alt=said)


def _range(finite: Array) -> str:
    return f"from {finite.min():.3g} to {finite.max():.3g}" if finite.size else "never finite"


def _stretched(image: Array) -> NDArray[np.float64]:
    """Values brought to [0, 1]; kept as they are if they already lie there."""
    values: NDArray[np.float64] = np.nan_to_num(image.astype(float), posinf=0.0, neginf=0.0)
    low, high = values.min(), values.max()
    if low >= 0.0 and high <= 1.0:
        return values
    scale = float(high - low) or 1.0
    stretched: NDArray[np.float64] = (values - low) / scale
    return stretched


def _panels(heights: Sequence[float]) -> tuple[Figure, list[Axes]]:
    """Axes below each other, of about these heights [inches]."""
    figure = canvas(0.5 + sum(heights) + 0.27 * len(heights))
    grid = figure.subplots(
        len(heights), 1, squeeze=False, sharex=True, gridspec_kw={"height_ratios": heights}
    )
    return figure, list(grid[:, 0])


def _time_axis(axes: Axes) -> None:
    axes.set_xlabel("time step")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
