"""Decisions while a sequence comes in: a network fed piece by piece, its state carried on."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from spikeloom.layers import Neuron, Softmax, carry, units, whole_only
from spikeloom.layers.base import State
from spikeloom.registry import Unsupported


@dataclass(frozen=True)
class Decision:
    """What a network would say after so many steps.

    Args:
        steps: that it has read.
        label: the class of the largest mean output so far; None while all are equal.
        confidence: in 0..1; the share of that class, see :class:`Live`.
    """

    steps: int
    label: int | None
    confidence: float


class Live:
    """A network that reads one sequence as it comes, and decides at every step.

    The decision is that of the mean output over the steps so far, as runs are scored. Its
    confidence is softmax(mean output); of read-outs that give shares of the classes, or spikes, it
    is the class's part of their sum.

    Args:
        model: any network whose sequences may come in pieces; it is put into evaluation mode.
    Raises:
        Unsupported: it needs its sequences whole; says why.
    Example:
        >>> from spikeloom.layers import LI, LIF
        >>> live = Live(nn.Sequential(LIF(), LI()))
        >>> x_seq = torch.tensor([0.0, 2.0, 2.0]).view(3, 1, 1) * torch.tensor([0.0, 1.0])
        >>> [decision.label for decision in live.feed(x_seq[:1]) + live.feed(x_seq[1:])]
        [None, 1, 1]
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model.eval()
        if (reason := whole_only(self.model)) is not None:
            raise Unsupported(f"the network cannot read a sequence as it comes: {reason}")
        *_, (_, last) = units("", self.model)
        self.shares = isinstance(last, Softmax | Neuron)
        self.steps = 0
        self._states: tuple[State, ...] | None = None
        self._sum: Tensor | None = None

    def feed(self, x_seq: Tensor) -> list[Decision]:
        """Read the next steps of the one sequence; decisions after each of them.

        Shape:
            x_seq [T, 1, *], T of any length
        Raises:
            ValueError: several sequences at once.
        """
        if x_seq.dim() < 2 or x_seq.shape[1] != 1:
            raise ValueError(f"expected the steps of one sequence [T, 1, *], got {x_seq.shape}")
        with torch.no_grad():
            y_seq, self._states = carry(self.model, x_seq, self._states)
        sums = y_seq[:, 0].double().cumsum(0)
        sums = sums if self._sum is None else sums + self._sum
        self._sum = sums[-1]
        first, self.steps = self.steps, self.steps + len(sums)
        return [self._decided(total, first + n) for n, total in enumerate(sums, start=1)]

    def _decided(self, total: Tensor, steps: int) -> Decision:
        mean = total / steps
        least, most = (float(end) for end in mean.aminmax())
        if least == most:
            return Decision(steps, None, 1 / len(mean))
        share = mean / mean.sum() if self.shares else mean.softmax(0)
        label = int(mean.argmax())
        return Decision(steps, label, float(share[label]))


__all__ = ["Decision", "Live"]
