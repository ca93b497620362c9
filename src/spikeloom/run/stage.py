"""What a phase trains with, where a run stands, and both to and from a checkpoint."""

import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from spikeloom.callbacks import Callback
from spikeloom.callbacks.slope import Slope
from spikeloom.learning import Batch, Learner, Loss, Metrics, Objective, Progress
from spikeloom.run import checkpoint
from spikeloom.run.aside import aside, reseed
from spikeloom.run.build import build
from spikeloom.run.config import Config, ConfigError, Phase
from spikeloom.run.noted import Kept, check_caching, note, training_batches
from spikeloom.run.optimize import Schedule, Special, groups
from spikeloom.run.task import Task

# Settings that do not change what a run comes to.
MAY_CHANGE = {
    "title", "data.cache", "data.download", "data.partial", "data.root", "data.verify",
    "data.workers", "run.arm", "run.device", "run.threads", "run.select", "run.twin",
    "run.checkpoint_minutes", "run.tensorboard",
}  # fmt: skip


Item = tuple[Tensor, Tensor] | Batch  # samples and targets as loaded, [B, *] each, or noted


@dataclass
class State:
    """Where a run stands; with weights, optimizer and random state this is all there is."""

    phase: int = 0
    epoch: int = 0
    batch: int = 0  # batches done in this epoch
    update: int = 0  # updates done in this phase
    seconds: float = 0.0
    sums: list[float] = field(default_factory=list)  # loss, what the measure needs, count
    best: float = -math.inf  # of what ranks scores, so that more is better
    notes: dict[str, float | None] = field(default_factory=dict)  # of callbacks
    history: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Stage:
    """What one phase trains with."""

    phase: Phase
    model: nn.Module
    learner: Learner
    loss: Loss
    callbacks: dict[str, Callback]
    schedule: Schedule
    optimizer: torch.optim.Optimizer
    ema: AveragedModel | None
    scaler: torch.amp.GradScaler
    kept: Kept | None = None  # training samples as the learner wants them
    begun: bool = False

    def judged(self) -> nn.Module:
        """The weights to evaluate: the averaged ones if there are any."""
        model: nn.Module = self.model if self.ema is None else self.ema.module
        return model

    def plain(self) -> nn.Module:
        """The same without what the learner added: the model that is scored and kept."""
        return self.learner.finish(self.judged())

    @property
    def online(self) -> bool:
        """Whether the learner changes the model itself."""
        return bool(getattr(self.learner, "online", False))

    @property
    def stepping(self) -> bool:
        """Whether the learner makes several updates of one batch."""
        return bool(getattr(self.learner, "stepping", False))

    def taught(self, teacher: nn.Module) -> bool:
        """Whether a callback has the teacher; one that a learner has is part of the model."""
        held = (value for callback in self.callbacks.values() for value in vars(callback).values())
        return any(value is teacher for value in held)

    def learn(self, batch: Batch, progress: Progress, share: float = 1.0) -> Iterator[Metrics]:
        """Metrics each time that the learner has gradients of a share of the loss with its terms.

        Once, unless the learner is stepping: then an update belongs between one and the next, and
        gradients start anew.
        """
        with ExitStack() as stack:
            terms = [
                partial(stack.enter_context(callback.term(self.model)), batch)
                for callback in self.callbacks.values()
            ]
            loss = Objective(self.loss, terms, lambda value: self.scaler.scale(value * share))
            if not self.stepping:
                yield self.learner.step(self.model, batch, loss, progress)
                return
            learner: Any = self.learner
            for metrics in learner.steps(self.model, batch, loss, progress):
                yield metrics
                self.optimizer.zero_grad(set_to_none=True)

    def lr(self, share: float) -> float:
        """The learning rate when this share of the phase is done."""
        base: float = self.optimizer.defaults["lr"]
        return base * self.schedule(share)

    def step(self, share: float) -> None:
        """One optimizer step on the gradients that are there; nothing moves if there are none."""
        if all(p.grad is None for p in self.model.parameters()):
            return  # a gradient scaler would take that for a mistake
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr(share) * group["lr_scale"]
        self.scaler.unscale_(self.optimizer)
        if self.phase.clip_norm:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.phase.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()

    def increase(self, increments: Mapping[str, Tensor]) -> None:
        """Add what must bypass the optimizer to parameters, by name."""
        with torch.no_grad():
            for name, change in increments.items():
                self.model.get_parameter(name).add_(change)

    def settle(self) -> None:
        """Let modules of the model that have a method ``after_update`` see to themselves."""
        for module in self.model.modules():
            if after_update := getattr(module, "after_update", None):
                after_update()

    def notes(self) -> dict[str, float | None]:
        """What the learner has to say of the epoch that has just been trained."""
        notes = getattr(self.learner, "notes", None)
        name, found = self.phase.learner.name, notes(self.model) if notes else {}
        return {
            f"{name}/{key}": float(value) if math.isfinite(value) else None  # JSON knows no NaN
            for key, value in found.items()
        }

    def average(self) -> None:
        """Let the averaged weights follow; the last thing of an update."""
        if self.ema is not None:
            self.ema.update_parameters(self.model)


