"""Compares runs: arms, spread over seeds, paired differences, one page."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from markupsafe import Markup

from spikeloom.registry import UnknownNameError, unknown
from spikeloom.report import figures, fitting
from spikeloom.report.arms import arm_names
from spikeloom.report.energy import arm_energy
from spikeloom.report.fit import Array, same_picture
from spikeloom.report.folder import RunFiles, read_run
from spikeloom.report.paired import Difference, mean_sd, paired_difference
from spikeloom.report.result import Result
from spikeloom.report.template import render
from spikeloom.report.whole import write_file
from spikeloom.report.wording import change, quantity

Grouped = dict[str, dict[int, tuple[RunFiles, float]]]  # arm -> seed -> the run and its value


@dataclass(frozen=True)
class Curve:
    """Mean and standard deviation over seeds of a validation score, at the epochs all runs have."""

    epochs: tuple[int, ...]
    mean: tuple[float, ...]
    sd: tuple[float | None, ...]


@dataclass(frozen=True)
class Arm:
    """Runs that differ in their seed only; ``values`` by seed.

    ``energy`` is the mean of what networks cost for a sample [microjoule], if every run of the arm
    has an ``energy.json``, and all have been priced alike.
    """

    name: str
    values: Mapping[int, float]
    mean: float
    sd: float | None
    difference: Difference | None
    curve: Curve | None
    energy: Mapping[str, float] | None = None


@dataclass(frozen=True)
class Comparison:
    """Arms in the order they came; ``left_out`` are runs that do not count, and why.

    ``pictures`` are what the arms made of one picture, which comes first, if they all learnt that.
    """

    metric: str
    baseline: str | None
    arms: tuple[Arm, ...]
    curve_metric: str
    left_out: tuple[tuple[str, str], ...] = ()
    pictures: Mapping[str, Array] = field(default_factory=dict, compare=False)

    def rows(self) -> list[dict[str, Any]]:
        """One plain row per arm; differences are None for the baseline and without one."""
        return [
            {
                "arm": arm.name,
                "n": len(arm.values),
                "seeds": sorted(arm.values),
                "mean": arm.mean,
                "sd": arm.sd,
                "difference": arm.difference.mean if arm.difference else None,
                "interval": list(arm.difference.interval or ()) or None if arm.difference else None,
                "pairs": arm.difference.n if arm.difference else None,
                "energy": dict(arm.energy) if arm.energy else None,
            }
            for arm in self.arms
        ]

    @property
    def costs(self) -> list[str]:
        """What there is to say of any arm's energy."""
        return list(dict.fromkeys(name for arm in self.arms for name in arm.energy or ()))

    def to_json(self) -> str:
        """All of it but the pictures, as JSON text."""
        plain = asdict(self)
        del plain["pictures"]
        return json.dumps(plain, indent=2, allow_nan=False)


def compare(
    runs: Sequence[Path], *, metric: str | None = None, baseline: str | None = None
) -> Comparison:
    """Groups runs into arms and compares the arms.

    Of runs that repeat an arm with a seed, the one that was started last counts: it is what the
    arm comes to with that seed now, and choosing by time favours no score.

    Args:
        runs: run folders; repeats, those without a result or with a metric that is not finite are
            left out, and listed as such.
        metric: dotted name of a number in ``result.json`` or, beginning with ``energy.``, of one in
            ``energy.json``; None for the test score by the measure of the runs' data.
        baseline: arm that the others are paired with, seed by seed; None: no differences
    Raises:
        RunFolderError: not a run folder, or a file in it cannot be read.
        ValueError: no run counts, no run has the metric, or the runs' data are scored by different
            measures and no metric is given.
        UnknownNameError: no arm is called like the baseline.
    """
    kept: list[tuple[RunFiles, float]] = []
    left_out: list[tuple[str, str]] = []
    known: set[str] = set()
    read = {Path(run).resolve(): read_run(run) for run in runs}
    metric = metric or _headline(read.values())
    for path, files in zip(_given(runs), read.values(), strict=True):
        numbers = files.result.flat() if files.result else {}
        numbers |= files.energy.flat() if files.energy else {}
        known |= numbers.keys()
        value = numbers.get(metric)
        if value is not None and math.isfinite(value):
            kept.append((files, value))
        else:
            left_out.append((str(path), _objection(files.result, metric, value)))
    if known and metric not in known:
        raise ValueError(unknown("metric", metric, known))
    if not kept:
        why = "; ".join(f"{path}: {reason}" for path, reason in left_out) or "none was given"
        raise ValueError(f"no run to compare: {why}")
    grouped, repeats = _by_seed(kept)
    return _compared(grouped, metric, baseline, (*left_out, *repeats))


def _headline(read: Iterable[RunFiles]) -> str:
    """The test score of all runs."""
    names = {files.result.measure for files in read if files.result}
    if len(names) > 1:
        raise ValueError(
            f"the runs are scored by different measures, {', '.join(sorted(names))}; name one as "
            'metric = "test.NAME"'
        )
    return f"test.{next(iter(names), 'accuracy')}"


