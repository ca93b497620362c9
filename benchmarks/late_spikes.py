"""Accuracy against the probability that a spike is a step late, a line for each arm.

    spikeloom faults RUN --delay 0 --delay 0.1 ...     # for each of the runs, before
    python benchmarks/late_spikes.py RUN RUN ... --out FOLDER

Reads ``faults.json`` of every run and writes ``late_spikes.svg`` and ``table.md``: means over the
runs of an arm (its seeds), each of which is the mean over its chips, and the spread of these.
"""

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from spikeloom.report.figures import bands
from spikeloom.report.paired import mean_sd
from spikeloom.report.svg import standalone
from spikeloom.run.faults import RECORD, UNITS
from spikeloom.run.record import stored_config


def name_of(run: Path) -> str:
    """What sets the run apart: its arm, else its folder."""
    return stored_config(run).run.arm or run.parent.name


def delays(run: Path) -> list[dict[str, Any]]:
    """The rows of a run that are about delays, by probability."""
    found = json.loads((run / RECORD).read_text(encoding="utf-8"))["rows"]
    rows = [row for row in found if row["fault"] == "delay"]
    if not rows:
        raise SystemExit(f"{run / RECORD} has no delays; run: spikeloom faults {run} --delay 0.1")
    return sorted(rows, key=lambda row: row["strength"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True, help="folder for figure and table")
    args = parser.parse_args()
    arms: defaultdict[str, defaultdict[float, list[dict[str, Any]]]]
    arms = defaultdict(lambda: defaultdict(list))
    for run in args.runs:
        for row in delays(run):
            arms[name_of(run)][row["strength"]].append(row)
    lines, table = {}, ["| arm | delayed | runs | accuracy | lost |", "|---|---|---|---|---|"]
    for name, points in arms.items():
        spread = [
            mean_sd([mean_sd(row["accuracy"])[0] for row in rows]) for rows in points.values()
        ]
        lines[name] = ([*points], [mean for mean, _ in spread], [sd for _, sd in spread])
        for (strength, rows), (mean, sd) in zip(points.items(), spread, strict=True):
            lost = mean_sd([mean_sd(row.get("lost", [0.0]))[0] for row in rows])[0]
            scatter = "" if sd is None else f" ± {sd:.1%}"
            table.append(
                f"| {name} | {strength:g} | {len(rows)} | {mean:.1%}{scatter} | {lost:.1%} |"
            )
    figure = bands(lines, name="test.accuracy", key="late-spikes", over=UNITS["delay"], whole=False)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "late_spikes.svg").write_text(standalone(figure), encoding="utf-8")
    (args.out / "table.md").write_text("\n".join(table) + "\n", encoding="utf-8")
    print("\n".join(table))


if __name__ == "__main__":
    main()
