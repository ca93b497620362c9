"""Every phase tried for a step before anything is written, so that what fails fails early."""

import copy
import json
import warnings

import torch
from torch import nn

from spikeloom.learning import Batch, Progress
from spikeloom.run.aside import aside, untouched
from spikeloom.run.build import build
from spikeloom.run.config import ConfigError, Phase
from spikeloom.run.noted import note
from spikeloom.run.stage import Item, Stage, batch_of, callbacks_of, enter
from spikeloom.run.task import Task, answers

REHEARSED = 9  # epochs of a phase: no named cycle of a learner is longer


def check(phase: Phase) -> None:
    """Build what does not need a model, so that a mistake in a late phase fails early.

    Raises:
        ConfigError: a part is unknown or out of range.
    """
    for kind in ("learner", "loss", "schedule"):
        build(getattr(phase, kind), kind)
    callbacks_of(phase)
    build(phase.optimizer, "optimizer", [nn.Parameter(torch.zeros(1))])


def rehearse(task: Task) -> None:
    """Train every phase for one step on a copy of the model, so that what fails fails early.

    Leaves the random numbers as they were.

    Raises:
        ConfigError: a part of a phase is unknown or out of range, or does not fit the model.
    """
    model = copy.deepcopy(task.model)
    x, y = task.source.train.__getitems__(task.splits.train[:2].tolist())
    with aside(task.device), warnings.catch_warnings():
        # Two samples are few to judge by; what still holds for a batch, training says again.
        warnings.simplefilter("ignore", UserWarning)
        for index, phase in enumerate(task.config.phase):
            try:
                stage = enter(task, phase, model)
                _begin(task, stage)
                two = [task.batch(x, y, training=False)]
                kept, _ = note(task, stage.learner, stage.model, torch.arange(len(x)), two)
                item = kept.__getitems__([*range(len(x))]) if kept else (x, y)
                moved = [
                    _try(task, stage, item, epoch) for epoch in range(min(phase.epochs, REHEARSED))
                ]
                if not any(moved):
                    raise ValueError("the learner leaves neither gradients nor increments")
                stage.optimizer.step()  # some of its settings are only refused here
                stage.settle()
                for callback in stage.callbacks.values():
                    callback.updated(stage.model, Progress(0, phase.epochs, 0, phase.epochs))
                model = stage.plain()
                json.dumps({name: c.state() for name, c in stage.callbacks.items()})
            except ConfigError as error:
                raise ConfigError(f"phase {index}: {error}") from error
            except Exception as error:  # whatever a part of one's own raises
                raise ConfigError(
                    f"phase {index} ({phase.learner.name}, {phase.loss.name}, "
                    f"{phase.optimizer.name}) cannot train {task.config.model.name}: {error}"
                ) from error


def _begin(task: Task, stage: Stage) -> None:
    """The callbacks' part of an epoch's beginning, on two samples."""

    def probe(samples: int) -> Batch:
        return task.probe(min(samples, 2), epoch=0)

    stage.model.train()
    at = Progress(0, stage.phase.epochs, 0, stage.phase.epochs)
    for callback in stage.callbacks.values():
        with untouched(stage.model), task.autocast():
            callback.rehearse(stage.model, probe, stage.loss, at)
        callback.apply(stage.model)


def _try(task: Task, stage: Stage, item: Item, epoch: int) -> bool:
    """One step of an epoch; whether it leaves anything to change the model by."""
    stage.model.train()
    moved = False
    with task.autocast():
        batch = batch_of(task, item, training=True)
        at = Progress(epoch, stage.phase.epochs, epoch, stage.phase.epochs)
        for metrics in stage.learn(batch, at):
            stage.increase(metrics.increments)
            graded = any(parameter.grad is not None for parameter in stage.model.parameters())
            moved = moved or graded or bool(metrics.increments) or stage.online
    want = (task.config.model.T, len(item[1]), task.source.outputs)
    if not answers(metrics.logits_seq, want):
        raise ValueError(
            f"the learner reports logits {tuple(metrics.logits_seq.shape)}, expected {want}"
        )
    return moved
