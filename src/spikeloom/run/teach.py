"""Makes the teacher of a run ready: trains or copies it into the run's folder, and loads it."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from spikeloom.run.aside import aside
from spikeloom.run.build import bind
from spikeloom.run.config import Config, ConfigError
from spikeloom.run.loop import Silent, Training
from spikeloom.run.record import BEST, CONFIG, ENVIRONMENT, LAST, METRICS, RESULT, stored_config
from spikeloom.run.rehearse import rehearse
from spikeloom.run.task import Task, network, placed, prepare
from spikeloom.run.teacher import TEACHER, finished, teacher_config

Train = Callable[..., dict[str, Any]]
FILES = (METRICS, ENVIRONMENT, LAST, BEST, RESULT, CONFIG)  # the configuration makes it a run


def rehearse_teacher(task: Task, root: Path | None) -> None:
    """Let every phase of a teacher that is to be trained take a step, so that it fails early.

    Raises:
        ConfigError: it cannot be trained.
    """
    try:
        rehearse(prepare(teacher_config(task.config), task.procs, task.device, root))
    except ConfigError as error:
        raise ConfigError(f"the teacher: {error}") from error


def teach(task: Task, folder: Path, train: Train, known: Sequence[Path] = ()) -> nn.Module:
    """The teacher of a run with its weights, trained or copied into ``folder/teacher`` before.

    Leaves the random numbers as they were.

    Args:
        task: the run.
        folder: the run folder, which we hold.
        train: trains a configuration into a folder, or goes on where it was interrupted.
        known: teachers of other runs; one that is finished and is the one wanted is copied.
    """
    config, home = task.config, folder / TEACHER
    assert config.teacher
    about = teacher_config(config, folder)
    source = config.teacher.run or next((t for t in known if _is(t, about)), None)
    if source is not None and not (home / LAST).exists():
        if task.procs.first and not (home / CONFIG).exists():
            _copy(Path(source), home)
        task.procs.wait()
    elif not (home / RESULT).exists():
        with aside(task.device):
            train(about, home, resume=(home / LAST).exists())
        task.procs.wait()
    with aside(task.device):
        return loaded(task, about, home)


def loaded(task: Task, about: Config, home: Path) -> nn.Module:
    """The network of a finished run on the data of a task."""
    source, encode = task.source, bind(about.model.encoder, "encoder")
    model = placed(
        network(about, source.shape, source.outputs, source.facts), task.device, task.dtype
    )
    taught = replace(task, config=about, model=model, teacher=None, encode=encode)
    return Training(taught, home, Silent()).weights(about.run.select)


def taught_by(folder: Path) -> dict[str, Any] | None:
    """Scores of the teacher in a run folder."""
    path = folder / TEACHER / RESULT
    if not path.exists():
        return None
    result = json.loads(path.read_text(encoding="utf-8"))
    return {key: result[key] for key in ("recipe", "test", "val", "parameters", "seconds")}


def _is(folder: Path, about: Config) -> bool:
    return (folder / RESULT).exists() and stored_config(folder) == about


def _copy(source: Path, home: Path) -> None:
    """Copy what a run consists of, the configuration last."""
    finished(source)
    home.mkdir(exist_ok=True)
    for name in (name for name in FILES if (source / name).exists()):
        beside = home / f".{name}.copy"
        shutil.copyfile(source / name, beside)
        beside.replace(home / name)
