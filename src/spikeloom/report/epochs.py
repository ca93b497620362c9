"""Reads the log of a run, ``metrics.jsonl``: one line per epoch."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spikeloom.report.error import RunFolderError
from spikeloom.report.result import plain


@dataclass(frozen=True)
class Epoch:
    """One line of the log, its plain numbers only; ``notes`` are those of callbacks."""

    phase: int
    epoch: int
    lr: float | None
    seconds: float | None
    train: Mapping[str, float]
    val: Mapping[str, float]
    notes: Mapping[str, float]


def read_epochs(path: Path) -> tuple[tuple[Epoch, ...], tuple[str, ...]]:
    """The epochs in order, and sentences about what was passed over.

    A last line without its line break may be cut off: it is left out and noted. Of lines with the
    same phase and epoch, as a resumed run writes them, the last one counts.

    Raises:
        RunFolderError: any other line is not an epoch.
    """
    if not path.exists():
        return (), ()
    lines = path.read_bytes().split(b"\n")
    rows: dict[tuple[int, int], Epoch] = {}
    notes: tuple[str, ...] = ()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = _epoch(json.loads(line.decode()))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            if number == len(lines):
                notes = (f"The last line of {path.name} is half-written and was left out.",)
                continue
            raise RunFolderError(
                f"{path}, line {number} is not an epoch ({error!r}); mend or remove that line"
            ) from error
        rows[row.phase, row.epoch] = row
    return tuple(row for _, row in sorted(rows.items())), notes


def _epoch(row: dict[str, Any]) -> Epoch:
    top = plain(row)
    return Epoch(
        phase=int(top.get("phase", 0)),
        epoch=int(top["epoch"]),
        lr=top.get("lr"),
        seconds=top.get("seconds"),
        train=plain(row.get("train") or {}),
        val=plain(row.get("val") or {}),
        notes=plain(row.get("notes") or {}),
    )
