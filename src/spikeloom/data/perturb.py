"""What may happen to recorded events: they are lost, added, moved, or time runs faster.

Pure functions of sequences of counts, which change every sample of a batch in its own way. What is
drawn comes from ``generator`` or else torch's global one, on the CPU whatever the device, so that
the same state gives the same events everywhere.
"""

from math import ceil, prod

import torch
from torch import Generator, Tensor

MOST = 255  # events of one place and step that are counted


def drop(x: Tensor, p: float, generator: Generator | None = None) -> Tensor:
    """Each event is lost with probability p, whatever happens to the others.

    What is left of a count n is binomial, with mean (1 - p) n.

    Args:
        x: counts of events.
        p: in [0, 1].
    Shape:
        x [B, T, *] -> [B, T, *]
    Raises:
        ValueError: p out of range, or x does not hold counts.
    """
    if not 0 <= p <= 1:
        raise ValueError(f"p is the share of events that are lost, 0..1, got {p}")
    at = _apart(x)
    kept = torch.rand(len(at), generator=generator) >= p
    return _together(at[kept.to(x.device)], x, x.shape[1], MOST)


def add(x: Tensor, rate: float, generator: Generator | None = None, *, most: int = MOST) -> Tensor:
    """Noise: a Poisson number of events, with mean ``rate``, more at every place and step.

    Args:
        x: counts of events.
        rate: events per place and step, >= 0.
        most: events of one place and step that are counted.
    Shape:
        x [B, T, *] -> [B, T, *]
    Raises:
        ValueError: a rate out of range, or x does not hold counts.
    """
    if not 0 <= rate <= MOST:
        raise ValueError(f"rate is a number of events per place and step, 0..{MOST}, got {rate}")
    at = _apart(x)
    # A Poisson number for all places, each at any of them, is a Poisson number for each.
    count = int(torch.poisson(torch.tensor(rate * x.numel(), dtype=torch.float64), generator))
    where = torch.randint(max(x.numel(), 1), (count,), generator=generator).to(x.device)
    new = torch.stack(torch.unravel_index(where, x.shape), 1)
    return _together(torch.cat([at, new]), x, x.shape[1], most)


def jitter(x: Tensor, sd: float, generator: Generator | None = None, *, most: int = MOST) -> Tensor:
    """Each event moves in time by a normal number of steps, rounded; none is lost.

    Those that would leave the recording are mirrored at its ends.

    Args:
        x: counts of events.
        sd: standard deviation of the shift [steps], >= 0.
        most: events of one place and step that are counted.
    Shape:
        x [B, T, *] -> [B, T, *]
    Raises:
        ValueError: a deviation out of range, or x does not hold counts.
    """
    T = x.shape[1]
    if not 0 <= sd <= 1e6:
        raise ValueError(f"sd is the deviation of a shift [steps], 0..1e6, got {sd}")
    at = _apart(x)
    shift = (sd * torch.randn(len(at), generator=generator)).round().long()
    moved = (at[:, 1] + shift.to(x.device)) % (2 * T)
    at[:, 1] = torch.minimum(moved, 2 * T - 1 - moved)
    return _together(at, x, T, most)


def warp(
    x: Tensor,
    factor: float | Tensor,
    generator: Generator | None = None,
    *,
    T: int | None = None,
    most: int = MOST,
) -> Tensor:
    """Time runs slower by a factor, above 1, or faster, below 1: events come as much later.

    step' = floor(factor (step + u)), u uniform in [0, 1): where in its step an event was is not
    known. With :func:`warped_steps` none is lost, else those that come after the last step are.

    Args:
        x: counts of events.
        factor: > 0, one for all samples or one for each.
        T: number of steps afterwards; as many as before if None.
        most: events of one place and step that are counted.
    Shape:
        x [B, T, *], factor [B] -> [B, T', *]
    Raises:
        ValueError: a factor out of range, T < 1, or x does not hold counts.
    """
    factors = torch.as_tensor(factor, dtype=torch.float64).expand(len(x))
    T = x.shape[1] if T is None else T
    if T < 1 or not bool(((factors > 0) & factors.isfinite()).all()):
        raise ValueError(f"factors must be > 0 and finite, T >= 1; got {factor} and T = {T}")
    at = _apart(x)
    within = torch.rand(len(at), generator=generator, dtype=torch.float64).to(x.device)
    at[:, 1] = (factors.to(x.device)[at[:, 0]] * (at[:, 1] + within)).long()
    return _together(at[at[:, 1] < T], x, T, most)


def warped_steps(T: int, factor: float) -> int:
    """Steps that hold all of T steps whose time is warped by a factor."""
    return ceil(T * factor)


def roll(x: Tensor, shift: Tensor, axis: int) -> Tensor:
    """Each sample shifted along an axis by its own number; what leaves comes in at the other end.

    Shape:
        x [B, *], shift int64 [B] -> [B, *]
    """
    n = x.shape[axis]
    index = (torch.arange(n) - shift[:, None]).to(x.device) % n
    sides = [1] * x.dim()
    sides[0], sides[axis] = len(x), n
    return torch.take_along_dim(x, index.view(sides), axis)


def fullest(x: Tensor) -> int:
    """Events that a place and step may hold: 1 if none of x has more, else 255.

    What is binary, spikes or no spikes, is to stay so.
    """
    return 1 if not x.numel() or float(x.max()) <= 1 else MOST


def _apart(x: Tensor) -> Tensor:
    """Where each event is, along every axis: [E, axes], of one place and step as many as it has."""
    if x.dim() < 2:
        raise ValueError(f"expected sequences [B, T, *], got {tuple(x.shape)}")
    at = x.nonzero()
    value = x[tuple(at.unbind(1))]
    count = value.long()
    if not bool(((count == value) & (count >= 0)).all()):
        raise ValueError(
            "expected counts of events, whole numbers >= 0; got values from "
            f"{float(value.min()):g} to {float(value.max()):g}"
        )
    return at.repeat_interleave(count, 0)


def _together(at: Tensor, like: Tensor, T: int, most: int) -> Tensor:
    """Counts of events of T steps, of the dtype of ``like``."""
    shape = (len(like), T, *like.shape[2:])
    flat = torch.zeros(len(at), dtype=torch.int64, device=like.device)
    for index, side in zip(at.unbind(1), shape, strict=True):
        flat = flat * side + index
    count = torch.bincount(flat, minlength=prod(shape)).clamp(max=most)
    return count.view(shape).to(like.dtype)


__all__ = ["MOST", "add", "drop", "fullest", "jitter", "roll", "warp", "warped_steps"]
