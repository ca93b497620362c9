"""From a sequence to its steps and back, keeping the memory layout."""

import torch
from torch import Tensor


def steps(x_seq: Tensor) -> tuple[Tensor, ...]:
    """The T steps of a sequence as views.

    One split, so that its backward is one concatenation; indexing ``x_seq[t]`` in a loop would
    cost O(T²) in backward, and ``unbind`` would lose a channels-last layout there. A sequence that
    repeats one step (stride 0 in time) is not copied: splitting it would write it out.

    Shape:
        x_seq [T, N, *] -> T x [N, *]
    """
    if x_seq.shape[1] == 0 or x_seq.stride(0) == 0:
        return x_seq.unbind(0)
    return torch.split(x_seq.flatten(0, 1), x_seq.shape[1])


def sequence(xs: list[Tensor]) -> Tensor:
    """Steps put together along a new leading time axis, in the layout they have.

    Shape:
        T x [N, *] -> [T, N, *]
    """
    joined = torch.cat(xs)
    return joined.view(len(xs), xs[0].shape[0], *joined.shape[1:])


def check_sequence(x_seq: Tensor, least: int = 2) -> None:
    """Raise ValueError unless ``x_seq`` has a time axis with at least one step."""
    if x_seq.dim() < least or x_seq.shape[0] == 0:
        raise ValueError(
            f"expected a time-first sequence [T, N, *] with T >= 1, got shape "
            f"{tuple(x_seq.shape)}; add a time axis with x[None] or spikeloom.functional.encode"
        )
