"""The training loop: every phase, epoch and update of a run, resumable at each checkpoint."""

import math
import time
from collections.abc import Generator, Iterator
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from spikeloom.data import Order, batches
from spikeloom.learning import Batch, Metrics, Progress
from spikeloom.run import checkpoint
from spikeloom.run.aside import aside, untouched
from spikeloom.run.diagnose import first_nonfinite, nonfinite_parameter
from spikeloom.run.evaluate import evaluate
from spikeloom.run.record import BEST, LAST, METRICS, write_lines
from spikeloom.run.stage import Item, State, batch_of, begin, check_same, enter, restore, save
from spikeloom.run.task import Task

Sums = list[float]  # of the loss, of what the measure needs, and the count


class NonFiniteLossError(ArithmeticError):
    """The loss is NaN or infinite; the message says where, the last checkpoint is kept."""


class Watcher(Protocol):
    """Told how training goes; the loop does not care what it does with it."""

    def update(self, progress: Progress, loss: float) -> None:
        """After every update."""

    def epoch(self, line: dict[str, Any]) -> None:
        """After every epoch, with its line of metrics."""


class Silent:
    """A watcher that says nothing."""

    def update(self, progress: Progress, loss: float) -> None:
        """Ignored."""

    def epoch(self, line: dict[str, Any]) -> None:
        """Ignored."""