def batch_of(task: Task, item: Item, *, training: bool) -> Batch:
    """Loaded samples as a batch on the device; one that is a batch already only moves there."""
    if not isinstance(item, Batch):
        return task.batch(*item, training=training)
    known = None if item.known is None else item.known.to(task.device)
    return Batch(item.x_seq.to(task.device), item.y.to(task.device), known)


def begin(task: Task, stage: Stage, *, fresh: bool) -> dict[str, float]:
    """Let the learner look at the training samples, once for a phase; the facts that it notes.

    Args:
        task: the run.
        stage: of the phase.
        fresh: nothing is trained yet, so that the averaged model starts from what it changes.
    """
    if stage.begun:
        return {}
    stage.begun = True
    at, batches = task.splits.train, training_batches(task)
    stage.kept, facts = note(task, stage.learner, stage.model, at, batches)
    if fresh and stage.ema is not None:
        stage.ema.module.load_state_dict(stage.model.state_dict())
    return facts


def check_same(path: Path, stored: dict[str, Any] | None, config: Config) -> None:
    """Refuse to go on with another configuration than the checkpoint was made with.

    Raises:
        CheckpointError: names the first settings that differ, but for those that change no result.
    """
    if stored is None:  # an early checkpoint
        return
    before, now = (_flat(tree) for tree in (stored, config.model_dump(mode="json")))
    with suppress(ValidationError):  # of an earlier version: with the defaults of settings it lacks
        before = _flat(Config.model_validate(stored).model_dump(mode="json"))
    differing = [
        f"{key} was {before.get(key)!r} and is {now.get(key)!r}"
        for key in sorted(before.keys() | now.keys())
        if key not in MAY_CHANGE and before.get(key) != now.get(key)
    ]
    if differing:
        raise checkpoint.CheckpointError(
            f"{path} was made with another configuration: {'; '.join(differing[:3])}; restore "
            "config.toml, or start a new run"
        )


def _flat(tree: Any, at: str = "") -> dict[str, Any]:
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    out: dict[str, Any] = {}
    for key, value in items:
        inner = f"{at}.{key}".lstrip(".")
        out |= _flat(value, inner) if isinstance(value, dict | list) else {inner: value}
    return out


def enter(task: Task, phase: Phase, model: nn.Module) -> Stage:
    """Let the phase's learner prepare the model, and build the rest around it."""
    index = next(i for i, other in enumerate(task.config.phase) if other is phase)
    before = [other.learner.name for other in task.config.phase[:index]]
    nth = before.count(phase.learner.name)
    learner: Learner = build(phase.learner, "learner", teacher=task.teacher, nth=nth)
    check_caching(task, phase, learner)
    _check_online(task, phase, bool(getattr(learner, "online", False)))
    with aside(task.device):  # what a learner adds starts alike in all processes
        reseed(task.config.run.seed, "prepare", index)
        model = learner.prepare(model).to(task.device)
    try:
        special = [Special(g.match, g.lr_scale, g.weight_decay) for g in phase.group]
        spared = [Special(phase.no_decay, weight_decay=0.0)] if phase.no_decay else []
        parameters = groups(model, [*special, *spared])
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if phase.optimizer.name != "none" and not any(group["params"] for group in parameters):
        raise ConfigError(
            f"{task.config.model.name} has no parameters that gradients train, so "
            f"{phase.learner.name} and {phase.optimizer.name} can do nothing; train it with a "
            'local rule and optimizer = "none"'
        )
    average = get_ema_multi_avg_fn(phase.ema) if phase.ema else None
    loss = build(phase.loss, "loss")
    _check_targets(task, phase, loss)
    stage = Stage(
        phase,
        model,
        learner,
        loss,
        callbacks_of(phase, task.teacher),
        build(phase.schedule, "schedule"),
        build(phase.optimizer, "optimizer", parameters),
        AveragedModel(model, multi_avg_fn=average, use_buffers=True) if average else None,
        torch.amp.GradScaler(task.device.type, enabled=task.config.run.precision == "fp16"),
    )
    if stage.stepping and phase.accumulate > 1:
        raise ConfigError(
            f"{phase.learner.name} makes an update at every step of a batch, so the gradients of "
            f"{phase.accumulate} batches cannot wait for one another; set accumulate = 1"
        )
    for callback in stage.callbacks.values():
        callback.apply(model)
    return stage


