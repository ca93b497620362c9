"""Figures of fitted functions: spectra and residuals of curves, and pictures."""

from collections.abc import Mapping
from math import ceil

import numpy as np
from matplotlib.ticker import MaxNLocator

from spikeloom.report.fit import Array, Fit
from spikeloom.report.palette import MUTED, series
from spikeloom.report.svg import canvas, drawn, inline, label

ACROSS = 2  # pictures beside each other
SIDE = 256  # pixels that a shown picture has at most
SEEN = 0.01  # share of the greatest amplitude from which a frequency is shown


@drawn
def spectra(fit: Fit, *, key: str) -> str:
    """Amplitude of every frequency in the function and in its fit, grade by grade."""
    goal = amplitudes(fit.target)
    last = int(np.flatnonzero(goal >= SEEN * goal.max()).max()) if goal.max() > 0 else 1
    upto = min(len(goal), ceil(1.15 * last) + 2)
    figure = canvas(2.9)
    axes = figure.subplots()
    axes.plot(goal[:upto], color=MUTED.light, linewidth=3.2, alpha=0.45, label="function")
    said = []
    for at, (grade, prediction) in enumerate(fit.predictions.items()):
        found = amplitudes(prediction)
        axes.plot(found[:upto], color=series(at), linewidth=1.2, label=name(fit, grade))
        share = np.minimum(found, goal)[:upto].sum() / max(goal[:upto].sum(), 1e-30)
        said.append(f"{name(fit, grade)} {share:.0%}")
    axes.set_xlabel("cycles")
    axes.set_ylabel("amplitude")
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.grid(axis="y")
    axes.legend(fontsize=8.5, borderpad=0.1, handlelength=2.2)
    alt = f"Spectra: of the function's amplitudes there are in {'; '.join(said)}."
    return inline(figure, key=key, alt=alt)


@drawn
def residuals(fit: Fit, *, key: str) -> str:
    """What the fit leaves over along the curve, a panel for each grade, on one scale."""
    assert fit.along is not None
    figure = canvas(0.5 + 0.95 * len(fit.predictions))
    panels = figure.subplots(len(fit.predictions), 1, squeeze=False, sharex=True, sharey=True)
    said = []
    for axes, (grade, prediction) in zip(panels[:, 0], fit.predictions.items(), strict=True):
        left = (fit.target - prediction).astype(float)
        axes.plot(fit.along, left, linewidth=0.8, color=series(0))
        rms = float(np.sqrt(np.mean(left**2)))
        axes.set_title(f"{name(fit, grade)} · root mean square {rms:.2g}")
        axes.yaxis.set_major_locator(MaxNLocator(3))
        axes.grid(axis="y")
        said.append(f"{name(fit, grade)} {rms:.2g}")
    return inline(figure, key=key, alt=f"Residuals, root mean square: {'; '.join(said)}.")


def pictures(fit: Fit, *, key: str) -> str:
    """The picture and its fit, grade by grade."""
    shown = {"target": fit.target, **{name(fit, g): p for g, p in fit.predictions.items()}}
    return beside(shown, key=key)


@drawn
def beside(shown: Mapping[str, Array], *, key: str) -> str:
    """Pictures of one size beside each other, by what they are called."""
    H, W = next(iter(shown.values())).shape[:2]
    rows = ceil(len(shown) / ACROSS)
    step = max(1, ceil(max(H, W) / SIDE))
    height = H / W
    figure = canvas(rows * (0.25 + 1.9 * min(height, 2.0)))
    grid = figure.subplots(rows, ACROSS, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, (title, pixels) in zip(grid.flat, shown.items(), strict=False):
        axes.imshow(pixels[::step, ::step], interpolation="none")
        axes.set_title(label(title))
    alt = f"Pictures of {H} x {W} pixels: {', '.join(shown)}."
    return inline(figure, key=key, alt=alt)


def amplitudes(values: Array) -> Array:
    """Amplitude of each whole number of cycles, the greatest over outputs.

    Shape:
        values [M, D] -> [M // 2 + 1]
    """
    count = len(values)
    found = 2 * np.abs(np.fft.rfft(values.astype(float), axis=0)) / count
    found[0] /= 2
    greatest: Array = found.max(1)
    return greatest


def name(fit: Fit, grade: str) -> str:
    """What a prediction is called."""
    if len(fit.predictions) == 1:
        return "fit"
    return f"{grade} grade" + ("" if grade == "1" else "s")
