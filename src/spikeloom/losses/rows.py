"""What losses ask of logits and targets: rows that belong together, and enough precision."""

import torch
from torch import Tensor

from spikeloom.registry import Unsupported


def check_rows(loss: str, logits_seq: Tensor, y: Tensor) -> None:
    """Raise unless there is a row of logits for each target.

    Shape:
        logits_seq [T, N, K], y [N] or [N, K]
    Raises:
        Unsupported: another number of rows, as from a head with several passes.
    """
    rows = logits_seq.shape[1]
    if rows != len(y):
        raise Unsupported(
            f"{loss} takes one row of logits for each target, got {rows} rows for {len(y)} "
            'targets; if the head answers twice in training, use loss = "ltmd", or build the head '
            "with two_passes = false"
        )


def wide(x: Tensor) -> Tensor:
    """At least float32: under autocast, half precision would round the loss."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def smoothing(value: float) -> float:
    """A share of the target spread over the classes.

    Raises:
        ValueError: outside [0, 1).
    """
    if not 0 <= value < 1:
        raise ValueError(f"label_smoothing must be in [0, 1), got {value}")
    return value
