"""Which runs belong together: the name of the arm that each run is a seed of."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from spikeloom.report.folder import RunFiles

# Settings that tell where and how a run is carried out, or what it is called.
NO_ARM = (
    "title",
    "paper",
    "run.seed",
    "run.arm",
    "run.device",
    "run.threads",
    "run.twin",
    "run.checkpoint_minutes",
    "run.tensorboard",
    "data.root",
    "data.workers",
    "data.download",
)


def arm_names(runs: Sequence[RunFiles]) -> list[str]:
    """The arm of each run: what its result says, else its recipe and what sets it apart.

    Runs of one recipe whose resolved configs differ in more than ``NO_ARM`` are different arms,
    told apart by the settings in which they differ: ``recipe model.neuron.tau=4.0``.
    """
    settings = [_settings(files.config) for files in runs]
    return [
        _named(files) or " ".join([_recipe(files), *_apart(at, runs, settings)])
        for at, files in enumerate(runs)
    ]


def _apart(at: int, runs: Sequence[RunFiles], settings: Sequence[Mapping[str, str]]) -> list[str]:
    peers = [
        settings[other]
        for other, files in enumerate(runs)
        if _recipe(files) == _recipe(runs[at]) and not _named(files)
    ]
    return [
        f"{name}={value}"
        for name, value in settings[at].items()
        if any(peer.get(name) != value for peer in peers)
    ]


def _settings(config: Any, name: str = "") -> dict[str, str]:
    """Every value of a config as JSON, by dotted name; tables of a list by their place."""
    if name in NO_ARM:
        return {}
    if isinstance(config, list) and any(isinstance(item, dict) for item in config):
        config = dict(enumerate(config))
    if not isinstance(config, Mapping):
        return {name: json.dumps(config, default=str).strip('"')}
    found: dict[str, str] = {}
    for key, value in config.items():
        found |= _settings(value, f"{name}.{key}".lstrip("."))
    return found


def _named(files: RunFiles) -> str:
    return (files.result.arm or "") if files.result else ""


def _recipe(files: RunFiles) -> str:
    return files.result.recipe if files.result else files.path.name
