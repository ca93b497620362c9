"""Where along a ray a scene is looked at: evenly, jittered, or drawn where there is something.

Functions are pure: random numbers come in as ``draws`` from 0 to 1, None for the places that
evaluation uses.
"""

import torch
from torch import Tensor

FLOOR = 1e-5  # weight that every bin keeps, and the least share of it that is divided by


def grid(near: Tensor, far: Tensor, count: int) -> Tensor:
    """Even depths t[k] = near + (far - near) k / (K - 1).

    Args:
        near, far: ends of each ray.
        count: K, >= 2.
    Shape:
        near, far [R] -> [R, K]
    Raises:
        ValueError: fewer than two depths.
    Source:
        Mildenhall et al., ECCV 2020; their code.
    """
    if count < 2:
        raise ValueError(f"a ray needs at least two depths, got {count}")
    share = torch.linspace(0, 1, count, dtype=near.dtype, device=near.device)
    return near[:, None] * (1 - share) + far[:, None] * share


def stratified(t: Tensor, draws: Tensor | None = None) -> Tensor:
    """Each depth drawn evenly between the midpoints to its neighbours; ends stay within the ends.

    Args:
        t: increasing depths.
        draws: even random numbers from 0 to 1; None leaves the depths as they are.
    Shape:
        t, draws [R, K] -> [R, K]
    Source:
        Mildenhall et al., ECCV 2020, sec. 4, eq. 2; their code.
    """
    if draws is None:
        return t
    between = midpoints(t)
    lower = torch.cat([t[:, :1], between], dim=1)
    upper = torch.cat([between, t[:, -1:]], dim=1)
    return lower + (upper - lower) * draws


def midpoints(t: Tensor) -> Tensor:
    """Depths halfway between neighbours.

    Shape:
        t [R, K] -> [R, K - 1]
    """
    return 0.5 * (t[:, 1:] + t[:, :-1])


def resampled(t: Tensor, weights: Tensor, count: int, draws: Tensor | None = None) -> Tensor:
    """Depths drawn where a first pass found weight, by the inverse of its distribution function.

    Bins lie between the midpoints of t; a bin has the weight of the depth inside it (the two ends
    have none) plus 1e-5. Nothing here has a gradient.

    Args:
        t: increasing depths of the first pass, K >= 3.
        weights: of these, from compositing.
        count: how many to draw on each ray.
        draws: even random numbers from 0 to 1; None for an even grid of them, ends included.
    Shape:
        t, weights [R, K], draws [R, count] -> [R, count]
    Raises:
        ValueError: fewer than three depths.
    Source:
        Mildenhall et al., ECCV 2020, sec. 5.2; their code's ``sample_pdf``.
    """
    if t.shape[1] < 3:
        raise ValueError(f"resampling needs at least three depths a ray, got {t.shape[1]}")
    with torch.no_grad():
        bins, inner = midpoints(t), weights[:, 1:-1] + FLOOR
        cdf = (inner / inner.sum(1, keepdim=True)).cumsum(1)
        cdf = torch.cat([torch.zeros_like(cdf[:, :1]), cdf], dim=1)
        if draws is None:
            draws = torch.linspace(0, 1, count, dtype=t.dtype, device=t.device).expand(len(t), -1)
        above = torch.searchsorted(cdf, draws.contiguous(), right=True)
        below, above = (above - 1).clamp(min=0), above.clamp(max=cdf.shape[1] - 1)
        (c0, c1), (b0, b1) = ((of.gather(1, below), of.gather(1, above)) for of in (cdf, bins))
        width = c1 - c0
        share = (draws - c0) / torch.where(width < FLOOR, 1.0, width)
        return b0 + share * (b1 - b0)


def joined(t: Tensor, more: Tensor) -> Tensor:
    """Both sets of depths, in increasing order.

    Shape:
        t [R, K], more [R, F] -> [R, K + F]
    """
    return torch.cat([t, more], dim=1).sort(dim=1).values
