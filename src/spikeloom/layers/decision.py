"""Read-outs that say which steps a decision is made by; the mean over steps is what is scored."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from spikeloom.functional.sequence import check_sequence
from spikeloom.layers.base import Temporal


class Passed(NamedTuple):
    """How many steps there were, and the values of the last."""

    steps: int
    value: Tensor


def latest(x_seq: Tensor, state: Passed | None = None) -> tuple[Tensor, Passed]:
    """A sequence whose mean over all steps so far is the value of the last.

    y[t] = (t + 1) x[t] - t x[t-1], t from 0

    Shape:
        x_seq [T, N, *] -> y_seq [T, N, *], (steps, [N, *])
    """
    check_sequence(x_seq)
    before = Passed(0, torch.zeros_like(x_seq[0])) if state is None else state
    t = before.steps + torch.arange(len(x_seq), device=x_seq.device, dtype=x_seq.dtype)
    t = t.view(-1, *(1,) * (x_seq.dim() - 1))
    shifted = torch.cat([before.value[None], x_seq[:-1]])
    return (t + 1) * x_seq - t * shifted, Passed(before.steps + len(x_seq), x_seq[-1])


def softmax(x_seq: Tensor, state: Passed | None = None, *, skip: int = 0) -> tuple[Tensor, Passed]:
    """Shares of the classes at every step, 0 at the first ``skip`` steps.

    Shape:
        x_seq [T, N, K] -> y_seq [T, N, K], (steps, [N, K])
    """
    check_sequence(x_seq, least=3)
    steps = 0 if state is None else state.steps
    counted = steps + torch.arange(len(x_seq), device=x_seq.device) >= skip
    y_seq = x_seq.softmax(-1) * counted.view(-1, 1, 1).to(x_seq.dtype)
    return y_seq, Passed(steps + len(x_seq), x_seq[-1])


class Latest(Temporal):
    """What is decided by the last step: the mean over steps, which is scored, is its value.

    Shape:
        x_seq [T, N, *] -> y_seq [T, N, *]
    Example:
        >>> Latest()(torch.tensor([3.0, 5.0, 2.0])[:, None]).mean(0).tolist()
        [2.0]
    """

    function = staticmethod(latest)

    def arguments(self) -> dict[str, Any]:
        return {}


class Softmax(Temporal):
    """What is decided by the shares of the classes, summed over all steps but the first ``skip``.

    Args:
        skip: steps that do not count, >= 0.
    Shape:
        x_seq [T, N, K] -> y_seq [T, N, K]
    Raises:
        ValueError: skip < 0.
    """

    function = staticmethod(softmax)

    def __init__(self, *, skip: int = 0) -> None:
        super().__init__()
        if skip < 0:
            raise ValueError(f"skip is a number of steps, >= 0, got {skip}")
        self.skip = skip

    def arguments(self) -> dict[str, Any]:
        return {"skip": self.skip}

    def extra_repr(self) -> str:
        return f"skip={self.skip}"
