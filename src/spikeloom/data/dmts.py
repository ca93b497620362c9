"""Delayed match to sample: two cues, a second apart; are they the same?"""

import functools
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spikeloom.data.drawn import Drawn, poisson
from spikeloom.data.source import Source
from spikeloom.registry import register

GROUP = 10  # channels of a cue, and of noise
TRAIN, TEST = 0, 1


@register("dataset", "dmts")
def dmts(
    root: Path | None = None,
    *,
    T: int,
    count: int = 32_000,
    test_count: int = 2_000,
    dt: float = 5.0,
    start: float = 50.0,
    cue: float = 100.0,
    delay: float = 800.0,
    rate: float = 40.0,
    noise: float = 10.0,
    seed: int = 0,
    download: bool = False,
) -> Source:
    """Delayed match to sample: a left or right cue, a delay, and a cue again; the same side?

    Ten channels fire for the left cue, ten for the right, and ten make noise throughout. Both
    classes have the same spikes in each cue on average, so only a memory across the delay tells.
    Every sample is drawn anew from its number: one epoch of 32,000 is 1,000 batches of 32 that are
    never seen twice.

    Args:
        root: not needed, taken so that all data sets are built alike.
        T: number of steps; in a run those of the model. 210 steps of 5 ms hold both cues exactly.
        count: training samples.
        test_count: test samples.
        dt: length of a step [ms].
        start: when the first cue comes [ms].
        cue: how long a cue is [ms].
        delay: from the end of the first cue to the second [ms].
        rate: of the channels of a cue, while it is there [Hz].
        noise: of the other ten, always [Hz].
        seed: of all draws.
        download: not needed.
    Shape:
        sequences uint8 [T, 30, 1, 1] of spikes
    Raises:
        ValueError: a time or rate out of range, or too few steps for both cues.
    Source:
        The task and its numbers as in Deng et al., NeurIPS 2025 (arXiv 2508.11644).
    """
    del root, download
    end = start + 2 * cue + delay
    if not (dt > 0 and start >= 0 and cue > 0 and delay >= 0):
        raise ValueError(
            f"dt and cue must be > 0, start and delay >= 0, got {dt}, {cue}, {start} and {delay} ms"
        )
    if not (0 < rate * dt <= 1000 and 0 <= noise * dt <= 1000):
        raise ValueError(
            f"a channel fires at most once a step: rates of {rate} and {noise} Hz need steps "
            f"shorter than {dt} ms"
        )
    if T * dt < end:
        raise ValueError(
            f"both cues are over after {end:g} ms, but T = {T} steps of {dt:g} ms are only "
            f"{T * dt:g} ms; set model.T = {int(np.ceil(end / dt))}"
        )
    first, second = (window(T, dt, at, cue) for at in (start, start + cue + delay))
    draw = functools.partial(sample, T=T, dt=dt, cues=(first, second), rate=rate, noise=noise)
    train, test = Drawn(count, draw, (seed, TRAIN)), Drawn(test_count, draw, (seed, TEST))
    zero, one = (0.0,) * 3 * GROUP, (1 / 255,) * 3 * GROUP  # spikes as they are
    return Source("dmts", train, test, (3 * GROUP, 1, 1), ("mismatch", "match"), zero, one)


def window(T: int, dt: float, start: float, length: float) -> NDArray[np.bool_]:
    """Steps that begin within a stretch of time [ms]."""
    time = dt * np.arange(T)
    inside: NDArray[np.bool_] = (time >= start) & (time < start + length)
    return inside


def sample(
    draw: np.random.Generator,
    *,
    T: int,
    dt: float,
    cues: tuple[NDArray[np.bool_], NDArray[np.bool_]],
    rate: float,
    noise: float,
) -> tuple[NDArray[np.uint8], int]:
    """Spikes [T, 30] of two cues, and whether these are the same."""
    sides = draw.integers(0, 2, 2)
    rates = np.zeros((T, 3 * GROUP))
    rates[:, 2 * GROUP :] = noise
    for inside, side in zip(cues, sides, strict=True):
        rates[inside, side * GROUP : (side + 1) * GROUP] = rate
    return poisson(draw, rates, dt), int(sides[0] == sides[1])
