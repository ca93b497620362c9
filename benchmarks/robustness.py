"""Robustness of several runs in one table and one figure: mean and deviation over seeds, by arm.

Reads what ``spikeloom robust RUN`` wrote into each run folder. Of an arm with several runs the
deviation is that between runs, each of them the mean of its draws; of one run, that between draws.

    for run in sweeps/STUDY/*/; do spikeloom robust "$run"; done
    python benchmarks/robustness.py sweeps/STUDY/*/ --out FOLDER > robustness.md
"""

import argparse
import json
from pathlib import Path
from typing import Any

from spikeloom.report import read_run
from spikeloom.report.arms import arm_names
from spikeloom.report.svg import standalone
from spikeloom.report.whole import write_file
from spikeloom.run.robust import KINDS, RECORD, figure, spread

Arms = dict[str, list[dict[str, Any]]]


def arms_of(runs: list[Path]) -> Arms:
    """The records of all runs by arm; runs that were not tried are an error."""
    found: Arms = {}
    for name, run in zip(arm_names([read_run(run) for run in runs]), runs, strict=True):
        if not (run / RECORD).is_file():
            raise SystemExit(f"{run} has no {RECORD}; run: spikeloom robust {run}")
        found.setdefault(name, []).append(json.loads((run / RECORD).read_text("utf-8")))
    return found


def cell(mean: float, sd: float | None) -> str:
    """A score in per cent."""
    return f"{100 * mean:.2f}" + ("" if sd is None else f" ± {100 * sd:.2f}")


def table(arms: Arms, kinds: list[str]) -> str:
    """A row for each strength that all runs were tried at, a column for each arm."""
    heads = [f"{arm} (n = {len(records)})" for arm, records in arms.items()]
    lines = ["| " + " | ".join(["perturbation", "strength", *heads]) + " |"]
    lines.append("| --- " * (2 + len(heads)) + "|")
    for kind in kinds:
        columns = []
        for records in arms.values():
            strengths, means, sds = spread(records, kind)
            columns.append(dict(zip(strengths, zip(means, sds, strict=True), strict=True)))
        for strength in sorted(set.intersection(*(set(column) for column in columns))):
            cells = [kind, f"{strength:g}", *(cell(*column[strength]) for column in columns)]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("runs", type=Path, nargs="*", help="run folders that were tried")
    parser.add_argument("--out", type=Path, default=Path(), help="folder for the figures")
    given = parser.parse_args()
    if not given.runs:
        print("no runs given; nothing to pool")
        return
    arms = arms_of(given.runs)
    tried = [
        {row["perturbation"] for row in record["rows"]}
        for records in arms.values()
        for record in records
    ]
    kinds = [kind for kind in KINDS if all(kind in each for each in tried)]
    print(table(arms, kinds))
    given.out.mkdir(parents=True, exist_ok=True)
    for kind in kinds:
        drawn = standalone(figure(arms, kind)).encode()
        print(f"\n{write_file(given.out / f'robustness-{kind}.svg', drawn)}")


if __name__ == "__main__":
    main()
