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
    "data.cache",
    "data.root",
    "data.workers",
    "data.download",
    "data.partial",
    "data.verify",
)


def arm_names(runs: Sequence[RunFiles]) -> list[str]:
    """The arm of each run: its given name, else its recipe, and what sets it apart.

    Runs of one name or recipe whose resolved configs differ in more than ``NO_ARM`` are different
    arms, told apart by the settings in which they differ: ``recipe model.neuron.tau=4.0``.
    """
    settings = [_settings(files.config) for files in runs]
    return [" ".join([_base(files), *_apart(at, runs, settings)]) for at, files in enumerate(runs)]


def _apart(at: int, runs: Sequence[RunFiles], settings: Sequence[Mapping[str, str]]) -> list[str]:
    peers = [settings[other] for other, files in enumerate(runs) if _base(files) == _base(runs[at])]
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


def _base(files: RunFiles) -> str:
    """The name that was given to runs like this one, else the recipe's."""
    if files.result is None:
        return files.path.name
    return files.result.arm or files.result.recipe
