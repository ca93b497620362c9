"""Reads the files of one run folder."""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from spikeloom.report.energy import ENERGY, Energy
from spikeloom.report.epochs import Epoch, read_epochs
from spikeloom.report.error import RunFolderError
from spikeloom.report.fit import Fit, read_fit
from spikeloom.report.result import Result
from spikeloom.report.sample import Sample, read_sample

Read = TypeVar("Read", bound=BaseModel)


@dataclass(frozen=True)
class RunFiles:
    """All that a run folder holds; ``result`` is None while the run is unfinished.

    ``notes`` are sentences for the reader about what was found odd and passed over.
    """

    path: Path
    config: Mapping[str, Any]
    config_text: str
    environment: Mapping[str, Any]
    epochs: tuple[Epoch, ...]
    result: Result | None
    sample: Sample | None
    energy: Energy | None = None
    fit: Fit | None = None
    notes: tuple[str, ...] = ()


def read_run(path: Path) -> RunFiles:
    """The files of the run folder ``path``, of which only ``config.toml`` must be there.

    Raises:
        RunFolderError: no such folder, no ``config.toml`` in it, or a file that cannot be read.
    """
    path = Path(path).resolve()
    if not path.is_dir():
        raise RunFolderError(f"{path} is not a folder; give the folder that a run wrote")
    if not (path / "config.toml").is_file():
        raise RunFolderError(f"{path} is not a run folder: it holds no config.toml")
    config_text = _text(path / "config.toml")
    epochs, notes = read_epochs(path / "metrics.jsonl")
    result = _checked(path / "result.json", Result)
    return RunFiles(
        energy=_checked(path / ENERGY, Energy),
        path=path,
        config=_toml(path / "config.toml", config_text),
        config_text=config_text,
        environment=_json(path / "environment.json") or {},
        epochs=epochs,
        result=result,
        sample=read_sample(path / "sample.safetensors", result.firing_rates if result else ()),
        fit=read_fit(path / "fit.safetensors"),
        notes=notes,
    )


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RunFolderError(f"{path} cannot be read as UTF-8 text: {error}") from error


def _toml(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RunFolderError(f"{path} is not TOML: {error}") from error


def _json(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file, None if there is no such file."""
    if not path.exists():
        return None
    try:
        content = json.loads(_text(path))
    except json.JSONDecodeError as error:
        raise RunFolderError(f"{path} is not JSON: {error}; remove it or run again") from error
    if not isinstance(content, dict):
        raise RunFolderError(f"{path} holds a {type(content).__name__}, expected an object")
    return content


def _checked(path: Path, kind: type[Read]) -> Read | None:
    """What a JSON file says, None if there is no such file."""
    content = _json(path)
    if content is None:
        return None
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"])
        came = "" if first["type"] == "missing" else f", got {first['input']!r}"
        raise RunFolderError(f"{path}: {where}: {first['msg']}{came}") from error
