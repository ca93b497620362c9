"""The protocol of a training method, and nothing else."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple, Protocol

from torch import Tensor, nn

from spikeloom.registry import Unsupported as Unsupported  # rooms beside this one raise it too

Loss = Callable[[Tensor, Tensor], Tensor]


class Objective:
    """The loss as the loop hands it to a learner: with the callbacks' terms, scaled for an update.

    Args:
        loss: of the phase.
        terms: of the callbacks, as from ``Callback.term``, for the batch at hand.
        scaled: brings a value to its share of the update, and to the gradient scaler's measure.
    """

    def __init__(
        self,
        loss: Loss,
        terms: Sequence[Callable[[Tensor], Tensor | None]] = (),
        scaled: Callable[[Tensor], Tensor] = lambda value: value,
    ) -> None:
        self.loss, self.terms, self.scaled = loss, terms, scaled
        self.added = 0  # terms in the last value

    def __call__(self, logits_seq: Tensor, y: Tensor) -> Tensor:
        value = self.loss(logits_seq, y)
        found = [term for term in (term(logits_seq) for term in self.terms) if term is not None]
        self.added = len(found)
        return self.scaled(sum(found, start=value))


def to_scale(loss: Loss, value: Tensor) -> Tensor:
    """A further loss of a learner's own, on the scale of the loss that the learner was handed."""
    return loss.scaled(value) if isinstance(loss, Objective) else value


def bare(loss: Loss) -> Loss:
    """The phase's loss itself: without the terms of callbacks, and not scaled."""
    return loss.loss if isinstance(loss, Objective) else loss


class Batch(NamedTuple):
    """Inputs [T, N, *] and targets: [N] classes, [N, K] probabilities, or [N, D] numbers."""

    x_seq: Tensor
    y: Tensor
    known: Tensor | None = None  # [N, *], of samples that the learner has noted before


class Noted(NamedTuple):
    """What a learner wants of all training samples, as it would see them at a later step.

    ``x`` takes the place of the inputs and ``known`` goes along as ``Batch.known``; without them
    the steps get the samples as they are. ``facts`` go into the metrics.

    Shape:
        x [M, T, *], known [M, *]
    """

    x: Tensor | None = None
    known: Tensor | None = None
    facts: Mapping[str, float] = MappingProxyType({})


class Metrics(NamedTuple):
    """What a step saw: the loss it descended and the logits of every step [T, N, K].

    ``increments`` holds changes that the loop adds to parameters, by name, after the optimizer's
    own: for local rules beside a gradient method, whose moments they must not touch.
    """

    loss: Tensor
    logits_seq: Tensor
    increments: Mapping[str, Tensor] = MappingProxyType({})


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
    ``.grad`` stays None rest, and so do their moments.
    Gradients add to what ``.grad`` holds, as ``Tensor.backward`` does. Losses of the learner's own
    go through :func:`to_scale`.

    A learner that has a method ``begin(model, batches)`` is handed the training set once when a
    phase begins, and again when it goes on from a checkpoint: without augmentation, gradients and
    training mode. It returns :class:`Noted`, and says ``caches = True`` if that is what its steps
    get in place of the samples. An argument ``nth`` of its constructor is handed the number of
    phases before that had the same learner.

    A learner that has a method ``notes(model)`` is asked after every epoch what to note in the
    metrics, numbers by name.

    A learner whose ``stepping`` is true makes several updates of one batch: the loop asks its
    ``steps``, a generator, instead of ``step``. At every ``yield`` it leaves gradients, and nothing
    of the model swapped; the loop makes a whole update of them, empties ``.grad`` and goes on. The
    last metrics stand for the batch.

    A learner whose ``online`` is true changes the model itself, sample after sample, as local rules
    do: its ``step`` leaves no gradients, and the phase has ``optimizer = "none"``. Random numbers
    come from torch's global generator, and everything else that it remembers lies in buffers, so
    that a resumed run goes on exactly.
    """

    def prepare(self, model: nn.Module) -> nn.Module:
        """The model to train; on the device of the given one, and without training anything."""

    def step(self, model: nn.Module, batch: Batch, loss: Loss, progress: Progress) -> Metrics:
        """One batch: fills ``.grad`` of the model's parameters."""

    def finish(self, model: nn.Module) -> nn.Module:
        """The plain model inside a prepared one, with the same parameters."""
