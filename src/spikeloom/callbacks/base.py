"""The protocol of what goes along with a learner, and nothing else."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from spikeloom.learning.base import Batch, Loss, Progress

Term = Callable[[Batch, Tensor], Tensor | None]


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

    def rehearse(
        self, model: nn.Module, probe: Callable[[int], Batch], loss: Loss, progress: Progress
    ) -> None:
        """Once before training, on two samples: fail where :meth:`epoch` would.

        By default one whole ``epoch``; a long one does part of its work here.
        """
        self.epoch(model, probe, loss, progress)

    def updated(self, model: nn.Module, progress: Progress) -> None:
        """After every update, which ``progress`` counts: change weights, if that is what it is for.

        Not for the state: whoever changes weights draws from torch's global generator and goes by
        ``progress``, so that a resumed run goes on exactly.
        """

    @contextmanager
    def term(self, model: nn.Module) -> Iterator[Term]:
        """Around each step of the learner: a function that gives what to add to the loss.

        It is called after the forward pass, each time that the learner asks for its loss, with the
        batch and the logits [T, N, K] that the learner gives.
        """
        yield lambda batch, logits_seq: None
