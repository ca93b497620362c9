"""The table of a study: every arm over its seeds, in the columns that a record gives."""

from collections.abc import Sequence
from pathlib import Path

from spikeloom.report.compare import Comparison, compare
from spikeloom.report.folder import read_run
from spikeloom.report.paired import mean_sd
from spikeloom.report.wording import NARROW

SCORES = {
    "test.accuracy": "test",
    "val.accuracy": "validation, last epoch",
    "best.val.accuracy": "best epoch",
}


def summary(folders: Sequence[Path], baseline: str) -> str:
    """A Markdown table: scores in per cent as mean ± sd, differences in points with 95 % intervals.

    Args:
        folders: finished runs, of which at least one is the baseline's.
        baseline: arm that the others are paired with, seed by seed.

    Raises:
        RunFolderError, ValueError, UnknownNameError: as ``compare``.
    """
    scored = _scored(folders, baseline)
    rates, times = _by_arm(folders)
    heads = ["arm", "n"]
    for name in scored:
        heads += [f"{SCORES[name]} (%)"]
        heads += ["difference"] if name != "best.val.accuracy" else []
    heads += ["firing rate", "time (s)"]
    lines = [_line(heads), _line(["---"] * len(heads))]
    for at, arm in enumerate(next(iter(scored.values())).arms):
        cells = [arm.name, str(len(arm.values))]
        for name, found in scored.items():
            cells += [_spread(found.arms[at].mean, found.arms[at].sd)]
            cells += [_change(found, at)] if name != "best.val.accuracy" else []
        rate = mean_sd(rates[arm.name])[0] if rates[arm.name] else None
        cells += ["–" if rate is None else f"{rate:.3f}", f"{mean_sd(times[arm.name])[0]:.0f}"]
        lines.append(_line(cells))
    return "\n".join(lines) + "\n"


def _scored(folders: Sequence[Path], baseline: str) -> dict[str, Comparison]:
    """Comparisons by metric; those with a validation score where every run has one."""
    there = [read_run(folder).result for folder in folders]
    everywhere = [name for name in SCORES if all(r and name in r.flat() for r in there)]
    return {name: compare(folders, metric=name, baseline=baseline) for name in everywhere}


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


def _spread(mean: float, sd: float | None) -> str:
    return f"{100 * mean:.2f}" + ("" if sd is None else f" ± {100 * sd:.2f}")


def _change(found: Comparison, at: int) -> str:
    difference = found.arms[at].difference
    if difference is None or difference.mean is None:
        return "baseline" if found.arms[at].name == found.baseline else "–"
    text = f"{100 * difference.mean:+.2f}"
    if difference.interval:
        low, high = difference.interval
        text += f" ({100 * low:+.2f} to {100 * high:+.2f})"
    return text.replace("-", "−").replace(NARROW, " ")


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