class Training:
    """A run in progress over all its phases."""

    def __init__(self, task: Task, folder: Path, watcher: Watcher) -> None:
        self.task, self.folder, self.watcher = task, folder, watcher
        self.phases = task.config.phase
        self.state = State()
        self.stage = enter(task, self.phases[0], task.model)
        self.clock = time.monotonic()  # since when the seconds of the state do not count
        self.saved = self.clock

    def run(self) -> nn.Module:
        """Train to the end of the last phase; returns the model to evaluate."""
        self.clock = self.saved = time.monotonic()
        while True:
            while self.state.epoch < self.stage.phase.epochs and not self._tired():
                self._epoch()
            if self.state.phase + 1 == len(self.phases) or self._stops():
                return self.stage.plain()
            self._next_phase()

    def resume(self) -> None:
        """Go on from the last checkpoint of the folder.

        Raises:
            CheckpointError: it cannot be read or is of another model.
        """
        self._load()
        if self.task.procs.first:
            write_lines(self.folder / METRICS, self.state.history)

    def best(self) -> nn.Module:
        """The plain model with the best weights of the folder; ends the training here.

        Raises:
            CheckpointError: they cannot be read or are of another model.
        """
        path = self.folder / BEST
        tensors, about = checkpoint.load_state(path)
        check_same(path, about.get("config"), self.task.config)
        self._forward_to(about["phase"])
        model = self.stage.plain()
        checkpoint.load_weights(model, checkpoint.under("model", tensors), path)
        return model

    def _load(self) -> None:
        path = self.folder / LAST
        tensors, about = checkpoint.load_state(path)
        check_same(path, about.get("config"), self.task.config)
        state = State(**about["state"])
        self._forward_to(state.phase)
        self.state = state
        restore(path, self.task, self.stage, tensors, about)

    def weights(self, which: str) -> nn.Module:
        """The plain model with the ``last`` or the ``best`` weights of the folder.

        Raises:
            CheckpointError: the checkpoint is missing, altered or of another model.
        """
        if which == "best":
            return self.best()
        self._load()
        return self.stage.plain()

    def some(self, updates: int) -> nn.Module:
        """Train for so many updates of the first phase, without epochs' ends and checkpoints.

        Returns the plain model.
        """
        size = self.stage.phase.accumulate
        groups = (
            group
            for epoch in count()
            for group in _grouped(self._samples(self.task.order("train", epoch=epoch)), size)
        )
        begin(self.task, self.stage, fresh=True)
        for update, group in enumerate(islice(groups, updates)):
            self._update(group, Progress(0, 1, update, updates))
        return self.stage.plain()

    def _forward_to(self, phase: int) -> None:
        while self.state.phase < phase:
            self._next_phase()

    def _stops(self) -> bool:
        """Whether training ends here because the phase before the next one gained nothing."""
        state, measure = self.state, self.task.measure
        if not self.phases[state.phase + 1].if_better or state.phase == 0:
            return False
        ends = {line["phase"]: line for line in state.history}  # the last line of each phase
        now, then = (ends[at]["val"][measure.key] for at in (state.phase, state.phase - 1))
        if measure.rank(now) > measure.rank(then):
            return False
        left = len(self.phases) - state.phase - 1
        ends[state.phase]["stopped"] = (
            f"{left} of {len(self.phases)} phases not trained: validation {measure.key} was "
            f"{measure.text(then)} after phase {state.phase} and {measure.text(now)} after phase "
            f"{state.phase + 1}, which stays in the last weights; the best ones are those before"
        )
        self._save()
        return True

    def _tired(self) -> bool:
        """Whether the phase ends here because so many epochs brought no better validation."""
        patience, measure = self.stage.phase.patience, self.task.measure
        lines = [line for line in self.state.history if line["phase"] == self.state.phase]
        if not patience or len(lines) <= patience:
            return False
        ranks = [measure.rank(line["val"][measure.key]) for line in lines]
        best = ranks.index(max(ranks))
        if len(lines) - 1 - best < patience:
            return False
        lines[-1]["stopped"] = (
            f"phase {self.state.phase} ended after {len(lines)} of {self.stage.phase.epochs} "
            f"epochs: none of the last {patience} was better than epoch {best + 1}"
        )
        self._save()
        return True

    def _next_phase(self) -> None:
        for callback in self.stage.callbacks.values():
            callback.undo(self.stage.model)
        model = self.stage.plain()
        self.state.phase, self.state.epoch, self.state.update = self.state.phase + 1, 0, 0
        self.stage = enter(self.task, self.phases[self.state.phase], model)

    def _epoch(self) -> None:
        state, phase = self.state, self.stage.phase
        earlier = sum(before.epochs for before in self.phases[: state.phase])
        order = self.task.order("train", epoch=earlier + state.epoch, start=state.batch)
        updates = math.ceil(order.total / phase.accumulate) * phase.epochs
        facts = begin(self.task, self.stage, fresh=state.update == 0)
        if state.batch == 0:
            self._begin(Progress(state.epoch, phase.epochs, state.update, updates))
            if state.epoch == 0:
                state.notes |= {f"{phase.learner.name}/{key}": v for key, v in facts.items()}
        for group in _grouped(self._samples(order), phase.accumulate):
            progress = Progress(state.epoch, phase.epochs, state.update, updates)
            loss, save_now = self._update(group, progress)
            state.batch, state.update = state.batch + len(group), state.update + 1
            self.watcher.update(progress, loss)
            if save_now:
                self._check_weights()
                self._save()
        self._check_weights()
        line = self._line((state.update - 1) / updates)  # the share the last update saw
        state.history.append(line)
        state.epoch, state.batch, state.sums = state.epoch + 1, 0, []
        self._keep_best(line)
        self._save()
        self.watcher.epoch(line)

    def _samples(self, order: Order) -> Iterator[Item]:
        """Training samples in that order, as the learner wants them."""
        kept = self.stage.kept
        return self.task.load("train", order) if kept is None else iter(batches(kept, order))

    def _begin(self, progress: Progress) -> None:
        """Let the callbacks prepare the epoch, on a model that they cannot change."""
        stage, state = self.stage, self.state
        state.notes = {}
        probe = partial(self.task.probe, epoch=progress.epoch)
        for name, callback in stage.callbacks.items():
            with aside(self.task.device), untouched(stage.model), self.task.autocast():
                stage.model.train()
                found = callback.epoch(stage.model, probe, stage.loss, progress)
            for key, value in found.items():
                finite = math.isfinite(value)  # JSON knows no NaN
                state.notes[f"{name}/{key}"] = float(value) if finite else None
            callback.apply(stage.model)

    def _update(self, group: list[Item], progress: Progress) -> tuple[float, bool]:
        """One update of a group of batches, or several if the learner steps within a batch.

        Returns:
            The mean loss, and whether a checkpoint is due.
        """
        task, stage = self.task, self.stage
        sizes = torch.tensor([float(sum(len(item[1]) for item in group))], device=task.device)
        total = float(task.procs.sum(sizes))
        stage.model.train()
        stage.optimizer.zero_grad(set_to_none=True)
        ready = self._ready(group, total, progress)
        for found, increments in ready:
            minutes = (time.monotonic() - self.saved) / 60
            due = float(task.procs.first and minutes > task.config.run.checkpoint_minutes)
            seen = task.procs.sum(torch.tensor([*found, due], dtype=torch.float64).to(task.device))
            task.procs.reduce_gradients(stage.model.parameters())
            if not math.isfinite(float(seen[0])):
                ready.close()  # so that the learner lets go of the model
                raise NonFiniteLossError(self._where(group))
            stage.step(progress.share)
            stage.increase({name: task.procs.sum(change) for name, change in increments.items()})
            stage.settle()
            for callback in stage.callbacks.values():
                callback.updated(stage.model, progress)
            stage.average()
        *found, due = seen.tolist()
        self.state.sums = _added(self.state.sums, found)
        return found[0] / found[-1], bool(due)

    def _ready(
        self, group: list[Item], total: float, progress: Progress
    ) -> Generator[tuple[Sums, dict[str, Tensor]], None, None]:
        """Sums so far, and increments, each time an update can be made."""
        before, increments = list[float](), dict[str, Tensor]()
        for at, item in enumerate(group, start=1):
            share = len(item[1]) / total
            batch = batch_of(self.task, item, training=True)
            for metrics in self._learn(batch, progress, share):
                seen = _added(before, self._sums(metrics, batch.y, share))
                for name, change in metrics.increments.items():
                    increments[name] = increments.get(name, 0) + change * share
                if at == len(group):
                    yield seen, increments
                    increments = {}
            before = seen

    def _learn(
        self, batch: Batch, progress: Progress, share: float
    ) -> Generator[Metrics, None, None]:
        """What the learner reports; updates that come between are outside of autocast."""
        steps = self.stage.learn(batch, progress, share)
        while True:
            with self.task.autocast():
                metrics = next(steps, None)
            if metrics is None:
                return
            yield metrics

    def _sums(self, metrics: Metrics, y: Tensor, share: float) -> Sums:
        loss = float(metrics.loss) / self.stage.scaler.get_scale() / share
        return [loss * len(y), *self.task.measure.quick(metrics.logits_seq, y), float(len(y))]

    def _line(self, share: float) -> dict[str, Any]:
        """The metrics of the epoch that has just been trained."""
        state = self.state
        loss, *sums, count = state.sums
        measure = self.task.measure
        line: dict[str, Any] = {"phase": state.phase, "epoch": state.epoch + 1}
        line |= {"update": state.update, "lr": self.stage.lr(share)}
        line["train"] = {"loss": loss / count, measure.key: measure.headline(sums, count)}
        if len(self.task.splits.val):
            found = evaluate(self.task, self.stage.plain(), self.stage.loss, "val")
            line["val"] = {key: found[key] for key in ("loss", measure.key)}
            if not math.isfinite(found["loss"]):
                raise NonFiniteLossError(
                    f"the validation loss is not finite after {self._place()}. {self._advice()}"
                )
        if notes := state.notes | self.stage.notes():
            line["notes"] = notes
        self._count_time()
        return {**line, "seconds": round(state.seconds, 3)}

    def _keep_best(self, line: dict[str, Any]) -> None:
        measure = self.task.measure
        score = line.get("val", line["train"])[measure.key]
        if measure.rank(score) > self.state.best:
            self.state.best = measure.rank(score)
            if self.task.procs.first:
                weights = checkpoint.prefixed("model", self.stage.plain().state_dict())
                facts = {"epoch": line["epoch"], "phase": line["phase"], measure.key: score}
                facts["config"] = self.task.config.model_dump(mode="json")
                checkpoint.save_state(self.folder / BEST, weights, facts)

    def _save(self) -> None:
        self._count_time()
        save(self.folder / LAST, self.task, self.stage, self.state)
        if self.task.procs.first:
            write_lines(self.folder / METRICS, self.state.history)
        self.saved = time.monotonic()

    def _count_time(self) -> None:
        now = time.monotonic()
        self.state.seconds, self.clock = self.state.seconds + now - self.clock, now

    def _check_weights(self) -> None:
        """Raise before weights that hold NaN or infinity replace those of the last checkpoint."""
        if name := nonfinite_parameter(self.stage.model):
            raise NonFiniteLossError(
                f"parameter {name} holds NaN or infinity after {self._place()}. {self._advice()}"
            )

    def _where(self, group: list[Item]) -> str:
        whole = [item for item in group if not isinstance(item, Batch) and len(item[1])]
        with self.task.autocast():
            found = [
                first_nonfinite(self.stage.model, self.task.batch(*item, training=False).x_seq)
                for item in whole
            ]
        guilty = next(filter(None, found), "all layers are finite without augmentation")
        return f"the loss is not finite at {self._place()}: {guilty}. {self._advice()}"

    def _place(self) -> str:
        state = self.state
        return f"phase {state.phase}, epoch {state.epoch + 1}, update {state.update}"

    def _advice(self) -> str:
        last = self.folder / LAST
        kept = f"the last good checkpoint is {last}" if last.exists() else "nothing was saved yet"
        return f"Lower the learning rate, set clip_norm, or use fp32; {kept}"


def _added(before: Sums, more: Sums) -> Sums:
    """The sums of both; of none before, those that come."""
    return [a + b for a, b in zip(before, more, strict=True)] if before else more


def _grouped(batches: Iterator[Item], size: int) -> Iterator[list[Item]]:
    while group := list(islice(batches, size)):
        yield group
