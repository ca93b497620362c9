"""Carries out a study: every arm with every seed, each in a process of its own, and one table.

Whatever was interrupted goes on where it was; what is finished is not done again.
"""

import json
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from spikeloom.registry import Unsupported
from spikeloom.report.whole import write_file
from spikeloom.run.config import Config, ConfigError, full_name
from spikeloom.run.inspect import built
from spikeloom.run.measures import measure
from spikeloom.run.parallel import each
from spikeloom.run.record import CONFIG, RESULT, stored_config, write_config
from spikeloom.run.study import Arm, Study, value_name
from spikeloom.run.teacher import TEACHER, teacher_config

DIVERGED = "diverged.txt"  # in the folder of a run that would diverge again


class Score(NamedTuple):
    """What a run came to on validation: the measure of its data, and the value."""

    measure: str
    value: float

    @property
    def rank(self) -> float:
        """The value as one of which more is better."""
        return measure(self.measure).rank(self.value)

    @property
    def text(self) -> str:
        """The value for people."""
        return measure(self.measure).text(self.value)


Told = Callable[["Job", Score | str], None]


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
        tuned = "" if self.value is None else f", {value_name(self.value)}"
        return f"{self.arm}{tuned}, seed {self.seed}"


@dataclass(frozen=True)
class Sweep:
    """What a sweep came to: finished runs, and by name of the run or arm what failed.

    ``tried`` are the validation scores that ``chosen`` settings were chosen by.
    """

    runs: tuple[Job, ...]
    tried: dict[str, float]
    chosen: dict[str, Any]
    failed: dict[str, str]

    @property
    def folders(self) -> tuple[Path, ...]:
        """Of the finished runs."""
        return tuple(job.folder for job in self.runs)


def sweep(
    study: Study, out: Path, *, root: Path | None = None, jobs: int = 1, tell: Told | None = None
) -> Sweep:
    """Run what is missing of a study under ``out/ARM/[VALUE/]seedN``.

    A run that diverged would do so again: it counts as failed until its folder is removed.

    Args:
        study: what to run.
        out: folder of the study; one that holds other runs is refused.
        root: where the data sets are.
        jobs: runs at a time, each in a process, the cores shared among them; 0: one after the
            other in this process.
        tell: told once of every run, with its score on validation or what went wrong.

    Raises:
        ConfigError: a run there has another configuration than the study gives it, or an arm
            cannot be built; nothing was run.
    """
    arms = product(study.arm, study.values, study.seeds)
    plan = {(a.name, value, seed): _job(study, a, seed, value, out) for a, value, seed in arms}
    _try(plan.values(), root)
    teachers = [job.folder / TEACHER for job in plan.values() if job.config.teacher]
    runs = _Runs(root, jobs, teachers, tell or (lambda job, outcome: None))
    chosen: dict[str, Any] = {}
    if study.tune:
        tries = [plan[a.name, v, study.seeds[0]] for a in study.tuned for v in study.values]
        runs.do(tries)
        tried = {job.title: runs.scores[job].value for job in tries if job in runs.scores}
        chosen = _chosen(study, tries, runs)
    else:
        tried, chosen = {}, {arm.name: None for arm in study.arm}
    wanted = [
        plan[arm.name, chosen[arm.name], seed]
        for seed in study.seeds
        for arm in study.arm
        if arm.name in chosen
    ]
    runs.do(wanted)
    return Sweep(tuple(job for job in wanted if job in runs.scores), tried, chosen, runs.failed)


def _job(study: Study, arm: Arm, seed: int, value: Any, out: Path) -> Job:
    place = out / arm.name / ("" if value is None else value_name(value)) / f"seed{seed}"
    recipe = full_name(study.recipe_of(arm))
    job = Job(place, arm.name, seed, value, recipe, study.config(arm, seed, value))
    if not (place / CONFIG).exists():
        return job
    stored = stored_config(place)
    if _plain(stored) != _plain(job.config):
        raise ConfigError(
            f"{place} holds a run of other settings than the study gives this arm; "
            "choose another --out, or remove it"
        )
    write_config(place, stored)  # with settings that came with a later version, at their defaults
    return job


