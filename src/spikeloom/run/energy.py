"""What a run's network costs for a sample, beside its ReLU twin: counted on test samples."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from spikeloom.deploy import signed
from spikeloom.deploy.energy import (
    Constants,
    Counts,
    LayerEnergy,
    Machine,
    Precision,
    count_operations,
    price,
    quantised,
    read_constants,
)
from spikeloom.deploy.exchange.pieces import SPIKING
from spikeloom.layers import TernaryLIF
from spikeloom.registry import Unsupported
from spikeloom.report.energy import ENERGY
from spikeloom.run.aside import aside, reseed
from spikeloom.run.build import build
from spikeloom.run.config import Config, ConfigError
from spikeloom.run.distributed import Processes
from spikeloom.run.evaluate import evaluate, evenly
from spikeloom.run.loop import Silent, Training
from spikeloom.run.record import CONFIG, LAST, hold, stored_config, write_json
from spikeloom.run.session import twin_of
from spikeloom.run.task import Task, device_of, prepare

SAMPLES = 256  # test samples that operations are counted on
AT_ONCE = 32  # of them: every layer's values are looked at, so batches stay small
CALIBRATED = 256  # training samples that ranges of 8-bit activations are taken from
PRECISIONS: tuple[Precision, ...] = ("float32", "int8")
MACHINES: dict[str, tuple[Machine, ...]] = {
    "spiking": ("event-driven", "clocked"),
    "shifted": ("event-driven", "clocked"),
    "twin": ("clocked",),
}


@dataclass(frozen=True)
class Subject:
    """A network to account for; ``weights`` is empty for one that has not been trained."""

    name: str
    task: Task
    model: nn.Module
    weights: str


def account(
    folder: Path,
    *,
    weights: str | None = None,
    samples: int = SAMPLES,
    constants: Path | None = None,
    root: Path | None = None,
) -> dict[str, Any]:
    """Count and price a run's network for one sample, and its ReLU twin; writes ``energy.json``.

    The twin is that of the run, at ``twin/``. Without one, the untrained network of the same recipe
    stands in: it has the same operations, and no accuracy. All is computed in float32; ``int8`` are
    the same networks with weights and numbers rounded to 8 bits.

    Args:
        folder: of a run, finished or with a checkpoint.
        weights: ``last`` or ``best``; else as the recipe says.
        samples: count on so many test samples, spread evenly; accuracies are of all of them.
        constants: a file with the costs of operations and accesses; else those of Horowitz (2014).
        root: where the data sets are.

    Returns:
        What ``energy.json`` says; energies in microjoules, counts for one sample.

    Raises:
        ConfigError: this is no run folder, no samples are wanted, or the constants are damaged.
        CheckpointError: its checkpoint is missing, altered or of another model.
    """
    if samples < 1:
        raise ConfigError(f"operations are counted on at least one sample, got {samples}")
    costs = _constants(constants)
    own = _trained("spiking", folder, weights, root)
    spiking = any(isinstance(module, SPIKING) for module in own.model.modules())
    twin, note = _twin(folder, root) if spiking else (None, "a network without spiking neurons")
    own = own if spiking else Subject("twin", own.task, own.model, own.weights)
    found: dict[str, Any] = {
        "weights": own.weights,
        "samples": min(samples, len(own.task.splits.test)),
        "T": own.task.config.model.T,
        "unit": "microjoule",
        "constants": costs.as_dict(),
        "notes": [note] if note else [],
        "networks": [],
        "counts": {},
    }
    shifted = _shifted(own, found["notes"])
    for subject in filter(None, (own, shifted, twin)):
        _add(found, subject, samples, costs)
    found["equal_accuracy"] = _compared(found["networks"])
    with hold(folder):
        write_json(folder / ENERGY, found)
    return found


def check_asked(energy: bool, packed: bool, samples: int | None, constants: Path | None) -> None:
    """Refuse settings of an account that nobody asked for, and one of a packed network.

    The constants are read, so that what is wrong with them is said before anything runs.

    Raises:
        ConfigError: they do not go together, or the constants are damaged.
    """
    if not energy and (samples is not None or constants is not None):
        given = "--samples" if samples is not None else "--constants"
        raise ConfigError(f"{given} is about energy; add --energy, or leave it out")
    if energy and packed:
        raise ConfigError("--energy counts what the layers of a network do, and --packed has none")
    if constants is not None:
        _constants(constants)


def _constants(path: Path | None) -> Constants:
    try:
        return read_constants(path)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _trained(name: str, folder: Path, weights: str | None, root: Path | None) -> Subject:
    config = _in_float32(stored_config(folder))
    task = prepare(config, Processes(), device_of(config.run.device), root, folder)
    which = weights or config.run.select
    return Subject(name, task, Training(task, folder, Silent()).weights(which), which)


def _shifted(own: Subject, notes: list[str]) -> Subject | None:
    """The network with its levels 0, 1, 2 sent as -1, 0, 1, if it has such neurons."""
    if not any(isinstance(module, TernaryLIF) for module in own.model.modules()):
        return None
    try:
        with aside(own.task.device):
            model = signed(own.model, next(_sequences(own.task, "train", 2)))
    except Unsupported as error:
        notes.append(f"not shifted: {error}")
        return None
    return Subject("shifted", own.task, model, own.weights)


def _twin(folder: Path, root: Path | None) -> tuple[Subject | None, str]:
    """The ReLU twin of a run, and what is to be said about it."""
    place = folder / "twin"
    if (place / CONFIG).is_file() and (place / LAST).is_file():
        return _trained("twin", place, None, root), ""
    try:
        config = _in_float32(twin_of(stored_config(folder)))
        task = prepare(config, Processes(), device_of(config.run.device), root)
    except ConfigError as error:
        return None, f"the recipe has no ReLU twin: {error}"
    said = "the run has no trained ReLU twin, so its accuracy is unknown; set run.twin=true"
    return Subject("twin", task, task.model, ""), said


def _in_float32(config: Config) -> Config:
    return config.model_copy(
        update={"run": config.run.model_copy(update={"precision": "fp32", "twin": False})}
    )


def _add(found: dict[str, Any], subject: Subject, samples: int, costs: Constants) -> None:
    """Count, score and price one network."""
    task, model = subject.task, subject.model
    with aside(task.device):
        counts = count_operations(model, _sequences(task, "test", samples))
    if counts.uncounted:
        found["notes"].append(f"{subject.name}: not counted: {', '.join(counts.uncounted)}")
    known = subject.weights and not task.source.numbers  # of numbers there is no accuracy
    scores = {"float32": _accuracy(task, model) if known else None}
    scores["int8"] = _accuracy(task, rounded(task, model)) if known else None
    trained = bool(subject.weights)
    found["counts"][subject.name] = [_plain(layer, trained) for layer in counts.as_dict()["layers"]]
    if "neurobench" not in found:
        found["neurobench"] = counts.neurobench(scores["float32"])
    for precision in PRECISIONS:
        for machine in MACHINES[subject.name]:
            energy = price(counts, costs, precision, machine)
            row = {"network": subject.name, "precision": precision, "machine": machine}
            row |= _scored(scores[precision], len(task.splits.test))
            found["networks"].append(row | _sums(counts, energy, trained))


def _plain(layer: Mapping[str, Any], trained: bool) -> dict[str, Any]:
    """A layer's counts; those that depend on what it has learnt only if it has."""
    known = dict(layer)
    if not trained:
        for name in ("macs", "acs", "adds", "spikes", "events", "written", "touched"):
            known[name] = None
    return known


