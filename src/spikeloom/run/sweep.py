"""Carries out a study: every arm with every seed, each in a process of its own, and one table.

Whatever was interrupted goes on where it was; what is finished is not done again.
"""

import json
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spikeloom.run.config import Config, ConfigError, full_name
from spikeloom.run.record import CONFIG, RESULT
from spikeloom.run.study import Arm, Study

Told = Callable[["Job", float | str], None]


@dataclass(frozen=True)
class Job:
    """One run of a study."""

    folder: Path
    arm: str = field(compare=False)
    seed: int = field(compare=False)
    value: Any = field(compare=False)
    recipe: str = field(compare=False)
    config: Config = field(compare=False)

    @property
    def title(self) -> str:
        """What to call it on the screen."""
        tuned = "" if self.value is None else f", {self.value}"
        return f"{self.arm}{tuned}, seed {self.seed}"


@dataclass(frozen=True)
class Sweep:
    """What a sweep came to: finished run folders, and by name of the run or arm the rest.

    ``tried`` are the validation accuracies that ``chosen`` settings were chosen by.
    """

    folders: tuple[Path, ...]
    tried: dict[str, float]
    chosen: dict[str, Any]
    failed: dict[str, str]


def sweep(
    study: Study, out: Path, *, root: Path | None = None, jobs: int = 1, tell: Told | None = None
) -> Sweep:
    """Run what is missing of a study under ``out/ARM/[VALUE/]seedN``.

    Args:
        study: what to run.
        out: folder of the study; one that holds other runs is refused.
        root: where the data sets are.
        jobs: runs at a time, each in a process, the cores shared among them; 0: one after the
            other in this process.
        tell: told of every run that ends, with its validation accuracy or what went wrong.

    Raises:
        ConfigError: a run there has another configuration than the study gives it.
    """
    failed: dict[str, str] = {}
    tell = tell or (lambda job, outcome: None)
    chosen: dict[str, Any] = {}
    scores: dict[Job, float] = {}
    if study.tune:
        tuned = study.arm if study.tune.arms == "each" else (study.find(study.baseline),)
        tries = [
            _job(study, arm, study.seeds[0], value, out)
            for arm in tuned
            for value in study.tune.values
        ]
        scores = _work(tries, root, jobs, tell, failed)
        for arm in tuned:
            chosen[arm.name] = _best(arm, [job for job in tries if job.arm == arm.name], scores)
    values = {arm.name: chosen.get(arm.name, chosen.get(study.baseline)) for arm in study.arm}
    wanted = [
        _job(study, arm, seed, values[arm.name], out) for seed in study.seeds for arm in study.arm
    ]
    done = _work(wanted, root, jobs, tell, failed)
    tried = {job.title: score for job, score in scores.items()}
    return Sweep(tuple(job.folder for job in wanted if job in done), tried, values, failed)


def _job(study: Study, arm: Arm, seed: int, value: Any, out: Path) -> Job:
    place = out / arm.name / ("" if value is None else str(value)) / f"seed{seed}"
    recipe = full_name(arm.recipe or study.recipe)
    job = Job(place, arm.name, seed, value, recipe, study.config(arm, seed, value))
    if (place / CONFIG).exists() and _stored(place) != _plain(job.config):
        raise ConfigError(
            f"{place} holds a run of other settings than the study gives this arm; "
            "choose another --out, or remove it"
        )
    return job


def _stored(folder: Path) -> dict[str, Any]:
    from spikeloom.run.session import stored_config

    return _plain(stored_config(folder))


def _plain(config: Config) -> dict[str, Any]:
    return config.model_dump(mode="json", exclude_none=True)


def _best(arm: Arm, tries: Iterable[Job], scores: dict[Job, float]) -> Any:
    """The value with the highest validation accuracy; of equals the first."""
    known = [(scores[job], job.value) for job in tries if job in scores]
    if not known:
        raise ConfigError(f"arm {arm.name!r}: training failed with every value tried")
    return max(known, key=lambda pair: pair[0])[1]


def _work(
    wanted: Sequence[Job], root: Path | None, jobs: int, tell: Told, failed: dict[str, str]
) -> dict[Job, float]:
    """The validation accuracy of every run; those not finished before are run first."""
    scores = {job: _score(job.folder) for job in wanted if (job.folder / RESULT).exists()}
    missing = [job for job in wanted if job not in scores]
    for job, problem in _each(missing, root, jobs):
        if problem is None:
            scores[job] = _score(job.folder)
        else:
            failed[job.title] = f"{type(problem).__name__}: {problem}"
        tell(job, failed[job.title] if problem else scores[job])
    return scores


def _each(
    missing: Sequence[Job], root: Path | None, jobs: int
) -> Iterator[tuple[Job, BaseException | None]]:
    """Every run as it ends, with what went wrong."""
    if jobs == 0:
        for job in missing:
            try:
                _run(job, root)
            except Exception as error:  # one arm that diverges must not end the others
                yield job, error
            else:
                yield job, None
        return
    threads = max(1, (os.cpu_count() or 1) // jobs) if jobs > 1 else None
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=spawn, max_tasks_per_child=1) as pool:
        running = {pool.submit(_run, job, root, threads): job for job in missing}
        for future in as_completed(running):
            yield running[future], future.exception()


def _run(job: Job, root: Path | None, threads: int | None = None) -> None:
    """One run."""
    import torch

    from spikeloom.report import write_report
    from spikeloom.run.memory import keep_pages
    from spikeloom.run.session import train

    keep_pages()
    if threads:
        torch.set_num_threads(threads)
    going_on = (job.folder / CONFIG).exists()  # perhaps only its teacher was being trained
    train(job.config, job.folder, resume=going_on, root=root, recipe=job.recipe)
    write_report(job.folder)


def _score(folder: Path) -> float:
    """Accuracy on validation in the last epoch; on the training set where there is none."""
    result = json.loads((folder / RESULT).read_text(encoding="utf-8"))
    return float((result.get("val") or result["train"])["accuracy"])


__all__ = ["Job", "Sweep", "sweep"]
