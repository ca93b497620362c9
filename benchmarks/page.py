"""Make docs/benchmarks.md from the raw rows that the benchmarks wrote.

    python benchmarks/page.py records/benchmarks/2026-11-22_cpu > docs/benchmarks.md

Every table is one workload and setting, measured in one process with its columns in turns. Ratios
are medians over medians of that run: above 1 is faster than the first row.
"""

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

HEAD = """# Benchmarks

<!-- Made by benchmarks/page.py from {source}; do not edit. -->

Each table is one process in which the rows took turns; results were compared before anything was
timed. *Time* is the median wall time with its quartiles, *ratio* the first row's median over the
row's own (above 1 is faster than the first), *kept* the samples that waited for a core for less
than a twentieth of their time, of all; **!** marks rows where too few were. Ratios hold within a
table and on this machine: {machine}, AMD EPYC
(Zen 5) in a virtual machine. Peers: SpikingJelly 2.0.0.

*Threads that sleep at once* is `OMP_WAIT_POLICY=PASSIVE`: then every parallel region of torch waits
for a sleeping thread, which costs peers that loop over T in Python a factor of two to four, and us
little. Elsewhere torch's threads wait as they do by default. Python's collector runs before every
sample, so data and code come from cold memory: the smallest sizes show that more than arithmetic.

The scripts are in `benchmarks/`; `make bench` runs them without peers.
"""
TITLES = {
    "W1": "LIF forward and backward",
    "W2": "Linear map and LIF, T = 500",
    "W3": "Training step of a convolutional network",
    "W4": "Training step of a recurrent network",
    "W5": "Inference of one image",
    "long": "Training step on a long sequence",
    "methods": "Training step of each method beside plain BPTT",
    "rate_bp": "Training step of rate-based back-propagation beside BPTT",
    "events": "Event-driven execution, one sample",
    "packed_codes": "Networks of one bit and less",
    "event_bp": "Spike-time gradients, T = 5, batch 50",
    "nerf training step": "Radiance field of spikes, training step",
    "nerf rendering": "Radiance field of spikes, rendering",
}
NOTED = {"workload", "machine", "name", "wall", "low", "high", "cpu", "kept", "rounds", "clean",
         "ratio", "more"}  # fmt: skip


def tables(files: dict[str, list[dict[str, Any]]]) -> str:
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = defaultdict(list)
    for name, lines in files.items():
        for line in lines:
            setting = ", ".join(f"{k} = {_plain(v)}" for k, v in line.items() if k not in NOTED)
            if line["machine"]["waiting"] == "passive":
                setting += ", threads that sleep at once"
            groups[line["workload"], name, setting].append(line)
    parts, last = [], ""
    for (workload, name, setting), rows in groups.items():
        if workload != last:
            parts.append(f"## {workload}: {TITLES.get(workload, workload)}\n")
            last = workload
        run = ", beside the compiled peer" if "compiled" in name else ""
        parts.append(f"### {setting or workload}{run}\n")
        parts.append(table(rows))
    return "\n".join(parts)


def _plain(value: Any) -> Any:
    return f"{value:.3g}" if isinstance(value, float) else value


def table(rows: list[dict[str, Any]]) -> str:
    more = list(dict.fromkeys(key for row in rows for key in row["more"]))
    out = ["| | time, ms | quartiles | ratio | " + "".join(f"{key} | " for key in more) + "kept |"]
    out.append("|---|" + "---:|" * (4 + len(more)))
    for row in rows:
        cells = [row["name"], f"{row['wall']:.3g}", f"{row['low']:.3g} to {row['high']:.3g}"]
        cells.append(f"{row['ratio']:.2f}")
        for key in more:
            value = row["more"].get(key)
            cells.append("" if value is None else f"{value:.3g}")
        cells.append(f"{row['kept']}/{row['rounds']}" + ("" if row["clean"] else " **!**"))
        out.append("| " + " | ".join(cells) + " |")
    return "\n".join(out) + "\n"


def main() -> None:
    folder = Path(sys.argv[1])
    files = {
        file.name: [json.loads(line) for line in file.read_text().splitlines()]
        for file in sorted(folder.glob("*.jsonl"), key=lambda file: file.stem.lower())
    }
    machine = next(iter(files.values()))[-1]["machine"]
    told = f"{machine['cores']} cores, torch {machine['torch']}, {machine['threads']} threads"
    print(HEAD.format(source=folder.as_posix(), machine=told))
    print(tables(files), end="")


if __name__ == "__main__":
    main()
