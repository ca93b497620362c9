"""Randman: classes are smooth random manifolds, and all that is known is when each input fires."""

import functools
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spikeloom.data.source import Source
from spikeloom.papers import Paper
from spikeloom.registry import register

Array = NDArray[np.float64]
MOST = 1000  # terms of a series


@dataclass(frozen=True, eq=False)
class Manifold:
    """A smooth random surface of some dimensions in the space of the inputs.

    f_j(x) = prod_k sum_i a_jki s_i sin(2 pi (i b_jki x_k + p_jki)),
    s_i = 1 / (|i + 1 - beta|^alpha + 1), beta = 0, for inputs j and own coordinates k.

    Args:
        a, b, p: uniform in [0, 1); a is 0 for i = 0.
        alpha: smoothness.
    Shape:
        a, b, p [C, D, M] for C inputs, D dimensions and M terms
    """

    a: Array
    b: Array
    p: Array
    alpha: float

    @classmethod
    def drawn(
        cls, draw: np.random.Generator, inputs: int, dimensions: int, alpha: float, precision: float
    ) -> "Manifold":
        """One with as many terms as are above ``precision``, at most 1000."""
        terms = min(math.ceil(precision ** (-1 / alpha)), MOST)
        a, b, p = draw.random((3, inputs, dimensions, terms))
        a[..., 0] = 0
        return cls(a, b, p, alpha)

    def __call__(self, x: Array) -> Array:
        """Places on it.

        Shape:
            x [M, D] in 0..1 -> [M, C]
        """
        i = np.arange(self.a.shape[-1])
        scale = 1 / ((i + 1.0) ** self.alpha + 1)
        found = np.ones((len(x), len(self.a)))
        for k in range(x.shape[1]):
            phase = i * self.b[:, k] * x[:, k, None, None] + self.p[:, k]
            found *= (self.a[:, k] * scale * np.sin(2 * np.pi * phase)).sum(-1)
        return found


@dataclass(frozen=True, eq=False)
class SpikeTimes:
    """Sequences in which every input fires once.

    Shape:
        times int64 [M, C], labels int64 [M] -> x uint8 [B, T, C, 1, 1], y int64 [B]
    """

    times: Tensor
    labels: Tensor
    T: int

    def __len__(self) -> int:
        return len(self.labels)

    def __getitems__(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        at = torch.as_tensor(indices, dtype=torch.int64)
        x = torch.zeros(len(at), self.T, self.times.shape[1], dtype=torch.uint8)
        x.scatter_(1, self.times[at][:, None], 1)
        return x[..., None, None], self.labels[at]


@register(
    "dataset",
    "randman",
    paper=Paper(
        key="zenke2021remarkable",
        title="The Remarkable Robustness of Surrogate Gradient Learning for Instilling Complex "
        "Function in Spiking Neural Networks",
        authors=("Friedemann Zenke", "Tim P. Vogels"),
        venue="Neural Computation",
        form="article",
        year=2021,
        url="https://doi.org/10.1162/neco_a_01367",
        code="https://github.com/fzenke/randman",
    ),
)
def randman(
    root: Path | None = None,
    *,
    T: int,
    classes: int = 10,
    inputs: int = 20,
    dimensions: int = 1,
    alpha: float = 2.0,
    precision: float = 1e-3,
    count: int = 1000,
    seed: int = 0,
    download: bool = False,
) -> Source:
    """Randman: each class a smooth random manifold of spike times; every input fires once.

    Rates carry nothing, so a network has to read times. A fifth of the samples of each class, drawn
    by ``seed``, are the test set.

    Args:
        root: not needed, taken so that all data sets are built alike.
        T: number of steps; in a run those of the model.
        classes: number of manifolds.
        inputs: number of inputs.
        dimensions: of a manifold; more are harder.
        alpha: smoothness; less is harder. 1 to 3 are usual.
        precision: share below which terms of the series are left out.
        count: samples of each class, training and test.
        seed: of manifolds and samples.
        download: not needed.
    Shape:
        sequences uint8 [T, C, 1, 1], one spike for each of C inputs
    Raises:
        ValueError: an argument out of range.
    Source:
        Zenke and Vogels, Neural Computation 33(4), 2021.
    """
    del root, download
    if min(classes, inputs, dimensions) < 1 or count < 5 or T < 1:
        raise ValueError(
            f"classes, inputs, dimensions and T must be >= 1 and count >= 5, got {classes}, "
            f"{inputs}, {dimensions}, {T} and {count}"
        )
    if not (alpha > 0 and 0 < precision < 1) or seed < 0:
        raise ValueError(
            f"alpha must be > 0, precision in (0, 1) and seed >= 0, got {alpha}, {precision} and "
            f"{seed}"
        )
    make = functools.partial(
        spike_times, T=T, inputs=inputs, dimensions=dimensions, alpha=alpha, precision=precision
    )
    times = np.stack([make(np.random.default_rng((seed, c)), count) for c in range(classes)])
    held = count // 5
    parts = (_mixed(times[:, held:], seed, T), _mixed(times[:, :held], seed, T))
    names = tuple(f"manifold {c}" for c in range(classes))
    zero, one = (0.0,) * inputs, (1 / 255,) * inputs  # spikes as they are
    return Source("randman", *parts, (inputs, 1, 1), names, zero, one)


def spike_times(
    draw: np.random.Generator,
    count: int,
    *,
    T: int,
    inputs: int,
    dimensions: int,
    alpha: float,
    precision: float,
) -> NDArray[np.int64]:
    """When each input fires, for samples of one class.

    Shape:
        -> [count, inputs] in 0 ... T - 1
    """
    manifold = Manifold.drawn(draw, inputs, dimensions, alpha, precision)
    places = np.concatenate(
        [manifold(x) for x in np.array_split(draw.random((count, dimensions)), 16)]
    )
    least, most = places.min(0), places.max(0)
    share = (places - least) / np.where(most > least, most - least, 1)
    steps: NDArray[np.int64] = np.minimum((share * T).astype(np.int64), T - 1)
    return steps


def _mixed(times: NDArray[np.int64], seed: int, T: int) -> SpikeTimes:
    """Samples of all classes in a drawn order, so that the last ones hold all classes."""
    labels = np.repeat(np.arange(len(times)), times.shape[1])
    order = np.random.default_rng((seed, len(times))).permutation(len(labels))
    flat = times.reshape(-1, times.shape[-1])
    return SpikeTimes(torch.from_numpy(flat[order]), torch.from_numpy(labels[order]), T)
