"""Places as sines and cosines of rising frequency, so that a network can tell near ones apart."""

import torch
from torch import Tensor


def frequency_encoding(p: Tensor, levels: int) -> Tensor:
    """A vector beside sines and cosines of it at doubling frequencies.

    gamma(p) = [p, sin(2^0 p), cos(2^0 p), ..., sin(2^(L-1) p), cos(2^(L-1) p)]

    The paper has a factor pi at every frequency and leaves p itself out; this is its code.

    Args:
        p: places or directions.
        levels: L, >= 0.
    Shape:
        p [*, D] -> [*, D (1 + 2L)]
    Raises:
        ValueError: levels < 0.
    Source:
        Mildenhall et al., ECCV 2020, sec. 5.1, eq. 4; their code.
    Example:
        >>> frequency_encoding(torch.zeros(3), 2).tolist()[:9]
        [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0]
    """
    if levels < 0:
        raise ValueError(f"an encoding has levels >= 0, got {levels}")
    scale = 2.0 ** torch.arange(levels, dtype=p.dtype, device=p.device)
    angle = scale[:, None] * p[..., None, :]  # [*, L, D]
    waves = torch.stack([angle.sin(), angle.cos()], dim=-2)  # [*, L, 2, D]
    return torch.cat([p, waves.flatten(-3)], dim=-1)


def encoded_width(features: int, levels: int) -> int:
    """How many numbers :func:`frequency_encoding` makes of so many."""
    return features * (1 + 2 * levels)
