"""The run folder: who holds it, what is written there, and on which machine it was made."""

import json
import os
import platform
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

from spikeloom import __version__
from spikeloom.run.checkpoint import write_file
from spikeloom.run.config import Config, ConfigError

LAST, BEST = "last.safetensors", "best.safetensors"
CONFIG, METRICS, RESULT = "config.toml", "metrics.jsonl", "result.json"
ENVIRONMENT, SAMPLE = "environment.json", "sample.safetensors"


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Keep a run folder to ourselves; the system lets go of it when we end, however we end.

    Raises:
        ConfigError: another process is using it, or it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock", timeout=0):
            yield
    except Timeout as error:
        raise ConfigError(
            f"run folder {folder} is in use by another process; wait for it or choose another --out"
        ) from error
    except (PermissionError, FileExistsError, NotADirectoryError) as error:
        raise ConfigError(f"cannot write to run folder {folder}: {error.strerror}") from error


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


def write_config(folder: Path, config: Config) -> None:
    """Store the resolved configuration."""
    tree = config.model_dump(mode="json", exclude_none=True)
    write_file(folder / CONFIG, tomli_w.dumps(tree).encode())


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
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


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