def _sequences(task: Task, part: str, samples: int) -> Iterator[Tensor]:
    """Some samples as the network gets them, batch by batch; the same draws each time."""
    images = task.source.test if part == "test" else task.source.train
    for step, at in enumerate(evenly(getattr(task.splits, part), samples).split(AT_ONCE)):
        x, y = images.__getitems__(at.tolist())
        reseed(task.config.run.seed, "energy", part, step)
        yield task.batch(x, y, training=False).x_seq


def rounded(task: Task, model: nn.Module) -> nn.Module:
    """The network with 8-bit weights and numbers, their ranges from training samples."""
    with aside(task.device):
        return quantised(model, _sequences(task, "train", CALIBRATED))


def _accuracy(task: Task, model: nn.Module) -> float:
    loss = build(task.config.phase[-1].loss, "loss")
    return float(evaluate(task, model, loss, "test")["accuracy"])


def _scored(accuracy: float | None, count: int) -> dict[str, Any]:
    if accuracy is None:
        return {"accuracy": None, "standard_error": None, "test_samples": count}
    # one success and one failure more, so that a perfect score on few samples is not certain
    share = (accuracy * count + 1) / (count + 2)
    error = sqrt(share * (1 - share) / (count + 2))
    return {"accuracy": accuracy, "standard_error": error, "test_samples": count}


def _sums(counts: Counts, energy: tuple[LayerEnergy, ...], trained: bool) -> dict[str, Any]:
    """What a network does and costs in all, and what each layer costs."""
    each = [_micro(layer) for layer in energy]
    traffic: dict[str, float] = {}
    for layer in energy:
        for name, size in layer.traffic.items():
            traffic[name] = traffic.get(name, 0.0) + size
    done = {name: counts.total(name) for name in ("macs", "acs", "spikes")} if trained else {}
    steady = {name: counts.total(name) for name in ("dense", "multiplies", "updates")}
    costs = {
        name: sum(layer[name] for layer in each)
        for name in ("compute", "weights", "sums", "activations", "states", "memory", "total")
    }
    return {**done, **steady, **costs, "traffic": traffic, "layers": each}


def _micro(layer: LayerEnergy) -> dict[str, Any]:
    """A layer's energy in microjoules."""
    plain = layer.as_dict()
    return {
        name: value / 1e6 if isinstance(value, float) else value for name, value in plain.items()
    }


def _compared(networks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each pair that is scored: whether they are equally accurate, and whose energy is less."""
    scored = [row for row in networks if row["accuracy"] is not None]
    twins = [row for row in scored if row["network"] == "twin"]
    pairs = []
    for own in (row for row in scored if row["network"] == "spiking"):
        for twin in (row for row in twins if row["precision"] == own["precision"]):
            difference = own["accuracy"] - twin["accuracy"]
            error = sqrt(own["standard_error"] ** 2 + twin["standard_error"] ** 2)
            pairs.append({
                "precision": own["precision"],
                "machine": own["machine"],
                "difference": difference,
                "standard_error": error,
                "equal": abs(difference) <= error,
                "compute_ratio": own["compute"] / twin["compute"],
                "total_ratio": own["total"] / twin["total"],
            })  # fmt: skip
    return pairs


__all__ = ["SAMPLES", "account", "check_asked", "rounded"]
