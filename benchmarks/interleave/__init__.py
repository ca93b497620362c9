"""Time several ways to do one thing in one process: in turns, so that drift hits all alike.

Every sample carries wall time, the process's CPU time and how long its threads waited for a core
(Linux). Samples that waited for more than a twentieth of their wall time are dropped while at least
three clean ones remain; otherwise the row is marked and its least disturbed third is kept.
"""

import gc
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

WAITING = 0.05  # of the wall time, beyond which a sample is disturbed
CLEAN = 3  # samples needed


@dataclass(frozen=True)
class Column:
    """One way: ``step`` does it once; ``clear`` drops what the last step left, untimed."""

    name: str
    step: Callable[[], Any]
    clear: Callable[[], None] = lambda: None


@dataclass
class Row:
    """What the samples of a column come to, in milliseconds."""

    name: str
    wall: float
    low: float
    high: float
    cpu: float
    kept: int
    rounds: int
    clean: bool
    ratio: float = 1.0
    more: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Sample:
    wall: float
    cpu: float
    waited: float


def in_turns(columns: list[Column], *, seconds: float, least: int = 5) -> list[Row]:
    """Warm every column up once, then take rounds for ``seconds``, at least ``least``.

    The ratio of a row is the first column's median over its own: above 1 is faster than the first.
    """
    for column in columns:
        column.clear()
        column.step()
    samples: dict[str, list[_Sample]] = {column.name: [] for column in columns}
    end, turn = time.perf_counter() + seconds, 0
    while turn < least or time.perf_counter() < end:
        for place in range(len(columns)):
            column = columns[(place + turn) % len(columns)]
            samples[column.name].append(_sample(column))
        turn += 1
    rows = [_row(name, found) for name, found in samples.items()]
    for row in rows:
        row.ratio = rows[0].wall / row.wall
    return rows


def _sample(column: Column) -> _Sample:
    column.clear()
    gc.collect()
    waited, cpu, wall = _waited(), time.process_time(), time.perf_counter()
    column.step()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return _Sample(wall, cpu, _waited() - waited)


def _waited() -> float:
    """Seconds that the threads of this process have waited for a core; 0 where unknown."""
    total = 0
    for stat in Path("/proc/self/task").glob("*/schedstat"):
        try:
            total += int(stat.read_text().split()[1])
        except (OSError, IndexError):
            continue  # the thread has ended
    return total * 1e-9


def _row(name: str, samples: list[_Sample]) -> Row:
    kept = [s for s in samples if s.waited <= WAITING * s.wall]
    clean = len(kept) >= CLEAN
    if not clean:
        ranked = sorted(samples, key=lambda s: s.waited / s.wall)
        kept = ranked[: max(1, (len(ranked) + 2) // 3)]
    walls = sorted(1e3 * s.wall for s in kept)
    low, high = walls[len(walls) // 4], walls[-1 - len(walls) // 4]
    cpu = 1e3 * statistics.median(s.cpu for s in kept)
    return Row(name, statistics.median(walls), low, high, cpu, len(kept), len(samples), clean)


def saved_bytes(forward: Callable[[], Any], but: tuple[torch.Tensor, ...]) -> int:
    """Bytes of distinct storages that the graph of a forward keeps, without those of ``but``."""
    known = {tensor.untyped_storage().data_ptr() for tensor in but}
    found: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            found[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        forward()
    return sum(found.values())


def peak_bytes(step: Callable[[], Any]) -> int | None:
    """Resident memory above the level before, at its highest during a step; Linux only."""
    gc.collect()
    try:
        Path("/proc/self/clear_refs").write_text("5")
        before = _status("VmRSS")
        step()
        return (_status("VmHWM") - before) * 1024
    except OSError:
        return None


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key))


def machine() -> dict[str, Any]:
    """What the numbers were taken on."""
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "threads": torch.get_num_threads(),
        "waiting": os.environ.get("OMP_WAIT_POLICY", "default").lower(),
        "torch": torch.__version__,
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def show(title: str, rows: list[Row]) -> None:
    """Print a table."""
    print(f"\n{title}")
    print(f"{'column':28} {'ms':>9} {'quartiles':>19} {'cpu ms':>9} {'ratio':>7}  kept")
    for row in rows:
        mark = "" if row.clean else " !"
        more = " ".join(f"{k} {v:.1f}" for k, v in row.more.items() if v is not None)
        print(
            f"{row.name:28} {row.wall:9.2f} {row.low:9.2f}-{row.high:9.2f} {row.cpu:9.2f} "
            f"{row.ratio:7.2f}  {row.kept}/{row.rounds}{mark} {more}"
        )


def record(path: Path | None, workload: str, setting: dict[str, Any], rows: list[Row]) -> None:
    """Append one line of JSON for each row."""
    if path is None:
        return
    with path.open("a", encoding="utf-8") as file:
        for row in rows:
            line = {"workload": workload, **setting, **asdict(row), "machine": machine()}
            file.write(json.dumps(line) + "\n")
