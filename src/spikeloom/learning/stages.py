"""What enters and leaves the stages of a network, for learners that put branches there."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn


@contextmanager
def entering(model: nn.Module, stages: Sequence[int]) -> Iterator[list[Tensor]]:
    """What enters stages of ``model`` inside the block, in the order of the calls."""
    seen: list[Tensor] = []
    with ExitStack() as stack:
        for stage in stages:
            first = _end(model, stage, 0)
            hook = first.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
            stack.callback(hook.remove)
        yield seen


@contextmanager
def leaving(model: nn.Module, stages: Sequence[int]) -> Iterator[list[Tensor]]:
    """What stages of ``model`` put out inside the block, in the order of the calls."""
    seen: list[Tensor] = []
    with ExitStack() as stack:
        for stage in stages:
            last = _end(model, stage, -1)
            hook = last.register_forward_hook(lambda _, inputs, output: seen.append(output))
            stack.callback(hook.remove)
        yield seen


def mean_place(x_seq: Tensor) -> Tensor:
    """The mean over space, if there is any.

    Shape:
        x_seq [T, N, C, *] -> [T, N, C]
    """
    return x_seq.flatten(3).mean(3) if x_seq.dim() > 3 else x_seq


def classes_of(model: nn.Module) -> int:
    """How many classes the last linear map of a model tells apart."""
    *_, last = (module for module in model.modules() if isinstance(module, nn.Linear))
    return last.out_features


def _end(model: nn.Module, stage: int, place: int) -> nn.Module:
    """A stage, or its first or last layer where it is a mere slice of a longer row."""
    stages: Any = model.stages
    whole: nn.Module = stages[stage]
    if whole in set(model.modules()):
        return whole
    layer: nn.Module = stages[stage][place]
    return layer
