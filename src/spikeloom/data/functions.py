"""Functions of many frequencies, to see which of them a network learns: sums of sines."""

from math import pi
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from spikeloom.data.source import Plot, Source, TensorNumbers
from spikeloom.layers.grades import PAPER
from spikeloom.registry import register

Array = NDArray[np.float64]


@register("dataset", "sines", paper=PAPER)
def sines(
    root: Path | None = None,
    *,
    setting: int = 1,
    frequencies: int = 20,
    spacing: float = 10.0,
    count: int = 6000,
    held: int = 2000,
    seed: int = 0,
    download: bool = False,
) -> Source:
    """A sum of sines over the unit interval, x -> Σ_j a_j sin(2π κ_j x + φ_j).

    κ_j = j ``spacing`` for j = 1...J, phases φ_j uniform in [0, 2π). Amplitudes a_j by setting: 1,
    all 1; 2, falling in a line from 1 to 1/J; 3, e^-x cos((j - 1) x), as in the authors' code; 4,
    rising in a line from 1/J to 1. Training samples are the grid n / ``count``, then the ``held``
    ones, uniform in [0, 1], to be the validation split: set ``data.val`` to as many. The 2,000
    test samples are uniform as well; ``data.test`` takes the first of them. Nothing is read from
    disk.

    Args:
        root: not needed, taken so that all datasets are built alike.
        setting: which amplitudes, 1 to 4.
        frequencies: J.
        spacing: of the frequencies [cycles in the interval].
        count: points of the grid to train on.
        held: further samples at the end of the training set.
        seed: of phases and places.
        download: not needed.
    Raises:
        ValueError: a setting that is not there, or a count out of range.
    Source:
        Fang and Xu, NeurIPS 2024, settings of the synthetic data.
    """
    del root, download
    _check(setting, 4, frequencies, count, held)
    draw = np.random.default_rng(seed)
    phases = draw.uniform(0, 2 * pi, frequencies)
    grid = np.arange(count) / count
    places = [grid, draw.random(held), draw.random(2000)]
    values = [_sum(x, setting, spacing, phases) for x in places]
    return _source("sines", [x[:, None] for x in places], values, grid, held)


@register("dataset", "manifold", paper=PAPER)
def manifold(
    root: Path | None = None,
    *,
    q: int = 0,
    setting: int = 1,
    frequencies: int = 40,
    spacing: float = 10.0,
    count: int = 12000,
    held: int = 4000,
    seed: int = 0,
    download: bool = False,
) -> Source:
    """A sum of sines of t in [0, 1], seen from the plane: γ(t) -> Σ_j a_j sin(2π κ_j t + φ_j).

    γ(t) = (1 + sin(2π q t) / 2) (cos 2π t, sin 2π t); q = 0 is the circle, on which high
    frequencies are hardest. Amplitudes by setting: 1, rising in a line from 1/J to 1; 2,
    e^-t cos((j - 1) t), j counted as in ``sines``. Splits are as of ``sines``, with
    4,000 test samples.

    Args:
        root: not needed, taken so that all datasets are built alike.
        q: petals of the curve, >= 0.
        setting: which amplitudes, 1 or 2.
        frequencies: J.
        spacing: of the frequencies [cycles in the interval].
        count: evenly spaced t to train on.
        held: further samples at the end of the training set.
        seed: of phases and places.
        download: not needed.
    Raises:
        ValueError: a setting that is not there, q < 0, or a count out of range.
    Source:
        Fang and Xu, NeurIPS 2024; that training samples are evenly spaced is inferred.
    """
    del root, download
    _check(setting, 2, frequencies, count, held)
    if q < 0:
        raise ValueError(f"q counts the petals of the curve, got {q}; use q >= 0")
    draw = np.random.default_rng(seed)
    phases = draw.uniform(0, 2 * pi, frequencies)
    grid = np.arange(count) / count
    times = [grid, draw.random(held), draw.random(4000)]
    values = [_sum(t, {1: 4, 2: 3}[setting], spacing, phases) for t in times]
    return _source("manifold", [_curve(t, q) for t in times], values, grid, held)


def _check(setting: int, last: int, frequencies: int, count: int, held: int) -> None:
    if not 1 <= setting <= last:
        raise ValueError(f"setting is {setting}; there are 1 to {last}")
    if frequencies < 1 or count < 2 or held < 0:
        raise ValueError(
            "frequencies must be >= 1, count >= 2 and held >= 0, got "
            f"{frequencies}, {count} and {held}"
        )


def _sum(x: Array, setting: int, spacing: float, phases: Array) -> Array:
    """The function at x; a sine at a time, so that memory does not grow with their number."""
    total, J = np.zeros_like(x), len(phases)
    for j, phase in enumerate(phases, start=1):
        amplitude = {
            1: np.ones_like(x),
            2: np.full_like(x, 1 - (j - 1) / J),
            3: np.exp(-x) * np.cos((j - 1) * x),
            4: np.full_like(x, j / J),
        }[setting]
        total += amplitude * np.sin(2 * pi * spacing * j * x + phase)
    return total


def _curve(t: Array, q: int) -> Array:
    angle = 2 * pi * t
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    curve: Array = (1 + np.sin(q * angle) / 2)[:, None] * circle
    return curve


def _source(name: str, samples: list[Array], values: list[Array], grid: Array, held: int) -> Source:
    x = [torch.from_numpy(each) for each in samples]
    y = [torch.from_numpy(each)[:, None] for each in values]
    learn = TensorNumbers(torch.cat(x[:2]), torch.cat(y[:2]))
    plot = Plot(x[0], y[0], along=torch.from_numpy(grid))
    return Source(
        name, learn, TensorNumbers(x[2], y[2]), (x[0].shape[1],), measure="rse", outputs=1,
        plot=plot, held=held,
    )  # fmt: skip
