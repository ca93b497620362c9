"""Dspike: a tanh cut and stretched to go from 0 to 1 over a window, with one temperature."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from spikeloom.functional.surrogate import Surrogate
from spikeloom.papers import Paper
from spikeloom.registry import register

PAPER = Paper(
    key="li2021dspike",
    title="Differentiable Spike: Rethinking Gradient-Descent for Training Spiking Neural Networks",
    authors=(
        "Yuhang Li",
        "Yufei Guo",
        "Shanghang Zhang",
        "Shikuang Deng",
        "Yongqing Hai",
        "Shi Gu",
    ),
    venue="Advances in Neural Information Processing Systems",
    year=2021,
    url="https://openreview.net/forum?id=H4e7mBnC9f0",
)


@register("surrogate", "dspike", paper=PAPER, status="exact")
@dataclass(frozen=True)
class Dspike(Surrogate):
    """grad = α b / (2 tanh(b/2)) sech²(b α u) where α|u| <= 1/2, else 0.

    The primitive goes from 0 at α u = -1/2 to 1 at α u = 1/2: a straight line for a small
    temperature b, a step for a large one. In the paper's scaled potential v = u / V_s with the
    firing level at 1/2 this is v - 1/2 = α u, α = 1 / V_s: a firing level of 1 has the window
    [0, 2], so ``alpha = 0.5``.

    Source: Li et al., NeurIPS 2021, with the formula as in a page of the authors' laboratory.
    """

    b: float = 3.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.b < math.inf:
            raise ValueError(f"Dspike: the temperature b must be > 0, got {self.b}")

    @property
    def peak(self) -> float:
        """The slope at the threshold, at α = 1."""
        return self.b / (2 * math.tanh(self.b / 2))

    def slope(self, z: Tensor) -> Tensor:
        q = torch.sigmoid(2 * self.b * z)
        return torch.where(z.abs() <= 0.5, 4 * self.peak * (q * (1 - q)), 0.0)

    def curve(self, z: Tensor) -> Tensor:
        inner = torch.tanh(self.b * z.clamp(-0.5, 0.5))
        return 0.5 + inner / (2 * math.tanh(self.b / 2))
