"""What kind of values a layer reads: spikes, signed spikes or numbers. Told by the values alone."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Kind = Literal["binary", "ternary", "graded"]


@dataclass
class Values:
    """The values seen so far at one place.

    All that are not zero have one magnitude: ``binary`` with one sign, ``ternary`` with both. That
    magnitude is a factor of the weights, so such a value chooses weights and multiplies none.
    So does a level of 1 or 2, as often; whoever knows that values are ``levels`` says so, and they
    are ``ternary``. Anything else is ``graded``: images, potentials, averages of spikes, sums of
    several spikes.
    """

    least: float = float("inf")
    most: float = 0.0
    positive: bool = False
    negative: bool = False
    levels: bool = False

    def see(self, x: Tensor) -> None:
        """Take in more values.

        Shape:
            x [*]
        """
        if not x.numel():
            return
        low, high = (float(end) for end in x.aminmax())
        size = x.abs()
        least = float(torch.where(size > 0, size, torch.inf).min())
        self.least = min(self.least, least)
        self.most = max(self.most, -low, high)
        self.positive |= high > 0
        self.negative |= low < 0

    @property
    def kind(self) -> Kind:
        """What they are; nothing but zeros counts as spikes that did not come."""
        if self.most and self.least != self.most:
            return "ternary" if self.levels else "graded"
        return "ternary" if self.positive and self.negative else "binary"


def kind_of(x: Tensor) -> Kind:
    """What kind of values a tensor holds.

    Shape:
        x [*]
    Example:
        >>> kind_of(torch.tensor([0.0, 0.5, 0.5])), kind_of(torch.tensor([0.25, 0.5]))
        ('binary', 'graded')
    """
    values = Values()
    values.see(x)
    return values.kind


__all__ = ["Kind", "Values", "kind_of"]
