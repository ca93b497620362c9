"""The training loop: every phase, epoch and update of a run, resumable at each checkpoint."""

import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from spikeloom.learning import Learner, Loss, Progress
from spikeloom.run import checkpoint
from spikeloom.run.build import build
from spikeloom.run.config import ConfigError, Phase
from spikeloom.run.evaluate import evaluate
from spikeloom.run.optimize import Schedule, groups
from spikeloom.run.record import BEST, LAST, METRICS, write_lines
from spikeloom.run.task import Task


class NonFiniteLossError(ArithmeticError):
    """The loss is NaN or infinite; the message says where, the last checkpoint is kept."""


class Watcher(Protocol):
    """Told how training goes; the loop does not care what it does with it."""

    def update(self, progress: Progress, loss: float) -> None:
        """After every update."""

    def epoch(self, line: dict[str, Any]) -> None:
        """After every epoch, with its line of metrics."""


@dataclass
class Stage:
    """What one phase trains with."""

    phase: Phase
    learner: Learner
    loss: Loss
    schedule: Schedule
    optimizer: torch.optim.Optimizer
    ema: AveragedModel | None
    scaler: torch.amp.GradScaler


@dataclass
class State:
    """Where a run stands; with weights, optimizer and random state this is all there is."""

    phase: int = 0
    epoch: int = 0
    batch: int = 0  # batches done in this epoch
    update: int = 0  # updates done in this phase
    seconds: float = 0.0
    sums: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])  # loss, right, count
    best: float = -math.inf
    history: list[dict[str, Any]] = field(default_factory=list)


def stage_of(task: Task, phase: Phase, model: nn.Module) -> Stage:
    """Build what a phase trains with around an already prepared model."""
    optimizer = phase.optimizer
    try:
        parameters = groups(model, phase.no_decay)
    except ValueError as error:
        raise ConfigError(f"phase: {error}") from error
    return Stage(
        phase,
        build(phase.learner, "learner"),
        build(phase.loss, "loss"),
        build(phase.schedule, "schedule"),
        build(optimizer, "optimizer", parameters),
        AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(phase.ema), use_buffers=True)
        if phase.ema
        else None,
        torch.amp.GradScaler(task.device.type, enabled=task.config.run.precision == "fp16"),
    )


