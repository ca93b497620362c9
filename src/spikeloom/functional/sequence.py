"""From a sequence to its steps and back, keeping the memory layout."""

import torch
from torch import Tensor


def steps(x_seq: Tensor) -> tuple[Tensor, ...]:
    """The T steps of a sequence as views.

    Taken apart at once, so that the backward is one concatenation; indexing ``x_seq[t]`` in a loop
    would cost O(T²) there.

    Shape:
        x_seq [T, N, *] -> T x [N, *]
    """
    return x_seq.unbind(0)


def sequence(xs: list[Tensor]) -> Tensor:
    """Steps put together along a new leading time axis, in the layout they have.

    Shape:
        T x [N, *] -> [T, N, *]
    """
    return torch.stack(xs)


def check_sequence(x_seq: Tensor, least: int = 2) -> None:
    """Raise ValueError unless ``x_seq`` has a time axis with at least one step.

    Shape:
        x_seq [T, N, *], with at least ``least`` axes
    """
    if x_seq.dim() < least or x_seq.shape[0] == 0:
        raise ValueError(
            f"expected a time-first sequence [T, N, *] with T >= 1, got shape "
            f"{tuple(x_seq.shape)}; add a time axis with x[None] or spikeloom.functional.encode"
        )
