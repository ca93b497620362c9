"""What every neuron function asks of its arguments, and the precision it computes in."""

from collections.abc import Sequence

import torch
from torch import Tensor

from spikeloom.functional.decay import Decay, Value
from spikeloom.functional.sequence import check_sequence


def check_inputs(x_seq: Tensor, **values: Value | Decay) -> None:
    """Raise ValueError unless ``x_seq`` is a sequence of currents that the values fit.

    Shape:
        x_seq [T, N, *]; every tensor among ``values`` broadcasts to a step [N, *]
    """
    check_sequence(x_seq)
    if not x_seq.is_floating_point():
        raise ValueError(
            f"x_seq is {x_seq.dtype}, expected floating point: potentials are no whole numbers; "
            "pass x_seq.float()"
        )
    for name, value in values.items():
        if problem := misfit(name, value, x_seq.shape[1:]):
            raise ValueError(problem)


def check_state(x_seq: Tensor, state: Tensor) -> None:
    """Raise ValueError unless a carried state has the shape of one step.

    Shape:
        x_seq [T, N, *], state [N, *]
    """
    if state.shape != x_seq.shape[1:]:
        raise ValueError(
            f"the carried state has shape {tuple(state.shape)}, one step of the input "
            f"{tuple(x_seq.shape[1:])}; pass the state that came back with the same batch"
        )


def misfit(name: str, value: Value | Decay, step: Sequence[int]) -> str:
    """Why a value does not broadcast to a step [N, *], or would make it larger; empty if it does.

    Axes are counted from the last: a value per channel of images has shape [C, 1, 1].
    """
    tensor = value.keep if isinstance(value, Decay) else value
    if not isinstance(tensor, Tensor):
        return ""
    axes = zip(reversed(tensor.shape), reversed(step), strict=False)
    if tensor.dim() <= len(step) and all(own in (1, length) for own, length in axes):
        return ""
    return (
        f"{name} of shape {tuple(tensor.shape)} does not broadcast to a step [N, *] of shape "
        f"{tuple(step)}; axes are counted from the last, so a value per channel needs "
        "view(-1, 1, 1) for images"
    )


def wide(x: Tensor) -> Tensor:
    """In float32 at least: neurons compute there and round their results once, at the end."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