def _plain(config: Config) -> dict[str, Any]:
    return config.model_dump(mode="json", exclude_none=True)


def _try(plan: Iterable[Job], root: Path | None) -> None:
    """Build every arm with every value, so that a mistake in a late one is found before any run.

    An arm that has runs was built when they were started.
    """
    plan = list(plan)
    begun = {job.arm for job in plan if (job.folder / CONFIG).exists()}
    for job in {(job.arm, job.value): job for job in plan if job.arm not in begun}.values():
        try:
            built(job.config, root)
            if job.config.teacher:
                teacher_config(job.config)
        except (ConfigError, Unsupported) as error:
            raise ConfigError(f"{job.title}: {error}") from error


def _chosen(study: Study, tries: Sequence[Job], runs: "_Runs") -> dict[str, Any]:
    """By arm the value with the best score on validation; of equals the first.

    Arms for which every value failed are noted as failed, and have none.
    """
    best: dict[str, Any] = {}
    for arm in study.tuned:
        known = [job for job in tries if job.arm == arm.name and job in runs.scores]
        if known:
            best[arm.name] = max(known, key=lambda job: runs.scores[job].rank).value
    own = {a.name: a.name if a in study.tuned else study.baseline for a in study.arm}
    for name, source in own.items():
        if source not in best:
            runs.failed[name] = f"not run: training {source} failed with every value tried"
    return {name: best[source] for name, source in own.items() if source in best}


@dataclass
class _Runs:
    """Carries out jobs, and keeps what they came to."""

    root: Path | None
    jobs: int
    teachers: Sequence[Path]
    tell: Told
    scores: dict[Job, Score] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def do(self, wanted: Sequence[Job]) -> None:
        """Know the score on validation of every run; those not finished before are run first."""
        missing = []
        for job in wanted:
            if job in self.scores:
                continue
            if (job.folder / RESULT).exists():
                self._ended(job, None)
            elif (job.folder / DIVERGED).exists():
                said = (job.folder / DIVERGED).read_text(encoding="utf-8")
                self._ended(job, f"{said}; remove {job.folder} to try it again")
            else:
                missing.append(job)
        shared = max(1, (os.cpu_count() or 1) // self.jobs) if self.jobs > 1 else None
        work = partial(_run, root=self.root, threads=shared, teachers=self.teachers)
        with closing(each(missing, work, self.jobs)) as ended:  # an interrupt ends what runs
            for job, problem in ended:
                self._ended(job, problem)

    def _ended(self, job: Job, problem: str | None) -> None:
        if problem is None:
            self.scores[job] = _score(job.folder)
        else:
            self.failed[job.title] = problem
        self.tell(job, self.scores[job] if problem is None else problem)


def _run(job: Job, root: Path | None, threads: int | None, teachers: Sequence[Path]) -> None:
    """One run; arms that have one teacher train it once."""
    import torch

    from spikeloom.report import write_report
    from spikeloom.run.loop import NonFiniteLossError
    from spikeloom.run.memory import keep_pages
    from spikeloom.run.session import train

    keep_pages()
    if threads:
        torch.set_num_threads(threads)
    going_on = (job.folder / CONFIG).exists()  # perhaps only its teacher was being trained
    try:
        train(
            job.config, job.folder, resume=going_on, root=root, recipe=job.recipe, teachers=teachers
        )
    except NonFiniteLossError as error:
        write_file(job.folder / DIVERGED, f"{type(error).__name__}: {error}".encode())
        raise
    write_report(job.folder)


def _score(folder: Path) -> Score:
    """The score on validation in the last epoch; on the training set where there is none."""
    result = json.loads((folder / RESULT).read_text(encoding="utf-8"))
    key = result.get("measure", "accuracy")
    return Score(key, float((result.get("val") or result["train"])[key]))


__all__ = ["Job", "Score", "Sweep", "sweep"]
