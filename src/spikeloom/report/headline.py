"""The few numbers at the top of a page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from scipy import stats

from spikeloom.report.epochs import Epoch
from spikeloom.report.result import Result, plain
from spikeloom.report.wording import change, count, duration, percent, quantity


@dataclass(frozen=True)
class Tile:
    """A headline number: what it is, its value, and what to know about it."""

    name: str
    value: str
    note: str = ""


def result_tiles(result: Result, phases: int = 1) -> list[Tile]:
    """The numbers of a finished run, of so many phases, that a reader wants first."""
    test, key = plain(result.test), result.measure
    twin = plain(result.twin.test).get(key) if result.twin else None
    tiles = [
        Tile(f"Test {name}", quantity(name, value))
        for name, value in sorted(test.items(), key=lambda item: item[0] != key)
        if name != "count"
    ]
    if "accuracy" in test:
        tiles[0] = replace(tiles[0], note=_sampling(test["accuracy"], test.get("count")))
    if twin is not None:
        gap = change(key, test[key] - twin) if key in test else ""
        note = f"spiking minus twin: {gap}" if gap else ""
        tiles.append(Tile("Non-spiking twin", quantity(key, twin), note))
    teacher = plain(result.teacher.test).get(key) if result.teacher else None
    if teacher is not None:
        gap = change(key, test[key] - teacher) if key in test else ""
        note = f"spiking minus teacher: {gap}" if gap else ""
        tiles.append(Tile("Teacher", quantity(key, teacher), note))
    if result.mean_rate is not None:
        note = f"spikes per neuron and step, mean over layers, on {result.rated}"
        tiles.append(Tile("Firing rate", f"{result.mean_rate:.3f}", note))
    tiles.append(Tile("Parameters", count(result.parameters), result.model))
    epochs = "" if result.epochs is None else f"{result.epochs} epochs"
    tiles.append(Tile("Training time", duration(result.seconds), epochs))
    if result.best:
        several = phases > 1 and result.best.phase is not None
        when = f"phase {result.best.phase}, " if several else ""
        when += f"epoch {result.best.epoch}"
        tiles.extend(
            Tile(f"Best validation {name}", quantity(name, value), when)
            for name, value in plain(result.best.val).items()
            if name == key
        )
    return tiles


def _sampling(accuracy: float, samples: float | None) -> str:
    """How far the test sample alone leaves the accuracy open (Wilson's interval)."""
    if not samples or not 0.0 <= accuracy <= 1.0:
        return ""
    correct = stats.binomtest(round(accuracy * samples), int(samples))
    low, high = correct.proportion_ci(0.95, method="wilson")
    return f"95 % interval over {count(samples)} samples: {percent(low)} to {percent(high)}"


def progress_tiles(epochs: Sequence[Epoch]) -> list[Tile]:
    """How far an unfinished run has come."""
    tiles = [Tile("Epochs so far", count(len(epochs)))]
    if epochs:
        last = epochs[-1]
        for part, said in (("train", "Training"), ("val", "Validation")):
            scores: Mapping[str, float] = getattr(last, part)
            tiles += [
                Tile(f"{said} {name}", quantity(name, scores[name]), f"epoch {last.epoch}")
                for name in scores
            ]
    return tiles
