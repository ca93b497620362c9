"""How well a trained run does on faulty chips, as it is and after calibration on each chip."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from torch import nn

from spikeloom.deploy import Faults, faulty, lost_share
from spikeloom.report.figures import bands
from spikeloom.report.paired import mean_sd
from spikeloom.report.svg import standalone
from spikeloom.report.whole import write_file
from spikeloom.run.aside import aside, reseed
from spikeloom.run.build import build
from spikeloom.run.config import ConfigError, Part, Phase
from spikeloom.run.distributed import Processes
from spikeloom.run.evaluate import evaluate
from spikeloom.run.loop import Silent, Training
from spikeloom.run.record import hold, stored_config, write_json
from spikeloom.run.task import Task, device_of, needs_classes, prepare
from spikeloom.run.teach import loaded
from spikeloom.run.teacher import TEACHER, teacher_config

RECORD = "faults.json"
UNITS = {
    "threshold": "mismatch of thresholds",
    "decay": "mismatch of decays",
    "noise": "membrane noise at every step",
    "bits": "bits of every weight",
    "dead": "share of dead neurons",
    "delay": "probability that a spike is a step late",
}
Told = Callable[[str, float, int, float], None]


@dataclass(frozen=True)
class Chips:
    """What to try.

    Args:
        strengths: by the name of the fault, each fault alone.
        count: chips at every strength.
        calibrate: updates of local tandem learning on every chip; 0 for none.
        lr: rate of these updates, of Adam.
        test: use the first so many test samples; all if None.
    """

    strengths: Mapping[str, Sequence[float]]
    count: int = 3
    calibrate: int = 0
    lr: float = 1e-4
    test: int | None = None


def study(
    folder: Path, chips: Chips, *, root: Path | None = None, tell: Told | None = None
) -> dict[str, Any]:
    """Score a run on faulty chips; writes ``faults.json`` and a figure for each fault.

    Rows of delays also say which share of the spikes was ``lost`` after the last step. The run
    itself stays as it is. Each chip is scored with the run's weights, and, to calibrate, again
    after updates on that chip, which start from these weights.

    Args:
        folder: a run, finished or with a checkpoint.
        chips: what to try.
        root: where the data sets are.
        tell: told of every score: fault, strength, chip and accuracy.

    Raises:
        ConfigError: nothing to try, a strength out of range, or a run without a teacher that is
            to be calibrated.
        Unsupported: the network has no spiking neurons.
        CheckpointError: the checkpoint of the run is missing or damaged.
    """
    wanted = list(_faults(chips))
    config = stored_config(folder)
    if chips.calibrate and not config.teacher:
        raise ConfigError(
            f"{folder} has no teacher to be calibrated by; leave --calibrate out, or train with a "
            "table [teacher]"
        )
    task = prepare(config, Processes(), device_of(config.run.device), root, folder)
    needs_classes(task, "faults")
    model = Training(task, folder, Silent()).weights(config.run.select).eval()
    if chips.calibrate:
        about = teacher_config(config, folder)
        task.teacher = loaded(task, about, folder / TEACHER)
    if chips.test:
        task.splits = replace(task.splits, test=task.splits.test[: chips.test])
    result: dict[str, Any] = {"weights": config.run.select, "calibrate": chips.calibrate}
    result |= {"lr": chips.lr, "chips": chips.count, "faultless": _accuracy(task, model)}
    result["rows"] = [
        _row(task, model, chips, name, strength, faults, tell) for name, strength, faults in wanted
    ]
    with hold(folder):
        write_json(folder / RECORD, result)
        for name in chips.strengths:
            write_file(folder / f"faults-{name}.svg", standalone(figure(result, name)).encode())
    return result


def _faults(chips: Chips) -> Iterator[tuple[str, float, Faults]]:
    if not any(chips.strengths.values()):
        raise ConfigError(f"no fault is given; give strengths of {', '.join(UNITS)}")
    if chips.count < 1 or chips.calibrate < 0 or not chips.lr > 0:
        raise ConfigError(
            "give at least one chip, no fewer than 0 updates and lr > 0, got "
            f"{chips.count}, {chips.calibrate} and {chips.lr}"
        )
    for name, strengths in chips.strengths.items():
        for strength in strengths:
            arguments: dict[str, Any] = {name: int(strength) if name == "bits" else strength}
            try:
                yield name, arguments[name], Faults(**arguments)
            except ValueError as error:
                raise ConfigError(f"{name} = {strength}: {error}") from error


def _row(
    task: Task,
    model: nn.Module,
    chips: Chips,
    name: str,
    strength: float,
    faults: Faults,
    tell: Told | None,
) -> dict[str, Any]:
    """Scores of every chip at one strength of one fault."""
    x, y = task.source.train.__getitems__(task.splits.train[:2].tolist())
    inputs = task.batch(x, y, training=False).x_seq
    row: dict[str, Any] = {"fault": name, "strength": strength, "accuracy": []}
    if chips.calibrate:
        row["calibrated"] = []
    for number in range(chips.count):
        chip = faulty(model, faults, inputs, chip=number)
        row["accuracy"].append(_accuracy(task, chip))
        if faults.delay:
            row.setdefault("lost", []).append(lost_share(chip))
        if chips.calibrate:
            with aside(task.device):
                reseed(task.config.run.seed, "chip", number)
                chip = calibrated(task, chip, chips.calibrate, chips.lr)
            row["calibrated"].append(_accuracy(task, chip))
        if tell:
            tell(name, strength, number, row[_last(row)][-1])
    return row


def calibrated(task: Task, model: nn.Module, updates: int, lr: float) -> nn.Module:
    """A network after so many updates of local tandem learning by the teacher of its run.

    The learner is that of the run's last phase if it is ``local_tandem``, else offline with
    its defaults; the optimizer is Adam, the rate constant. The loss is that of the last phase.
    """
    last = task.config.phase[-1]
    own = last.learner.name == "local_tandem"
    phase = Phase(
        learner=last.learner if own else Part(name="local_tandem"),
        loss=last.loss,
        optimizer=Part.model_validate({"name": "adam", "lr": lr}),
        schedule=Part(name="constant"),
        epochs=1,
    )
    config = task.config.model_copy(update={"phase": (phase,)})
    on_chip = replace(task, config=config, model=model)
    return Training(on_chip, Path("not written"), Silent()).some(updates)


def _accuracy(task: Task, model: nn.Module) -> float:
    loss = build(task.config.phase[-1].loss, "loss")
    return float(evaluate(task, model, loss, "test")["accuracy"])


def figure(result: Mapping[str, Any], name: str) -> str:
    """Accuracy against the strength of a fault: mean over chips, and a band of one deviation."""
    rows = sorted(
        (row for row in result["rows"] if row["fault"] == name), key=lambda row: row["strength"]
    )
    lines = {}
    for key, said in (("accuracy", "as trained"), ("calibrated", "calibrated")):
        if all(key in row for row in rows):
            spread = [mean_sd(row[key]) for row in rows]
            strengths = [row["strength"] for row in rows]
            means, sds = [mean for mean, _ in spread], [sd for _, sd in spread]
            if key == "accuracy" and name != "bits":  # as for bits, all of them is no number
                strengths, means, sds = [0, *strengths], [result["faultless"], *means], [0.0, *sds]
            lines[said] = (strengths, means, sds)
    return bands(lines, name="test.accuracy", key=f"faults-{name}", over=UNITS[name], whole=False)


def _last(row: Mapping[str, Any]) -> Literal["accuracy", "calibrated"]:
    return "calibrated" if "calibrated" in row else "accuracy"


__all__ = ["RECORD", "UNITS", "Chips", "calibrated", "figure", "study"]
