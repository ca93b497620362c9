"""Random numbers hashed from what they are for: seed, sample, step, place.

A compiled twin draws the same ones, in whatever order it works. All operations are on integers, or
exact in float32.
"""

import torch
from torch import Tensor

GAMMA, FIRST, SECOND = (
    number - 2**64 for number in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)


def mixed(bits: Tensor) -> Tensor:
    """64 bits from 64 bits, none of which can be told from the others.

    Shape:
        bits int64 [*] -> int64 [*]
    Source:
        Steele, Lea and Flood, OOPSLA 2014 (SplitMix64).
    Example:
        >>> mixed(torch.tensor([0, 1])).tolist()
        [-2152535657050944081, -7995527694508729151]
    """
    bits = bits + GAMMA
    bits = (bits ^ _right(bits, 30)) * FIRST
    bits = (bits ^ _right(bits, 27)) * SECOND
    return bits ^ _right(bits, 31)


def drawn(seed: int, *about: int | Tensor) -> Tensor:
    """64 random bits about these numbers, which are broadcast.

    Args:
        seed: of the draws, in 0..2^63 - 1.
        about: what the number is for, as sample, step and place.
    Shape:
        about [*] each -> int64 [*]
    """
    bits = mixed(torch.tensor(seed))
    for number in about:
        bits = mixed(bits ^ number)
    return bits


def uniform(bits: Tensor) -> Tensor:
    """Numbers in [0, 1), multiples of 2^-24.

    Shape:
        bits int64 [*] -> float32 [*]
    """
    return _right(bits, 40).float() * 2.0**-24


def normal(bits: Tensor) -> Tensor:
    """Numbers of nearly normal distribution: the sum of twelve uniform ones, minus six.

    Mean 0 and variance 1 (to 10^-9), never beyond ±6; excess kurtosis -0.1. An integer scaled by a
    power of two, so there is nothing to round.

    Shape:
        bits int64 [*] -> float32 [*]
    """
    total = torch.zeros_like(bits)
    for _ in range(3):
        for place in (0, 16, 32, 48):
            total = total + (_right(bits, place) & 0xFFFF)
        bits = mixed(bits)
    return (2 * total - 12 * 0xFFFF).float() * 2.0**-17


def _right(bits: Tensor, places: int) -> Tensor:
    """Shifted right with zeros coming in, as if there were no sign."""
    return (bits >> places) & (2 ** (64 - places) - 1) if places else bits
