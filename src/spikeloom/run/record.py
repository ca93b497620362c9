"""The run folder: who holds it, what is written there, and on which machine it was made."""

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import tomli_w
import torch
from filelock import FileLock, Timeout
from torch import nn

from spikeloom import __version__
from spikeloom.report.whole import sweep, write_file
from spikeloom.run.build import build
from spikeloom.run.config import Config, ConfigError, Phase, load

LAST, BEST = "last.safetensors", "best.safetensors"
CONFIG, METRICS, RESULT = "config.toml", "metrics.jsonl", "result.json"
ENVIRONMENT, SAMPLE, FIT = "environment.json", "sample.safetensors", "fit.safetensors"
NAME = re.compile(r"(?=.{1,100}$)[^\W_](?:[\w .+=,-]*[\w+=,-])?")


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Keep a run folder to ourselves; the system lets go of it when we end, however we end.

    Drafts of files that were being written when an earlier process was killed are removed.

    Raises:
        ConfigError: another process is using it, or it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock", timeout=0):
            sweep(folder)
            yield
    except Timeout as error:
        raise ConfigError(
            f"run folder {folder} is in use by another process; wait for it or choose another --out"
        ) from error
    except (PermissionError, FileExistsError, NotADirectoryError) as error:
        raise ConfigError(f"cannot write to run folder {folder}: {error.strerror}") from error


def check_name(name: str, what: str = "--name") -> None:
    """Refuse what cannot, or should not, be the name of a folder on any system.

    Raises:
        ConfigError: it is empty, too long, starts or ends oddly, or holds other signs.
    """
    if not NAME.fullmatch(name):
        raise ConfigError(
            f"{what} {name!r} cannot name a folder: use up to 100 letters, digits, spaces and "
            "._+=,- with a letter or digit first and no space or dot last"
        )


def space_needed(config: Config, model: nn.Module) -> int:
    """The most bytes that a run's folder takes up at any moment.

    A checkpoint holds the weights and buffers, with an average the same again, and for each
    trained weight what the optimizer remembers of it. The old one stays until the new one is
    written; beside it lie the best weights; then all of that once more for the twin. 50 MB are
    for metrics, sample, page and what else a file holds.
    """
    state: int = sum(t.numel() * t.element_size() for t in model.state_dict().values())
    trained: int = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    last = max(state * (2 if phase.ema else 1) + trained * _slots(phase) for phase in config.phase)
    left = last + state if config.run.twin else 0
    return left + 2 * last + state + 50_000_000


def _slots(phase: Phase) -> int:
    """How many numbers the optimizer of a phase remembers for each weight."""
    weight = nn.Parameter(torch.zeros(2, 3))
    optimizer = build(phase.optimizer, "optimizer", [weight])
    weight.grad = torch.zeros_like(weight)
    optimizer.step()
    slots = optimizer.state[weight].values()
    return sum(isinstance(slot, torch.Tensor) and slot.shape == weight.shape for slot in slots)


def check_space(folder: Path, needed: int) -> None:
    """Refuse to start where the disk cannot take the checkpoints.

    Raises:
        ConfigError: fewer than ``needed`` bytes are free.
    """
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    if free < needed:
        raise ConfigError(
            f"no disk space: {folder} has {free / 1e6:.0f} MB free, the checkpoints of this run "
            f"need about {needed / 1e6:.0f} MB; free some or choose another --out"
        )


def stored_config(folder: Path) -> Config:
    """The configuration a run folder was made with.

    Raises:
        ConfigError: this is no run folder.
    """
    if not (folder / CONFIG).is_file():
        raise ConfigError(f"{folder} is not a run folder: it has no {CONFIG}")
    return load(folder / CONFIG)


def write_config(folder: Path, config: Config) -> None:
    """Store the resolved configuration; a file that says the same is left alone."""
    text = tomli_w.dumps(config.model_dump(mode="json", exclude_none=True)).encode()
    if not (folder / CONFIG).exists() or (folder / CONFIG).read_bytes() != text:
        write_file(folder / CONFIG, text)


def write_json(path: Path, value: Any) -> None:
    """Store a value as JSON."""
    write_file(path, (json.dumps(value, indent=1) + "\n").encode())


def write_lines(path: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    """Store values as JSON lines."""
    write_file(path, "".join(json.dumps(line) + "\n" for line in lines).encode())


def environment(device: torch.device) -> dict[str, Any]:
    """What a reader needs to know about the machine and the software."""
    return {
        "spikeloom": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        **{name: _version(name) for name in ("numpy", "kornia", "safetensors", "scikit-learn")},
        "platform": platform.platform(),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": str(device),
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "git": _commit(),
        "command": _command(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def note_session(folder: Path, device: torch.device, processes: int) -> None:
    """Add to ``sessions`` in environment.json that training goes on, here and now.

    Args:
        folder: the run folder, which we hold.
        device: what the first process computes on.
        processes: how many take part.

    Raises:
        ConfigError: environment.json is not what a run writes there.
    """
    path = folder / ENVIRONMENT
    try:
        known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        sessions = [*known.get("sessions", ()), _session(device, processes)]
    except (ValueError, AttributeError, TypeError) as error:
        raise ConfigError(f"{path} is damaged ({error}); mend or remove it") from error
    write_json(path, {**known, "sessions": sessions})


def _session(device: torch.device, processes: int) -> dict[str, Any]:
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "git": _commit(),
        "spikeloom": __version__,
        "torch": torch.__version__,
        "device": str(device),
        "threads": torch.get_num_threads(),
        "processes": processes,
        "command": _command(),
    }


def _command() -> str:
    return " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _commit() -> str | None:
    here = Path(__file__).parent
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, cwd=here, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
