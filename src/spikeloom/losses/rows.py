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
            'targets; if the head answers twice in training, use loss = "ltmd" ("photometric" for '
            "rays), or build the head with two_passes = false"
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


def check_spikes(loss: str, spike_seq: Tensor, y: Tensor) -> Tensor:
    """The spikes as zeros and ones, without a graph, in float32 at least.

    A spike may weigh a little more than 1, as in the scores of the read-out ``early_spikes``.

    Shape:
        spike_seq [T, N, K], y [N] -> [T, N, K]
    Raises:
        Unsupported: other values than 0 and at least 1; labels of several classes; another number
            of rows.
    """
    check_rows(loss, spike_seq, y)
    if y.dim() != 1:
        raise Unsupported(
            f"{loss} needs one class for each sample, got targets of shape {tuple(y.shape)}; leave "
            "out augmentations that mix labels"
        )
    found = wide(spike_seq.detach())
    if not ((found == 0) | (found >= 1)).all():
        raise Unsupported(
            f"{loss} needs spikes, got other numbers than 0 and 1; give the model readout = "
            '"spikes" or "early_spikes"'
        )
    return (found > 0).to(found.dtype)


def descending(value: Tensor, x: Tensor, gradient: Tensor) -> Tensor:
    """The value as a number with the given gradient with regard to x.

    Shape:
        value [], x [*], gradient [*] -> scalar
    """
    slope = (wide(x) * gradient).sum()
    return value + (slope - slope.detach())
