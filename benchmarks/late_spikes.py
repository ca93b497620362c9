"""Accuracy of several runs against the probability that a spike is a step late, in one figure.

    spikeloom faults RUN --delay 0 --delay 0.1 ...     # for each of the runs, before
    python benchmarks/late_spikes.py RUN RUN ... --out FOLDER

Reads ``faults.json`` of every run and writes ``late_spikes.svg`` and ``table.md``.
"""

import argparse
import json
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
    lines, table = {}, ["| run | delayed | accuracy | lost |", "| --- | --- | --- | --- |"]
    for run in args.runs:
        rows, name = delays(run), name_of(run)
        spread = [mean_sd(row["accuracy"]) for row in rows]
        strengths = [row["strength"] for row in rows]
        lines[name] = (strengths, [mean for mean, _ in spread], [sd for _, sd in spread])
        for row, (mean, sd) in zip(rows, spread, strict=True):
            lost = mean_sd(row["lost"])[0] if "lost" in row else 0.0
            scatter = "" if sd is None else f" ± {sd:.1%}"
            table.append(f"| {name} | {row['strength']:g} | {mean:.1%}{scatter} | {lost:.1%} |")
    figure = bands(lines, name="test.accuracy", key="late-spikes", over=UNITS["delay"], whole=False)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "late_spikes.svg").write_text(standalone(figure), encoding="utf-8")
    (args.out / "table.md").write_text("\n".join(table) + "\n", encoding="utf-8")
    print("\n".join(table))


if __name__ == "__main__":
    main()
