"""How well a trained run does when events are lost, added or moved, or time warps."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn

from spikeloom.data import Images, perturb
from spikeloom.registry import Unsupported
from spikeloom.report.figures import bands
from spikeloom.report.paired import mean_sd
from spikeloom.report.svg import standalone
from spikeloom.report.whole import write_file
from spikeloom.run.aside import aside
from spikeloom.run.build import build
from spikeloom.run.config import RECORDED, ConfigError
from spikeloom.run.distributed import Processes
from spikeloom.run.evaluate import evaluate
from spikeloom.run.loop import Silent, Training
from spikeloom.run.record import hold, stored_config, write_json
from spikeloom.run.task import Task, device_of, needs_classes, prepare

RECORD = "robustness.json"
PUBLISHED = {
    "delete": (0.0, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64),
    "warp": (-0.5, -0.375, -0.25, -0.125, 0.0, 0.125, 0.25, 0.375, 0.5),
}  # of HetSyn (arXiv 2508.11644), but for how many places there are between the ends of the warp
LOOKED_AT = 256  # training samples that tell whether data are binary
Told = Callable[[str, float, int, float], None]


def _delete(x: Tensor, p: float, generator: Generator, most: int) -> Tensor:
    return perturb.drop(x, p, generator)


def _noise(x: Tensor, rate: float, generator: Generator, most: int) -> Tensor:
    return perturb.add(x, rate, generator, most=most)


def _jitter(x: Tensor, sd: float, generator: Generator, most: int) -> Tensor:
    return perturb.jitter(x, sd, generator, most=most)


def _warp(x: Tensor, octaves: float, generator: Generator, most: int) -> Tensor:
    T = perturb.warped_steps(x.shape[1], 2**octaves)
    return perturb.warp(x, 2**octaves, generator, T=T, most=most)


@dataclass(frozen=True)
class Kind:
    """A way to perturb sequences: what its strength is, from where to where, and what it does."""

    said: str
    least: float
    most: float
    change: Callable[[Tensor, float, Generator, int], Tensor]


KINDS = {
    "delete": Kind("share of the events that are lost", 0, 1, _delete),
    "noise": Kind("events added per place and step", 0, perturb.MOST, _noise),
    "jitter": Kind("deviation of the events' shifts [steps]", 0, 1e6, _jitter),
    "warp": Kind("log₂ of the factor that time is warped by", -4, 4, _warp),
}


@dataclass(frozen=True)
class Trials:
    """What to try.

    Args:
        strengths: by the name of the perturbation, one of ``KINDS``, each alone.
        draws: at every strength.
        test: use the first so many test samples; all if None.
    """

    strengths: Mapping[str, Sequence[float]]
    draws: int = 3
    test: int | None = None


@dataclass(frozen=True, eq=False)
class Perturbed:
    """Samples that are perturbed as they are read; each draws by the seed and its own index."""

    images: Images
    change: Callable[[Tensor, Generator], Tensor]
    seed: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.images)

    def __getitems__(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        x, y = self.images.__getitems__(indices)
        if not indices:
            return x, y
        changed = [self.change(x[n : n + 1], self._draws(at)) for n, at in enumerate(indices)]
        return torch.cat(changed), y

    def _draws(self, index: int) -> Generator:
        word = np.random.SeedSequence((*self.seed, index)).generate_state(1, np.uint64)[0]
        return torch.Generator().manual_seed(int(word) >> 1)


def study(
    folder: Path,
    trials: Trials,
    *,
    weights: str | None = None,
    root: Path | None = None,
    tell: Told | None = None,
) -> dict[str, Any]:
    """Score a run on perturbed test sequences; writes ``robustness.json`` and figures.

    Under warps the number of steps goes along with the factor. Draws are the same for all
    strengths, and for all runs of one seed on the same data. Where no place and step of the data
    has more than one event, none has afterwards.

    Args:
        folder: a run, finished or with a checkpoint; it stays as it is.
        trials: what to try.
        weights: ``last`` or ``best``; else as the recipe says.
        root: where the data sets are.
        tell: told of every score: perturbation, strength, draw and accuracy.

    Raises:
        ConfigError: nothing to try, a strength out of range, or data that are no recorded events.
        Unsupported: the network takes no other number of steps, as a warp asks for.
        CheckpointError: the checkpoint of the run is missing or damaged.
    """
    _check(trials)
    config = stored_config(folder)
    task = prepare(config, Processes(), device_of(config.run.device), root, folder)
    needs_classes(task, "robust")
    needs_events(task, "robust")
    which = weights or config.run.select
    model = Training(task, folder, Silent()).weights(which).eval()
    if trials.test:
        task.splits = replace(task.splits, test=task.splits.test[: trials.test])
    _try_steps(task, model, trials.strengths.get("warp", ()))
    untouched = _score(task, model)
    result: dict[str, Any] = {"weights": which, "draws": trials.draws, "T": config.model.T}
    result |= {"test": len(task.splits.test), "untouched": untouched}
    result["rows"] = list(_rows(task, model, trials, untouched, tell))
    with hold(folder):
        write_json(folder / RECORD, result)
        for name in trials.strengths:
            drawn = standalone(figure({"this run": [result]}, name))
            write_file(folder / f"robustness-{name}.svg", drawn.encode())
    return result


def needs_events(task: Task, what: str) -> None:
    """Refuse what looks at single events, on data that are none.

    Raises:
        ConfigError: the data have no steps of their own, or other numbers in them.
    """
    name, encoder = task.source.name, task.config.model.encoder.name
    if encoder != RECORDED:
        raise ConfigError(
            f"{what} needs recorded sequences, and {name} has none: the steps of this run come "
            f"from the encoder {encoder!r}, which makes them of one image"
        )
    if not task.source.counts:
        raise ConfigError(
            f"{what} needs counts of events, and the sequences of {name} hold other numbers"
        )


def _check(trials: Trials) -> None:
    if not any(trials.strengths.values()) or trials.draws < 1:
        raise ConfigError(
            f"give strengths of {', '.join(KINDS)}, and at least one draw; got "
            f"{dict(trials.strengths)} and {trials.draws}"
        )
    for name, strengths in trials.strengths.items():
        kind = KINDS[name]
        for strength in strengths:
            if not kind.least <= strength <= kind.most:
                raise ConfigError(
                    f"{name} = {strength}: {kind.said}, from {kind.least:g} to {kind.most:g}"
                )


def _try_steps(task: Task, model: nn.Module, octaves: Sequence[float]) -> None:
    """Push a sample of each length through, so that what is not taken is refused now."""
    T = task.config.model.T
    x, y = task.source.train.__getitems__(task.splits.train[:1].tolist())
    for steps in sorted({perturb.warped_steps(T, 2**each) for each in octaves} - {T}):
        sample = x.new_zeros(1, steps, *x.shape[2:])
        try:
            with torch.no_grad(), aside(task.device), task.autocast():
                model(task.of_steps(steps).batch(sample, y, training=False).x_seq)
        except (ValueError, RuntimeError, IndexError) as error:
            raise Unsupported(
                f"{task.config.model.name} takes no {steps} steps in place of T = {T}, which a "
                f"warp needs: {error}; leave --warp out"
            ) from error


def _rows(
    task: Task, model: nn.Module, trials: Trials, untouched: float, tell: Told | None
) -> Iterator[dict[str, Any]]:
    x, _ = task.source.train.__getitems__(task.splits.train[:LOOKED_AT].tolist())
    most, seed = perturb.fullest(x), task.config.run.seed
    for name, strengths in trials.strengths.items():
        for strength in strengths:
            T = task.config.model.T
            T = perturb.warped_steps(T, 2**strength) if name == "warp" else T
            scores = []
            for draw in range(trials.draws):
                change = partial(_changed, name=name, strength=strength, most=most)
                test = Perturbed(task.source.test, change, (seed, draw))
                tried = replace(task.of_steps(T), source=replace(task.source, test=test))
                # a strength of 0 changes nothing
                scores.append(_score(tried, model) if strength else untouched)
                if tell:
                    tell(name, strength, draw, scores[-1])
            yield {"perturbation": name, "strength": strength, "T": T, "accuracy": scores}


def _changed(x: Tensor, generator: Generator, *, name: str, strength: float, most: int) -> Tensor:
    return KINDS[name].change(x, strength, generator, most)


def _score(task: Task, model: nn.Module) -> float:
    loss = build(task.config.phase[-1].loss, "loss")
    return float(evaluate(task, model, loss, "test")["accuracy"])


def figure(arms: Mapping[str, Sequence[Mapping[str, Any]]], name: str) -> str:
    """Accuracy against the strength of a perturbation, a line for each arm.

    Args:
        arms: records of runs, by what the line is called. Of several runs in an arm the mean over
            their means and its deviation between runs; of one run that over its draws.
        name: of the perturbation.
    """
    lines = {arm: spread(records, name) for arm, records in arms.items()}
    key, said = f"robustness-{name}", KINDS[name].said
    return bands(lines, name="test.accuracy", key=key, over=said, whole=False)


def spread(
    records: Sequence[Mapping[str, Any]], name: str
) -> tuple[list[float], list[float], list[float | None]]:
    """Strengths that all records have, mean accuracies, and their deviations over runs or draws."""
    scores = [
        {row["strength"]: row["accuracy"] for row in record["rows"] if row["perturbation"] == name}
        for record in records
    ]
    strengths = sorted(set.intersection(*(set(score) for score in scores)))
    found = [
        mean_sd([mean_sd(score[at])[0] for score in scores] if len(scores) > 1 else scores[0][at])
        for at in strengths
    ]
    return strengths, [mean for mean, _ in found], [sd for _, sd in found]


__all__ = [
    "KINDS",
    "PUBLISHED",
    "RECORD",
    "Kind",
    "Trials",
    "figure",
    "needs_events",
    "spread",
    "study",
]
