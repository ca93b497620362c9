"""The protocol of a training method, and nothing else."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from torch import Tensor, nn

from spikeloom.registry import Unsupported as Unsupported  # rooms beside this one raise it too

Loss = Callable[[Tensor, Tensor], Tensor]


class Batch(NamedTuple):
    """Inputs [T, N, *] and targets, [N] classes or [N, K] probabilities."""

    x_seq: Tensor
    y: Tensor


class Metrics(NamedTuple):
    """What a step saw: the loss it descended and the logits of every step [T, N, K].

    ``increments`` holds changes that the loop adds to parameters, by name, after the optimizer's
    own: for local rules beside a gradient method, whose moments they must not touch.
    """

    loss: Tensor
    logits_seq: Tensor
    increments: Mapping[str, Tensor] = MappingProxyType({})


@dataclass(frozen=True)
class Weighed:
    """A loss as the loop wants it descended: its share of an update, scaled for half precision."""

    loss: Loss
    weigh: Callable[[Tensor], Tensor]

    def __call__(self, logits_seq: Tensor, y: Tensor) -> Tensor:
        return self.weigh(self.loss(logits_seq, y))


def weighed(loss: Loss, term: Tensor) -> Tensor:
    """A learner's own term on the scale of the loss that it was handed; add it to that.

    Args:
        loss: as handed to :meth:`Learner.step`; a plain function weighs nothing.
        term: a scalar.
    """
    return loss.weigh(term) if isinstance(loss, Weighed) else term


def of_batch(logits_seq: Tensor, y: Tensor) -> Tensor:
    """The logits to score a batch by: one row for each target.

    A head may answer every sample several times in training, all samples first and then all of them
    again; its loss sees all answers, scores only the first ones.

    Shape:
        logits_seq [T, kN, K], y [N] or [N, K] -> [T, N, K]
    """
    return logits_seq[:, : len(y)]


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
    reduction over processes and the optimizer belong to the loop. A local rule writes -ΔW there,
    or hands ΔW over as :class:`Metrics` where no optimizer is to touch it; parameters whose
    ``.grad`` stays None rest, and so do their moments. A term of the learner's own is added to the
    loss through :func:`weighed`.
    Gradients add to what ``.grad`` holds, as ``Tensor.backward`` does.
    """

    def prepare(self, model: nn.Module) -> nn.Module:
        """The model to train; on the device of the given one, and without training anything."""

    def step(self, model: nn.Module, batch: Batch, loss: Loss, progress: Progress) -> Metrics:
        """One batch: fills ``.grad`` of the model's parameters."""

    def finish(self, model: nn.Module) -> nn.Module:
        """The plain model inside a prepared one, with the same parameters."""


class Callback:
    """Goes along with any learner: a further term of the loss, a slope that changes with time.

    What it remembers is what ``state`` returns, as plain values: it is kept in checkpoints.
    ``apply`` is called after every change of the state, also after a resume.
    """

    def state(self) -> dict[str, Any]:
        """Plain values to go on from."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what :meth:`state` returned."""

    def apply(self, model: nn.Module) -> None:
        """Bring the model in line with the state."""

    def undo(self, model: nn.Module) -> None:
        """Take back, at the end of the phase, what :meth:`apply` changed."""

    def epoch(
        self, model: nn.Module, probe: Callable[[int], Batch], loss: Loss, progress: Progress
    ) -> dict[str, float]:
        """Before an epoch: change the state; returns what to note in the metrics.

        Parameters, buffers, gradients and random numbers are put back afterwards. In reports, notes
        with the same first word share a figure.

        Args:
            model: the prepared model, in training mode.
            probe: so many samples of the training set as a batch, without augmentation; every
                process gets the same ones.
            loss: the phase's loss.
            progress: where training stands.
        """
        return {}

    @contextmanager
    def term(self, model: nn.Module) -> Iterator[Callable[[], Tensor | None]]:
        """Around each step of the learner: a function that gives what to add to the loss.

        It is called after the forward pass, each time that the learner asks for its loss.
        """
        yield lambda: None