def _given(runs: Sequence[Path]) -> list[Path]:
    """Each run once, as it was called last."""
    return list({Path(run).resolve(): run for run in runs}.values())


def write_compare(comparison: Comparison, path: Path) -> Path:
    """Writes the comparison as one self-contained page and returns its path."""
    metric = comparison.metric
    shown = []
    if any(arm.curve for arm in comparison.arms):
        name = comparison.curve_metric
        lines = {
            arm.name: (arm.curve.epochs, arm.curve.mean, arm.curve.sd)
            for arm in comparison.arms
            if arm.curve
        }
        svg = figures.bands(lines, name=f"validation {name}", key="figure-1")
        caption = f"Validation {name}: mean over seeds; band: one standard deviation to each side."
        shown.append({"svg": Markup(svg), "caption": caption})
    values = {arm.name: list(arm.values.values()) for arm in comparison.arms}
    svg = figures.dots(values, name=metric, key="figure-2")
    shown.append(
        {"svg": Markup(svg), "caption": "Every run as a dot; stroke: the mean of the arm."}
    )
    if comparison.pictures:
        svg = fitting.beside(comparison.pictures, key="figure-3")
        caption = "A picture, and what the run of the lowest seed of each arm makes of it."
        shown.append({"svg": Markup(svg), "caption": caption})
    text = render(
        "compare.html.jinja",
        comparison=comparison,
        shown=shown,
        value=lambda number: quantity(metric, number),
        change=lambda number: change(metric, number),
    )
    return write_file(Path(path), text.encode())


def _by_seed(kept: Sequence[tuple[RunFiles, float]]) -> tuple[Grouped, list[tuple[str, str]]]:
    """The newest run of every arm and seed, and the others with what stands for them."""
    grouped: Grouped = {}
    repeats: list[tuple[str, str]] = []
    for name, (files, value) in zip(arm_names([f for f, _ in kept]), kept, strict=True):
        seeds = grouped.setdefault(name, {})
        seed = files.result.seed if files.result else 0
        if seed in seeds:
            (older, _), newer = sorted((seeds[seed], (files, value)), key=lambda run: _age(run[0]))
            why = f"repeated: {newer[0].path} is {name!r} with seed {seed}, too, and was run later"
            repeats.append((str(older.path), why))
            seeds[seed] = newer
        else:
            seeds[seed] = files, value
    return grouped, repeats


def _age(files: RunFiles) -> tuple[str, int]:
    """What sorts runs by when they were started; copies of a run by when they were made."""
    return str(files.environment.get("started", "")), (
        files.path / "result.json"
    ).stat().st_mtime_ns


def _objection(result: Result | None, metric: str, value: float | None) -> str:
    if result is None:
        return "unfinished, there is no result.json"
    return f"no {metric} in its result" if value is None else f"{metric} is {value}"


def _compared(
    kept: Grouped,
    metric: str,
    baseline: str | None,
    left_out: tuple[tuple[str, str], ...],
) -> Comparison:
    values = {
        name: {seed: value for seed, (_, value) in sorted(seeds.items())}
        for name, seeds in kept.items()
    }
    if baseline is not None and baseline not in values:
        raise UnknownNameError(unknown("arm", baseline, values))
    curve_metric = _curve_metric(kept, metric)
    arms = []
    costs = [files.energy for seeds in kept.values() for files, _ in seeds.values()]
    alike = len({json.dumps(cost.constants, sort_keys=True) for cost in costs if cost}) == 1
    for name, seeds in kept.items():
        mean, sd = mean_sd(list(values[name].values()))
        alone = baseline is None or name == baseline
        difference = None if alone else paired_difference(values[name], values[baseline or name])
        curve = _curve([files for files, _ in seeds.values()], curve_metric)
        cost = arm_energy([files.energy for files, _ in seeds.values()]) if alike else None
        arms.append(Arm(name, values[name], mean, sd, difference, curve, cost))
    fits = {name: seeds[min(seeds)][0].fit for name, seeds in kept.items()}
    return Comparison(metric, baseline, tuple(arms), curve_metric, left_out, same_picture(fits))


def _curve_metric(kept: Grouped, metric: str) -> str:
    """The validation score to draw: the metric's own name, else the measure, else loss."""
    logged = {
        name
        for seeds in kept.values()
        for files, _ in seeds.values()
        for epoch in files.epochs
        for name in epoch.val
    }
    results = [files.result for seeds in kept.values() for files, _ in seeds.values()]
    measures = [result.measure for result in results if result]
    wanted = (metric.rpartition(".")[2], *measures, "loss")
    return next((name for name in wanted if name in logged), "")


def _curve(runs: Sequence[RunFiles], metric: str) -> Curve | None:
    scores = [
        {
            at: epoch.val[metric]
            for at, epoch in enumerate(files.epochs, start=1)
            if math.isfinite(epoch.val.get(metric, math.nan))
        }
        for files in runs
    ]
    epochs = sorted(set.intersection(*(set(score) for score in scores)))
    if not epochs:
        return None
    spread = [mean_sd([score[at] for score in scores]) for at in epochs]
    means, deviations = zip(*spread, strict=True)
    return Curve(tuple(epochs), means, deviations)
