"""Sequences that are drawn when they are asked for, each from its own random numbers."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Draw = Callable[[np.random.Generator], tuple[NDArray[np.uint8], int]]


@dataclass(frozen=True, eq=False)
class Drawn:
    """Labelled sequences, of which number i is always the same.

    Args:
        count: how many there are.
        draw: makes the steps [T, C] of one of them, and its class.
        seed: of them all; sets with different ones have nothing in common.
    Shape:
        -> x uint8 [B, T, C, 1, 1], y int64 [B]
    Raises:
        ValueError: a count below 1, or a seed below 0.
    """

    count: int
    draw: Draw
    seed: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.count < 1 or min(self.seed) < 0:
            raise ValueError(
                f"counts must be >= 1 and seeds >= 0, got {self.count} and {self.seed}"
            )

    def __len__(self) -> int:
        return self.count

    def __getitems__(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        drawn = [self.draw(np.random.default_rng((*self.seed, at))) for at in indices]
        steps = np.stack([x for x, _ in drawn]) if drawn else np.empty((0, 1, 1), np.uint8)
        y = torch.tensor([label for _, label in drawn], dtype=torch.int64)
        return torch.from_numpy(steps)[..., None, None], y


def poisson(draw: np.random.Generator, rate: NDArray[np.float64], dt: float) -> NDArray[np.uint8]:
    """Whether there is a spike in each step: with probability rate dt, at most one.

    Args:
        draw: random numbers.
        rate: of spikes [Hz].
        dt: length of a step [ms].
    """
    return (draw.random(rate.shape) < rate * dt / 1000).astype(np.uint8)