def _check_online(task: Task, phase: Phase, online: bool) -> None:
    """Refuse what only gradients could be meant by, where a learner changes the model itself."""
    name = phase.learner.name
    if online != (phase.optimizer.name == "none"):
        raise ConfigError(
            f'{name} changes the network itself; set optimizer = "none"'
            if online
            else f'{name} leaves gradients, and optimizer = "none" would do nothing with them; '
            'choose one, as optimizer = { name = "adam", lr = 1e-3 }'
        )
    if not online:
        return
    for setting, given in {
        "accumulate": phase.accumulate > 1,
        "clip_norm": phase.clip_norm is not None,
        "ema": phase.ema is not None,
        "run.precision": task.config.run.precision in ("bf16", "fp16"),
    }.items():
        if given:
            raise ConfigError(
                f"{name} changes the network itself, sample after sample, and leaves no gradients "
                f"that {setting} is about; take {setting} out"
            )
    if task.procs.world > 1:
        raise ConfigError(
            f"{name} learns from one sample after the other, which {task.procs.world} processes "
            "cannot share; start one process for each run"
        )


def _check_targets(task: Task, phase: Phase, loss: Loss) -> None:
    """Refuse a loss of classes on numbers, and the other way round."""
    kinds = {False: "classes", True: "numbers"}
    takes, has = bool(getattr(loss, "numbers", False)), task.source.numbers
    if takes != has:
        hint = ', as "mse"' if has else ', as "rate_ce"'
        raise ConfigError(
            f"the loss {phase.loss.name!r} takes {kinds[takes]}, and the targets of "
            f"{task.source.name} are {kinds[has]}; choose a loss of {kinds[has]}{hint}"
        )


def callbacks_of(phase: Phase, teacher: nn.Module | None = None) -> dict[str, Callback]:
    names = [part.name for part in phase.callback]
    if len(names) != len(set(names)):
        raise ConfigError(f"callback holds a name twice: {', '.join(names)}")
    built: dict[str, Callback] = {
        part.name: build(part, "callback", teacher=teacher) for part in phase.callback
    }
    slopes = [name for name, callback in built.items() if isinstance(callback, Slope)]
    if len(slopes) > 1:
        raise ConfigError(
            f"each of {' and '.join(slopes)} sets the slope of every spike: choose one"
        )
    return built


def save(path: Path, task: Task, stage: Stage, state: State) -> None:
    """Write everything a run needs to go on; every process calls this, the first one writes."""
    random = task.procs.gather(torch.get_rng_state())
    cuda = task.device.type == "cuda"
    devices = task.procs.gather(torch.cuda.get_rng_state(task.device)) if cuda else []
    if not task.procs.first:
        return
    slots, facts = checkpoint.optimizer_state(stage.optimizer)
    tensors = checkpoint.prefixed("model", stage.model.state_dict())
    tensors |= checkpoint.prefixed("optimizer", slots)
    tensors |= {f"random/{rank}": numbers for rank, numbers in enumerate(random)}
    tensors |= {f"random/cuda/{rank}": numbers for rank, numbers in enumerate(devices)}
    if stage.ema is not None:
        tensors |= checkpoint.prefixed("ema", stage.ema.state_dict())
    if task.teacher is not None and stage.taught(task.teacher):
        tensors |= checkpoint.prefixed("teacher", task.teacher.state_dict())
    about = {
        "state": asdict(state),
        "optimizer": facts,
        "scaler": stage.scaler.state_dict(),
        "callbacks": {name: callback.state() for name, callback in stage.callbacks.items()},
        "config": task.config.model_dump(mode="json"),
    }
    checkpoint.save_state(path, tensors, about)


def restore(path: Path, task: Task, stage: Stage, tensors: dict[str, Tensor], about: Any) -> None:
    """Put back what :func:`save` wrote into a stage of the same phase.

    Raises:
        CheckpointError: the checkpoint is of another model.
    """
    checkpoint.load_weights(stage.model, checkpoint.under("model", tensors), path)
    slots = checkpoint.under("optimizer", tensors)
    checkpoint.load_optimizer(stage.optimizer, slots, about["optimizer"])
    stage.scaler.load_state_dict(about["scaler"])
    for name, callback in stage.callbacks.items():
        callback.restore(about["callbacks"][name])
        callback.apply(stage.model)
    if stage.ema is not None:
        checkpoint.load_weights(stage.ema, checkpoint.under("ema", tensors), path)
    if task.teacher is not None and (taught := checkpoint.under("teacher", tensors)):
        checkpoint.load_weights(task.teacher, taught, path)
    own = f"random/{task.procs.rank}"
    if own in tensors:
        torch.set_rng_state(tensors[own])
    own = f"random/cuda/{task.procs.rank}"
    if task.device.type == "cuda" and own in tensors:
        torch.cuda.set_rng_state(tensors[own], task.device)
