"""What a learner notes of the training samples, once, at the beginning of a phase."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from spikeloom.learning import Batch, Learner, Noted
from spikeloom.run.aside import aside, reseed
from spikeloom.run.config import ConfigError, Phase
from spikeloom.run.task import Task


@dataclass(frozen=True, eq=False)
class Kept:
    """Training samples as the learner wants them, a batch at a time.

    Shape:
        at int64 [M], increasing: their numbers in the data set; x [M, T, *], known and y [M, *]
    """

    at: Tensor
    x: Tensor
    known: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.at)

    def __getitems__(self, indices: list[int]) -> Batch:
        """Those samples: inputs [T, N, *], targets, and what is known of them."""
        place = torch.searchsorted(self.at, torch.as_tensor(indices, dtype=torch.int64))
        return Batch(self.x[place].transpose(0, 1), self.y[place], self.known[place])


def check_caching(task: Task, phase: Phase, learner: Learner) -> None:
    """Refuse to keep what would not be the same at the next epoch.

    Raises:
        ConfigError: augmentation, an encoder that draws, or callbacks beside a learner that keeps
            what it computes of the training samples.
    """
    if not getattr(learner, "caches", False):
        return
    reasons = {
        "augmentation changes the samples at every epoch": bool(task.config.data.augment),
        f"the encoder {task.config.model.encoder.name!r} may draw anew at every epoch": task.draws,
        "callbacks look at the samples themselves": bool(phase.callback),
    }
    for reason, there in reasons.items():
        if there:
            raise ConfigError(
                f"{phase.learner.name} computes its inputs once for a phase, and {reason}; set "
                "cache = false in the learner, or take that out"
            )


def training_batches(task: Task) -> Iterator[Batch]:
    """The whole training set, in order and without augmentation; the same draws each time."""
    for step, at in enumerate(task.splits.train.split(task.config.data.batch)):
        reseed(task.config.run.seed, "begin", step)
        x, y = task.source.train.__getitems__(at.tolist())
        yield task.batch(x, y, training=False)


def note(
    task: Task, learner: Learner, model: torch.nn.Module, at: Tensor, batches: Iterable[Batch]
) -> tuple[Kept | None, dict[str, float]]:
    """Let a learner that has a method ``begin`` look at the training samples.

    Leaves the random numbers as they were.

    Args:
        task: the run.
        learner: of the phase.
        model: the prepared one.
        at: numbers of the samples in the data set.
        batches: the samples, in that order.

    Returns:
        The samples as they are to be fed to its steps, None for as they are; facts to note.
    """
    begin = getattr(learner, "begin", None)
    if begin is None:
        return None, {}
    targets: list[Tensor] = []

    def through() -> Iterator[Batch]:
        for batch in batches:
            targets.append(batch.y)
            yield batch

    model.eval()
    with aside(task.device), torch.no_grad(), task.autocast():
        found: Noted = begin(model, through())
    facts = dict(found.facts)
    if found.x is None or found.known is None:
        return None, facts
    parts = (part.cpu() for part in (found.x, found.known, torch.cat(targets)))
    return Kept(at, *parts), facts
