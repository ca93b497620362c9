"""The record of a study: what is worth keeping of its runs, without weights, in a few files."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from spikeloom.report.folder import RunFiles, read_run
from spikeloom.report.summary import summary
from spikeloom.report.whole import write_file


def write_record(
    place: Path, folders: Sequence[Path], baseline: str, study: Mapping[str, Any]
) -> str:
    """Write a study's record and return its table.

    ``table.md`` has the arms, ``runs.jsonl`` a line for every run with its scores by epoch,
    ``study.json`` what was asked for and chosen, ``config.toml`` and ``environment.json`` are those
    of the baseline's first run.

    Args:
        place: a folder, made if it is not there.
        folders: finished runs, in the order of the table.
        baseline: arm that the others are paired with.
        study: what ``study.json`` says.

    Raises:
        RunFolderError, ValueError, UnknownNameError: as :func:`summary`.
    """
    table = summary(folders, baseline)
    runs = [read_run(folder) for folder in folders]
    first = next(run for run in runs if run.result and run.result.arm == baseline)
    place.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(_line(run)) + "\n" for run in runs)
    for name, text in {
        "table.md": table,
        "runs.jsonl": lines,
        "study.json": json.dumps(study, indent=1, ensure_ascii=False) + "\n",
        "config.toml": first.config_text,
        "environment.json": json.dumps(first.environment, indent=1) + "\n",
    }.items():
        write_file(place / name, text.encode())
    return table


def _line(run: RunFiles) -> dict[str, Any]:
    result = run.result
    assert result is not None
    key = result.measure
    by_epoch = {
        f"train {key}": [epoch.train.get(key) for epoch in run.epochs],
        f"val {key}": [epoch.val.get(key) for epoch in run.epochs],
    }
    for name in dict.fromkeys(name for epoch in run.epochs for name in epoch.notes):
        by_epoch[name] = [epoch.notes.get(name) for epoch in run.epochs]
    return {
        "arm": result.arm,
        "seed": result.seed,
        "test": result.test,
        "val": result.val,
        "best": result.best.model_dump() if result.best else None,
        "parameters": result.parameters,
        "seconds": result.seconds,
        "firing_rates": result.firing_rates,
        "by_epoch": by_epoch,
    }
