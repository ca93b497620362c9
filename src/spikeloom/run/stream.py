"""Trained runs tested event by event."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from spikeloom.deploy.events import Clocked, EventNetwork, EventRun, compile_events, differing
from spikeloom.functional import Counts, Late
from spikeloom.run.aside import aside, reseed
from spikeloom.run.config import ConfigError
from spikeloom.run.distributed import Processes
from spikeloom.run.loop import Silent, Training
from spikeloom.run.record import stored_config
from spikeloom.run.task import Task, device_of, needs_classes, prepare

Told = Callable[[int], None]  # of how many samples are done


@dataclass(frozen=True)
class How:
    """How samples run event by event.

    Args:
        constants: what becomes of currents that come in every step: ``refuse``, ``fold``, ``drop``.
        late: share of spikes that are late on a connection, each for itself.
        most: steps that they are late at most.
        order: seed of the order in which what one step brings arrives; None for that of steps.
        single: potentials and weights in float32.
        test: the first so many test samples; None for all.
    """

    constants: Literal["refuse", "fold", "drop"] = "refuse"
    late: float = 0.0
    most: int = 1
    order: int | None = None
    single: bool = False
    test: int | None = None


def stream(
    folder: Path,
    how: How,
    *,
    weights: str | None = None,
    root: Path | None = None,
    tell: Told | None = None,
) -> dict[str, Any]:
    """Test a run's network one event at a time, beside the clocked network in float64.

    Args:
        folder: of the run.
        how: delays, order and all that.
        weights: ``last`` or ``best``; else as the recipe says.
        root: where the data sets are.
        tell: told of every sample.

    Returns:
        Accuracy of both, spikes that differ by layer, events, synaptic operations and their rate.

    Raises:
        ConfigError: this is no run folder, or a number is out of range.
        CheckpointError: its checkpoint is missing, altered or of another model.
        Unsupported: the network cannot run event by event; says which layer, and why.
    """
    config = stored_config(folder)
    config = config.model_copy(update={"run": config.run.model_copy(update={"device": "cpu"})})
    try:
        late = Late(how.late, how.most, config.run.seed)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    task = prepare(config, Processes(), device_of("cpu"), root, folder)
    needs_classes(task, "stream")
    which = weights or config.run.select
    model = Training(task, folder, Silent()).weights(which)
    dtype = torch.float32 if how.single else torch.float64
    net = compile_events(model, task.source.shape, constants=how.constants, dtype=dtype)
    if how.test:
        task.splits = replace(task.splits, test=task.splits.test[: how.test])
    found = Found(Clocked(model), net)
    with torch.no_grad(), aside(task.device):
        for step, (x, y) in enumerate(task.load("test", task.order("test"))):
            reseed(config.run.seed, "test", step)
            x_seq = task.batch(x, y, training=False).x_seq
            for n in range(len(y)):
                seed = None if how.order is None else how.order + found.samples
                found.add(x_seq[:, n : n + 1], int(y[n]), late, seed)
                if tell:
                    tell(found.samples)
    return {"weights": which, **vars(how), **found.as_dict(), "layers": found.layers(task)}


class Found:
    """What the samples so far came to."""

    def __init__(self, clocked: Clocked, net: EventNetwork) -> None:
        self.clocked, self.net = clocked, net
        self.samples, self.seconds = 0, 0.0
        self.right: Counter[str] = Counter()
        self.differing: Counter[str] = Counter()
        self.counts = Counts()

    def add(self, x_seq: Tensor, y: int, late: Late, seed: int | None) -> None:
        """Run one sample both ways."""
        x_seq = x_seq.double()
        start = time.perf_counter()
        run: EventRun = self.net.run(x_seq, late=late, seed=seed)
        self.seconds += time.perf_counter() - start
        logits_seq, spikes = self.clocked(x_seq)
        self.differing.update(differing(self.net.spike_seqs(run), spikes))
        self.counts = self.counts + run.counts
        self.samples += 1
        self.right["events"] += int(run.decisions[0]) == y
        self.right["clocked"] += int(logits_seq.mean(0).argmax(-1)[0]) == y

    def as_dict(self) -> dict[str, Any]:
        """Scores and counts of all samples."""
        counts = self.counts
        return {
            "samples": self.samples,
            "accuracy": self.right["events"] / max(1, self.samples),
            "accuracy_clocked": self.right["clocked"] / max(1, self.samples),
            "differing": sum(self.differing.values()),
            "spikes": sum(counts.spikes),
            "synaptic_operations": counts.synaptic_operations,
            **{name: value for name, value in vars(counts).items() if name != "spikes"},
            "seconds": self.seconds,
        }

    def layers(self, task: Task) -> list[Mapping[str, Any]]:
        """Neurons, spikes and differing spikes of each layer, over all samples."""
        steps = self.samples * task.config.model.T
        return [
            {
                "layer": population.name,
                "neurons": population.keep.numel(),
                "spikes": spikes,
                "rate": spikes / max(1, population.keep.numel() * steps),
                "differing": self.differing[population.name],
            }
            for population, spikes in zip(
                self.net.program.populations, self.counts.spikes, strict=True
            )
            if population.fires
        ]


__all__ = ["How", "stream"]
