"""The table of a study: every arm over its seeds, in the columns that a record gives."""

from collections.abc import Sequence
from pathlib import Path

from spikeloom.report.compare import Comparison, compare
from spikeloom.report.folder import read_run
from spikeloom.report.paired import mean_sd
from spikeloom.report.wording import NARROW, is_decibel, is_share

SCORES = {"test": "test", "val": "validation, last epoch", "best.val": "best epoch"}
BEST = "best.val"


def summary(folders: Sequence[Path], baseline: str) -> str:
    """A Markdown table: scores as mean ± sd, differences with 95 % intervals; accuracy in per cent.

    Args:
        folders: finished runs, of which at least one is the baseline's.
        baseline: arm that the others are paired with, seed by seed.

    Raises:
        RunFolderError, ValueError, UnknownNameError: as ``compare``.
    """
    scored = _scored(folders, baseline)
    rates, times = _by_arm(folders)
    heads = ["arm", "n"]
    for part, found in scored.items():
        heads += [f"{SCORES[part]} ({_unit(found.metric)})"]
        heads += ["difference"] if part != BEST else []
    heads += ["firing rate", "time (s)"]
    lines = [_line(heads), _line(["---"] * len(heads))]
    for at, arm in enumerate(next(iter(scored.values())).arms):
        cells = [arm.name, str(len(arm.values))]
        for part, found in scored.items():
            cells += [_spread(found, at)]
            cells += [_change(found, at)] if part != BEST else []
        rate = mean_sd(rates[arm.name])[0] if rates[arm.name] else None
        cells += ["–" if rate is None else f"{rate:.3f}", f"{mean_sd(times[arm.name])[0]:.0f}"]
        lines.append(_line(cells))
    return "\n".join(lines) + "\n"


def _scored(folders: Sequence[Path], baseline: str) -> dict[str, Comparison]:
    """Comparisons by part; those with a validation score where every run has one."""
    there = [read_run(folder).result for folder in folders]
    test = compare(folders, baseline=baseline)
    key = test.metric.rpartition(".")[2]
    more = [p for p in SCORES if p != "test" and all(r and f"{p}.{key}" in r.flat() for r in there)]
    found = {part: compare(folders, metric=f"{part}.{key}", baseline=baseline) for part in more}
    return {"test": test, **found}


def _by_arm(folders: Sequence[Path]) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    rates: dict[str, list[float]] = {}
    times: dict[str, list[float]] = {}
    for folder in folders:
        result = read_run(folder).result
        if result is None:
            continue
        name = result.arm or result.recipe
        rates.setdefault(name, []).extend([] if result.mean_rate is None else [result.mean_rate])
        times.setdefault(name, []).append(result.seconds or 0.0)
    return rates, times


def _unit(metric: str) -> str:
    return "%" if is_share(metric) else "dB" if is_decibel(metric) else metric.rpartition(".")[2]


def _value(metric: str, value: float, sign: str = "") -> str:
    if is_share(metric):
        return f"{100 * value:{sign}.2f}"
    return f"{value:{sign}.2f}" if is_decibel(metric) else f"{value:{sign}.3g}"


def _spread(found: Comparison, at: int) -> str:
    mean, sd = found.arms[at].mean, found.arms[at].sd
    return _value(found.metric, mean) + ("" if sd is None else f" ± {_value(found.metric, sd)}")


def _change(found: Comparison, at: int) -> str:
    difference = found.arms[at].difference
    if difference is None or difference.mean is None:
        return "baseline" if found.arms[at].name == found.baseline else "–"
    text = _value(found.metric, difference.mean, "+")
    if difference.interval:
        low, high = (_value(found.metric, end, "+") for end in difference.interval)
        text += f" ({low} to {high})"
    return text.replace("-", "−").replace(NARROW, " ")


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
