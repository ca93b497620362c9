"""Pattern generation: a template of spikes comes three times in noise; a trace is to follow it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spikeloom.data.drawn import poisson

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Patterns:
    """The task of one seed: its template, its target, and inputs drawn around them.

    Args:
        seed: of template and target.
        channels: of the input.
        dt: length of a step [ms].
        length: of the template [ms].
        gap: between its repeats [ms].
        repeats: how often it comes.
        rate: of the template's spikes [Hz].
        noise: of the spikes on top, on all channels and always [Hz].
        components: cosines that the target sums up, at multiples 1, 2, ... of ``base``; that these
            are the multiples is inferred.
        base: frequency of the first [Hz].
    Raises:
        ValueError: a number out of range.
    Source:
        The task and its numbers as in Deng et al., NeurIPS 2025 (arXiv 2508.11644).
    """

    seed: int = 0
    channels: int = 100
    dt: float = 1.0
    length: float = 500.0
    gap: float = 250.0
    repeats: int = 3
    rate: float = 10.0
    noise: float = 2.0
    components: int = 5
    base: float = 0.5

    def __post_init__(self) -> None:
        if min(self.channels, self.repeats, self.components) < 1 or self.seed < 0:
            raise ValueError(
                "channels, repeats and components must be >= 1 and seed >= 0, got "
                f"{self.channels}, {self.repeats}, {self.components} and {self.seed}"
            )
        if not (self.dt > 0 and self.length >= self.dt and self.gap >= 0):
            raise ValueError(
                f"dt must be > 0, length >= dt and gap >= 0 [ms], got {self.dt}, {self.length} and "
                f"{self.gap}"
            )
        if not (0 < self.rate * self.dt <= 1000 and 0 <= self.noise * self.dt <= 1000):
            raise ValueError(
                f"a channel fires at most once a step of {self.dt} ms, got rates of {self.rate} "
                f"and {self.noise} Hz"
            )

    @property
    def T(self) -> int:  # noqa: N802 as everywhere
        """Number of steps: the repeats and the gaps between them."""
        return round((self.repeats * self.length + (self.repeats - 1) * self.gap) / self.dt)

    @property
    def starts(self) -> tuple[int, ...]:
        """The steps at which the template begins."""
        return tuple(round(k * (self.length + self.gap) / self.dt) for k in range(self.repeats))

    def template(self) -> NDArray[np.uint8]:
        """Spikes that come again, [length, channels]."""
        steps = round(self.length / self.dt)
        rate = np.full((steps, self.channels), self.rate)
        return poisson(np.random.default_rng((self.seed, 0)), rate, self.dt)

    def target(self) -> Array:
        """What the output is to be at every step, from -1 to 1, [T]."""
        draw = np.random.default_rng((self.seed, 1))
        amplitude, phase = draw.random((2, self.components, 1))
        multiple = np.arange(1, self.components + 1)[:, None]
        time = self.dt / 1000 * np.arange(self.T)
        found = amplitude * np.cos(2 * np.pi * (self.base * multiple * time + phase))
        trace: Array = found.sum(0)
        least, most = trace.min(), trace.max()
        scaled: Array = 2 * (trace - least) / (most - least) - 1
        return scaled

    def inputs(self, draw: np.random.Generator) -> NDArray[np.uint8]:
        """The template in noise that is drawn anew, [T, channels]."""
        rate = np.full((self.T, self.channels), self.noise)
        found = poisson(draw, rate, self.dt)
        own = self.template()
        for start in self.starts:
            part = found[start : start + len(own)]
            np.maximum(part, own[: len(part)], out=part)
        return found

    def follows(self, y: Array) -> Array:
        """How far outputs differ between repeats, over how far the targets do: [pairs].

        1 where the output follows the target, 0 where it repeats itself with the input.
        """
        target, steps = self.target(), round(self.length / self.dt)
        pieces = [slice(start, start + steps) for start in self.starts]
        return np.array(
            [
                np.square(y[a] - y[b]).sum() / np.square(target[a] - target[b]).sum()
                for k, a in enumerate(pieces)
                for b in pieces[k + 1 :]
            ]
        )
