"""Mean, spread, and the difference of paired samples."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scipy import stats


@dataclass(frozen=True)
class Difference:
    """Mean difference over the n pairs; no spread and no interval below two pairs."""

    n: int
    mean: float | None
    sd: float | None
    interval: tuple[float, float] | None


def mean_sd(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and sample standard deviation, ``sqrt(sum((x - mean)^2) / (n - 1))``; None if n = 1.

    Raises:
        ValueError: no values.
    """
    if not values:
        raise ValueError("mean of no values; give at least one")
    mean = math.fsum(values) / len(values)
    if len(values) == 1:
        return mean, None
    return mean, math.sqrt(math.fsum((x - mean) ** 2 for x in values) / (len(values) - 1))


def paired_difference(
    values: Mapping[int, float], baseline: Mapping[int, float], *, confidence: float = 0.95
) -> Difference:
    """``values - baseline`` over the seeds that both have, with Student's t interval.

    ``mean ± t(confidence, n - 1) sd / sqrt(n)``, for differences that are roughly normal.

    Args:
        values: value by seed.
        baseline: value by seed of what is compared against.
        confidence: how often such intervals hold the true mean difference.
    """
    shared = sorted(values.keys() & baseline.keys())
    if not shared:
        return Difference(0, None, None, None)
    mean, sd = mean_sd([values[seed] - baseline[seed] for seed in shared])
    if sd is None:
        return Difference(1, mean, None, None)
    n = len(shared)
    half = float(stats.t.ppf(0.5 + confidence / 2, n - 1)) * sd / math.sqrt(n)
    return Difference(n, mean, sd, (mean - half, mean + half))