class Training:
    """A run in progress over all its phases."""

    def __init__(self, task: Task, folder: Path, watcher: Watcher) -> None:
        self.task, self.folder, self.watcher = task, folder, watcher
        self.model = task.model
        self.state = State()
        self.learners = [build(phase.learner, "learner") for phase in task.config.phase]
        for phase in task.config.phase:  # a mistake in a late phase should fail now
            build(phase.loss, "loss")
            build(phase.schedule, "schedule")
            build(phase.optimizer, "optimizer", [nn.Parameter(torch.zeros(1))])
        self.stage = self._enter(0)

    def _enter(self, index: int) -> Stage:
        phase = self.task.config.phase[index]
        self.model = self.learners[index].prepare(self.model).to(self.task.device)
        stage = stage_of(self.task, phase, self.model)
        stage.learner = self.learners[index]
        return stage

    def run(self) -> nn.Module:
        """Train to the end of the last phase; returns the model to evaluate."""
        state, phases = self.state, self.task.config.phase
        while True:
            while state.epoch < self.stage.phase.epochs:
                self._epoch()
            if state.phase + 1 == len(phases):
                return self.learners[state.phase].finish(self.result())
            self.model = self.learners[state.phase].finish(self.result())
            state.phase, state.epoch, state.update = state.phase + 1, 0, 0
            self.stage = self._enter(state.phase)

    def result(self) -> nn.Module:
        """The weights to judge: the averaged ones if there are any."""
        judged: nn.Module = self.model if self.stage.ema is None else self.stage.ema.module
        return judged

    def _epoch(self) -> None:
        task, state, phase = self.task, self.state, self.stage.phase
        began = saved = time.monotonic()
        order = task.order("train", epoch=self._epochs_before() + state.epoch, start=state.batch)
        per_epoch = math.ceil(order.total / phase.accumulate)
        for group in _grouped(task.load("train", order), phase.accumulate):
            progress = Progress(state.epoch, phase.epochs, state.update, per_epoch * phase.epochs)
            loss = self._update(group, progress)
            state.batch, state.update = state.batch + len(group), state.update + 1
            self.watcher.update(progress, loss)
            if time.monotonic() - saved > 60 * task.config.run.checkpoint_minutes:
                state.seconds += time.monotonic() - began
                began = saved = time.monotonic()
                self.save()
        line: dict[str, Any] = {"phase": state.phase, "epoch": state.epoch + 1}
        line |= {"update": state.update, "lr": self._lr(state.update, per_epoch * phase.epochs)}
        loss, right, count = state.sums
        line["train"] = {"loss": loss / count, "accuracy": right / count}
        if len(task.splits.val):
            found = evaluate(task, self.result(), self.stage.loss, "val")
            line["val"] = {key: found[key] for key in ("loss", "accuracy")}
        state.seconds += time.monotonic() - began
        line["seconds"] = round(state.seconds, 3)
        state.history.append(line)
        state.epoch, state.batch, state.sums = state.epoch + 1, 0, [0.0, 0.0, 0.0]
        self._keep_best(line)
        self.save()
        self.watcher.epoch(line)

    def _update(self, group: list[tuple[Tensor, Tensor]], progress: Progress) -> float:
        task, stage, model = self.task, self.stage, self.model
        sizes = torch.tensor([float(sum(len(x) for x, _ in group))], device=task.device)
        total = float(task.procs.sum(sizes))
        model.train()
        stage.optimizer.zero_grad(set_to_none=True)
        seen = torch.zeros(3, dtype=torch.float64)
        for x, y in group:
            if len(x):
                seen += self._backward(x, y, len(x) / total, progress)
        seen = task.procs.sum(seen.to(task.device)).cpu()
        task.procs.reduce_gradients(model.parameters())
        if not math.isfinite(float(seen[0])):
            raise NonFiniteLossError(self._where(progress, group))
        self._step(progress)
        self.state.sums = [a + b for a, b in zip(self.state.sums, seen.tolist(), strict=True)]
        return float(seen[0]) / max(float(seen[2]), 1)

    def _backward(self, x: Tensor, y: Tensor, share: float, progress: Progress) -> Tensor:
        stage = self.stage
        batch = self.task.batch(x, y, training=True)

        def scaled(logits_seq: Tensor, target: Tensor) -> Tensor:
            return stage.scaler.scale(stage.loss(logits_seq, target) * share)

        with self.task.autocast():
            metrics = stage.learner.step(self.model, batch, scaled, progress)
        loss = float(metrics.loss) / stage.scaler.get_scale() / share
        target = batch.y.argmax(-1) if batch.y.dim() == 2 else batch.y
        right = (metrics.logits_seq.float().mean(0).argmax(-1) == target).sum()
        return torch.tensor([loss * len(x), float(right), float(len(x))], dtype=torch.float64)

    def _step(self, progress: Progress) -> None:
        stage = self.stage
        lr = self._lr(progress.update, progress.updates)
        for group in stage.optimizer.param_groups:
            group["lr"] = lr
        stage.scaler.unscale_(stage.optimizer)
        if stage.phase.clip_norm:
            nn.utils.clip_grad_norm_(self.model.parameters(), stage.phase.clip_norm)
        stage.scaler.step(stage.optimizer)
        stage.scaler.update()
        if stage.ema is not None:
            stage.ema.update_parameters(self.model)

    def _lr(self, update: int, updates: int) -> float:
        base: float = self.stage.optimizer.defaults["lr"]
        return base * self.stage.schedule(update / max(1, updates))

    def _epochs_before(self) -> int:
        return sum(phase.epochs for phase in self.task.config.phase[: self.state.phase])

    def _keep_best(self, line: dict[str, Any]) -> None:
        score = line.get("val", line["train"])["accuracy"]
        if score > self.state.best:
            self.state.best = score
            if self.task.procs.first:
                weights = checkpoint.prefixed("model", self.result().state_dict())
                facts = {"epoch": line["epoch"], "phase": line["phase"], "accuracy": score}
                checkpoint.save_state(self.folder / BEST, weights, facts)

    def save(self) -> None:
        """Write the last checkpoint and the metrics so far."""
        task, stage = self.task, self.stage
        random = task.procs.gather(torch.get_rng_state())
        if not task.procs.first:
            return
        slots, facts = checkpoint.optimizer_state(stage.optimizer)
        tensors = checkpoint.prefixed("model", self.model.state_dict())
        tensors |= checkpoint.prefixed("optimizer", slots)
        tensors |= {f"random/{rank}": state for rank, state in enumerate(random)}
        if task.device.type == "cuda":
            tensors["random/cuda"] = torch.cuda.get_rng_state(task.device)
        if stage.ema is not None:
            tensors |= checkpoint.prefixed("ema", stage.ema.state_dict())
        about = {
            "state": asdict(self.state),
            "optimizer": facts,
            "scaler": stage.scaler.state_dict(),
            "model": task.config.model.model_dump(mode="json"),
        }
        checkpoint.save_state(self.folder / LAST, tensors, about)
        write_lines(self.folder / METRICS, self.state.history)

    def resume(self) -> None:
        """Go on from the last checkpoint of the folder.

        Raises:
            CheckpointError: it cannot be read or is of another model.
        """
        path = self.folder / LAST
        tensors, about = checkpoint.load_state(path)
        state = State(**about["state"])
        while self.state.phase < state.phase:
            self.model = self.learners[self.state.phase].finish(self.result())
            self.state.phase += 1
            self.stage = self._enter(self.state.phase)
        self.state = state
        stage = self.stage
        checkpoint.load_weights(self.model, checkpoint.under("model", tensors), path)
        slots = checkpoint.under("optimizer", tensors)
        checkpoint.load_optimizer(stage.optimizer, slots, about["optimizer"])
        stage.scaler.load_state_dict(about["scaler"])
        if stage.ema is not None:
            checkpoint.load_weights(stage.ema, checkpoint.under("ema", tensors), path)
        own = f"random/{self.task.procs.rank}"
        if own in tensors:
            torch.set_rng_state(tensors[own])
        if self.task.device.type == "cuda" and "random/cuda" in tensors:
            torch.cuda.set_rng_state(tensors["random/cuda"], self.task.device)

    def _where(self, progress: Progress, group: list[tuple[Tensor, Tensor]]) -> str:
        where = f"phase {self.state.phase}, epoch {progress.epoch + 1}, update {progress.update}"
        first = first_nonfinite(self.model, self.task.batch(*group[0], training=False).x_seq)
        kept = self.folder / LAST
        return (
            f"the loss is not finite at {where}; {first}. "
            f"Lower the learning rate, set clip_norm, or use fp32; "
            + (f"the last good checkpoint is {kept}" if kept.exists() else "nothing was saved yet")
        )


def first_nonfinite(model: nn.Module, x_seq: Tensor) -> str:
    """Which parameter or, in call order, which layer is the first to hold NaN or infinity."""
    for name, parameter in model.named_parameters():
        if not parameter.isfinite().all():
            return f"parameter {name} already holds NaN or infinity"
    guilty: list[str] = []
    hooks = []
    for name, module in model.named_modules():
        if name and not list(module.children()):
            hooks.append(module.register_forward_hook(_judge(name, guilty)))
    try:
        with torch.no_grad():
            model(x_seq)
    finally:
        for hook in hooks:
            hook.remove()
    return (
        f"layer {guilty[0]} is the first with NaN or infinity"
        if guilty
        else "all layers are finite"
    )


def _judge(name: str, guilty: list[str]) -> Any:
    def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
        if not output.isfinite().all():
            guilty.append(name)

    return hook


def _grouped(
    batches: Iterator[tuple[Tensor, Tensor]], size: int
) -> Iterator[list[tuple[Tensor, Tensor]]]:
    while group := list(islice(batches, size)):
        yield group
