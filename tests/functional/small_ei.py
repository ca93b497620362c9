"""A network of a dozen neurons that fires, for tests."""

import torch
from torch import Tensor

from spikeloom.functional import EICell

CELL = EICell(excitatory=9)


def weights(inputs: int = 7, *, seed: int = 0, gain: float = 6.0) -> Tensor:
    """Signed, of a third of all pairs; sizes in [0.05, 1] gain."""
    generator = torch.Generator().manual_seed(seed)
    shape = 12, inputs + 12
    size = gain * (0.05 + 0.95 * torch.rand(shape, generator=generator))
    there = torch.rand(shape, generator=generator) < 0.35
    sign = torch.where(torch.arange(inputs + 12) < inputs + CELL.excitatory, 1.0, -1.0)
    return size * there * sign


def intensities(T: int, N: int, inputs: int = 7, *, seed: int = 0) -> Tensor:
    """The same at every step, a third of them 0."""
    generator = torch.Generator().manual_seed(seed)
    p = (1.2 * torch.rand(N, inputs, generator=generator) - 0.4).clamp(0, 1)
    return p.expand(T, N, inputs)
