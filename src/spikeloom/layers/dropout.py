"""Dropout whose mask is shared by all time steps."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Dropout(nn.Module):
    """Zeroes the same elements at every time step, with probability ``p``, while training.

    y[t] = x[t] m / (1 - p) with one mask m ~ Bernoulli(1 - p) of shape [N, *] for all t.

    Shape:
        x_seq [T, N, *] -> [T, N, *]
    Raises:
        ValueError: p outside [0, 1).
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"p must be in [0, 1), got {p}")
        self.p = p

    def forward(self, x_seq: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x_seq
        return x_seq * F.dropout(torch.ones_like(x_seq[0]), self.p)

    def extra_repr(self) -> str:
        return f"p={self.p}"
