"""What a stream of events must keep to."""

from math import prod

import torch
from torch import Tensor

from spikeloom.functional.program import Shape


def check_options(steps: int | None, dtype: torch.dtype) -> None:
    """Raise ValueError unless a stream can be opened so."""
    if steps is not None and steps < 1:
        raise ValueError(f"a stream has 1 step at least, or None for no end, got {steps}")
    if dtype not in (torch.float64, torch.float32):
        raise ValueError(f"potentials are float64 or float32, got {dtype}")


def check_events(
    time: Tensor, index: Tensor, value: Tensor, shape: Shape, now: int, steps: int | None
) -> None:
    """Raise ValueError unless these are events that the network may still get."""
    whole = not (time.is_floating_point() or index.is_floating_point())
    if not (whole and time.dim() == 1 and time.shape == index.shape == value.shape):
        raise ValueError(
            "events are whole steps [E], whole indices [E] and values [E], got "
            f"{tuple(time.shape)} {time.dtype}, {tuple(index.shape)} {index.dtype} and "
            f"{tuple(value.shape)}"
        )
    if not len(time):
        return
    first, last = (int(end) for end in time.aminmax())
    if first < now or (steps is not None and last >= steps):
        until = "on" if steps is None else f"to {steps - 1}"
        raise ValueError(f"the stream takes events from step {now} {until}, got {first} to {last}")
    low, high = (int(end) for end in index.aminmax())
    if low < 0 or high >= prod(shape):
        raise ValueError(f"the input has indices 0 to {prod(shape) - 1}, got {low} to {high}")
    if not value.isfinite().all():
        raise ValueError("an event is worth a finite number, got NaN or infinity")


def check_until(until: int, now: int, steps: int | None) -> None:
    """Raise ValueError unless the stream can go on to this step."""
    if until < now or (steps is not None and until > steps):
        to = "on" if steps is None else f"to {steps}"
        raise ValueError(f"the stream is at step {now} and can go from there {to}, got {until}")
