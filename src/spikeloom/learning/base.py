"""The protocol of a training method, and nothing else."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from torch import Tensor, nn

Loss = Callable[[Tensor, Tensor], Tensor]


class Batch(NamedTuple):
    """Inputs [T, N, *] and targets, [N] classes or [N, K] probabilities."""

    x_seq: Tensor
    y: Tensor


class Metrics(NamedTuple):
    """What a step saw: the loss it descended, the logits of every step [T, N, K], extras."""

    loss: Tensor
    logits_seq: Tensor
    extra: dict[str, float] = {}  # noqa: RUF012 never written to


@dataclass(frozen=True)
class Progress:
    """Where training stands: in epochs of this phase, and in optimizer updates of it."""

    epoch: int
    epochs: int
    update: int
    updates: int

    @property
    def share(self) -> float:
        """Share of the phase that is done, from 0 to 1."""
        return self.update / max(1, self.updates)


class Learner(Protocol):
    """A training method.

    ``prepare`` may add what training needs (heads, teachers), by wrapping the model; ``finish``
    takes it out again and leaves the prepared model as it is: it is called whenever the plain
    model is wanted, for validation and for the best weights too. What a method remembers from one
    step to the next belongs into buffers of the prepared model, so that checkpoints hold it.

    ``step`` leaves gradients in ``.grad`` and does nothing else to the model: clipping, scaling,
    reduction over processes and the optimizer belong to the loop. A local rule writes -ΔW there.
    Gradients add to what ``.grad`` holds, as ``Tensor.backward`` does.
    """

    def prepare(self, model: nn.Module) -> nn.Module:
        """The model to train; on the device of the given one, and without training anything."""

    def step(self, model: nn.Module, batch: Batch, loss: Loss, progress: Progress) -> Metrics:
        """One batch: fills ``.grad`` of the model's parameters."""

    def finish(self, model: nn.Module) -> nn.Module:
        """The plain model inside a prepared one, with the same parameters."""


class Unsupported(TypeError):  # noqa: N818 the name says what it is
    """A learner cannot train this model with this neuron or loss; the message says why."""
