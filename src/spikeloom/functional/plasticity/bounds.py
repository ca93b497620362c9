"""How the size of a change depends on the weight, and what keeps weights in their range."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Dependence = Literal["power", "exponential", "stabilised"]


@dataclass(frozen=True)
class Bounds:
    """The range of weights, and how a change depends on where in it a weight is.

    With u = (w - low) / (high - low):

    power:        F+ = (high - w)^μ, F- = (w - low)^μ; μ = 0 is additive, 1 multiplicative
    exponential:  F+ = exp(-β u), F- = exp(-β (1 - u))
    stabilised:   F+ = F- = (w - low) (high - w)

    Args:
        low, high: the range; clipped to after every change.
        dependence: of a change on the weight.
        mu: exponent of ``power``, >= 0.
        beta: slope of ``exponential``.
    Raises:
        ValueError: high <= low, mu < 0, or an unknown name.
    Source:
        Power: Morrison, Diesmann and Gerstner (2008); exponential: as in the simulators of
        Querlioz and of Falez; stabilised: Kheradpisheh et al. (2018). Read in code.
    """

    low: float = 0.0
    high: float = 1.0
    dependence: Dependence = "power"
    mu: float = 0.0
    beta: float = 1.0

    def __post_init__(self) -> None:
        if not self.high > self.low:
            raise ValueError(f"weights need a range, got low = {self.low}, high = {self.high}")
        if self.dependence not in ("power", "exponential", "stabilised"):
            raise ValueError(
                f"dependence is {self.dependence!r}; use 'power', 'exponential' or 'stabilised'"
            )
        if not self.mu >= 0:
            raise ValueError(f"mu is an exponent >= 0, got {self.mu}")

    @property
    def additive(self) -> bool:
        """Whether changes do not depend on the weight."""
        return self.dependence == "power" and self.mu == 0

    def grow(self, w: Tensor) -> Tensor | float:
        """F+ of those weights."""
        if self.dependence == "power":
            return (self.high - w) ** self.mu if self.mu else 1.0
        if self.dependence == "exponential":
            return torch.exp(-self.beta * (w - self.low) / (self.high - self.low))
        return (w - self.low) * (self.high - w)

    def shrink(self, w: Tensor) -> Tensor | float:
        """F- of those weights."""
        if self.dependence == "power":
            return (w - self.low) ** self.mu if self.mu else 1.0
        if self.dependence == "exponential":
            return torch.exp(-self.beta * (self.high - w) / (self.high - self.low))
        return (w - self.low) * (self.high - w)

    def clip(self, w: Tensor) -> Tensor:
        """The weights within the range."""
        return w.clamp(self.low, self.high)


def normalised(w: Tensor, total: float) -> Tensor:
    """Weights scaled so that those into each neuron add up to ``total``.

    w_j <- w_j total / sum_i w_ji; a neuron whose weights add up to 0 keeps them.

    Shape:
        w [O, I] -> [O, I]
    """
    sums = w.sum(1, keepdim=True)
    return w * torch.where(sums == 0, 1.0, total / torch.where(sums == 0, 1.0, sums))
