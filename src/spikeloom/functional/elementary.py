"""Exponential and logarithm in additions, multiplications and shifts of the exponent alone.

Those of libraries differ in the last place from one another; a compiled twin can equal these to the
bit. About 2 units in the last place of float64.
"""

import torch
from torch import Tensor

LOG2_E, LN2_HIGH, LN2_LOW = 1.4426950408889634, 0.6931471803691238, 1.9082149292705877e-10
MAGIC = 1.5 * 2.0**52  # adding it rounds to an integer
SQRT_HALF = 0.7071067811865476
EXP_TERMS = (
    1 / 6227020800, 1 / 479001600, 1 / 39916800, 1 / 3628800, 1 / 362880, 1 / 40320, 1 / 5040,
    1 / 720, 1 / 120, 1 / 24, 1 / 6, 1 / 2, 1.0, 1.0,
)  # fmt: skip
LOG_TERMS = tuple(2 / n for n in range(23, 0, -2))


def exp64(x: Tensor) -> Tensor:
    """e^x = 2^n e^r with |r| <= ln(2) / 2, a Taylor polynomial of degree 13 in r.

    Args:
        x: exponents, |x| < 700.
    Shape:
        x float64 [*] -> float64 [*]
    """
    n = (x * LOG2_E + MAGIC) - MAGIC
    r = (x - n * LN2_HIGH) - n * LN2_LOW
    p = torch.full_like(r, EXP_TERMS[0])
    for term in EXP_TERMS[1:]:
        p = p * r + term
    return p * ((n.to(torch.int64) + 1023) << 52).view(torch.float64)


def log64(x: Tensor) -> Tensor:
    """Ln x = n ln 2 + 2 artanh(s), s = (m - 1) / (m + 1), for x = 2^n m with m in [√½, √2).

    Args:
        x: normal numbers > 0.
    Shape:
        x float64 [*] -> float64 [*]
    """
    m, exponent = torch.frexp(x)
    small = m < SQRT_HALF
    m, n = torch.where(small, m + m, m), exponent.to(torch.float64) - small.to(torch.float64)
    s = (m - 1.0) / (m + 1.0)
    square = s * s
    p = torch.full_like(s, LOG_TERMS[0])
    for term in LOG_TERMS[1:]:
        p = p * square + term
    return (p * s + n * LN2_LOW) + n * LN2_HIGH
