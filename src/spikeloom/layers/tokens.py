"""Token mixing: a learnt matrix over the places of an image for each group of channels."""

import math

import torch
from torch import Tensor, nn

from spikeloom.functional import token_mixing


class TokenMixing(nn.Module):
    """Mixes the places of an image with learnt weights, those of a head for all its channels.

    y[g, c, m] = sum_n W[g, m, n] x[g, c, n], where tokens m and n are places in rows from the top.

    It has no bias. Weights start normal with std = sqrt(2 / M), so that M active inputs of
    variance 1 give a variance of 2 (Kaiming, fan-out).

    Args:
        channels: D.
        tokens: M, places of the image.
        heads: G, a divisor of D.
    Shape:
        x [N, D, *] with M places -> [N, D, *]; over time inside :class:`OverTime`
    Raises:
        ValueError: heads does not divide channels; when called, another number of places.
    Source:
        Deng, Wu, Du and Gu, NeurIPS 2024 (STMixer); see
        :func:`spikeloom.functional.token_mixing`.
    Example:
        >>> from spikeloom.layers import OverTime
        >>> OverTime(TokenMixing(8, 16, heads=2))(torch.zeros(3, 2, 8, 4, 4)).shape
        torch.Size([3, 2, 8, 4, 4])
    """

    def __init__(self, channels: int, tokens: int, heads: int) -> None:
        super().__init__()
        if heads < 1 or channels % heads:
            raise ValueError(
                f"{channels} channels cannot be shared by {heads} heads; use a divisor"
            )
        self.channels, self.tokens, self.heads = channels, tokens, heads
        self.weight = nn.Parameter(torch.empty(heads, tokens, tokens))
        nn.init.normal_(self.weight, std=math.sqrt(2 / tokens))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = token_mixing(x.flatten(2), self.weight).unflatten(2, x.shape[2:])
        return y

    def extra_repr(self) -> str:
        return f"{self.channels}, tokens={self.tokens}, heads={self.heads}"
