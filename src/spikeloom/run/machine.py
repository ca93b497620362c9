"""What works on this machine, and what to do about what does not."""

import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from spikeloom import __version__
from spikeloom.data import data_root
from spikeloom.kernels import explain
from spikeloom.registry import entries
from spikeloom.run.build import build
from spikeloom.run.config import ConfigError, Part

# Packages that some parts use if they are there, and how to get them.
OPTIONAL = {
    name: f"pip install 'spikeloom[{name}]'"
    for name in ("tensorboard", "h5py", "nir", "neurobench", "onnx", "torchmetrics")
}
COMPILERS = ("c++", "g++", "clang++")


@dataclass(frozen=True)
class Finding:
    """One thing looked at; ``hint`` says how to mend what is not ``ok``."""

    what: str
    found: str
    ok: bool = True
    hint: str = ""

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain values."""
        return asdict(self)


def survey(root: Path | None = None) -> list[Finding]:
    """Look at Python, torch, processors, compiler, kernels, data sets and optional packages.

    Args:
        root: folder with the data sets; the variable SPIKELOOM_DATA if None.
    """
    return [*_software(), *_processors(), _compiler(), _kernels(), *_data(root), *_packages()]


def _software() -> Iterator[Finding]:
    yield Finding("spikeloom", __version__)
    yield Finding("python", f"{platform.python_version()} ({sys.executable})")
    yield Finding("torch", torch.__version__)


def _processors() -> Iterator[Finding]:
    threads, cores = torch.get_num_threads(), _cores()
    more = f"more threads than cores slow training down; set OMP_NUM_THREADS={cores}"
    enough = threads <= cores
    yield Finding("threads", f"{threads} on {cores} cores", enough, "" if enough else more)
    device = torch.accelerator.current_accelerator(check_available=True)
    if device is None:
        yield Finding("accelerator", "none, runs use the CPU")
        return
    for index in range(torch.accelerator.device_count()):
        name = torch.cuda.get_device_name(index) if device.type == "cuda" else device.type
        yield Finding("accelerator", f"{device.type}:{index} {name}")


def _cores() -> int:
    """The cores that this process may use, where the system tells."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _compiler() -> Finding:
    found = next((path for name in COMPILERS if (path := shutil.which(name))), None)
    if found:
        return Finding("compiler", found)
    return Finding("compiler", "none", False, "torch.compile needs one: install g++ or clang++")


def _kernels() -> Finding:
    chosen, *refusals = explain("lif", torch.zeros(1, 1)).splitlines()
    reasons = "; ".join(line.partition(": ")[2] for line in refusals)
    return Finding("kernels", chosen.partition(": ")[2], not refusals, reasons)


def _data(root: Path | None) -> Iterator[Finding]:
    try:
        folder = data_root(root)
        yield Finding("data root", str(folder))
    except (ValueError, OSError) as error:
        yield Finding("data root", "none", False, str(error))
        folder = None
    for entry in entries("dataset"):
        if entry.name == "image_folder":
            continue  # any folder of pictures: there is no telling which
        if folder is None and entry.name != "digits":
            continue
        yield _dataset(entry.name, folder)


def _dataset(name: str, root: Path | None, **arguments: Any) -> Finding:
    part = Part.model_validate({"name": name, **arguments})
    try:
        source = build(part, "dataset", root=root, T=1)
    except FileNotFoundError as error:
        hint = "put its files under the data root"
        if "download = true" in str(error):
            hint += ", or let a run fetch them: data.download=true"
        return Finding(f"data: {name}", "not there", False, hint)
    except (ConfigError, OSError) as error:
        if "partial = true" in str(error) and not arguments:
            cut = _dataset(name, root, partial=True)
            hint = f"cut-down: recipes refuse it without data.partial=true ({error})"
            return replace(cut, ok=False, hint=hint) if cut.ok else cut
        return Finding(f"data: {name}", "not readable", False, str(error))
    train, test = len(source.train), len(source.test)
    return Finding(f"data: {name}", f"{train:,} + {test:,} images")


def _packages() -> Iterator[Finding]:
    for package, hint in OPTIONAL.items():
        there = importlib.util.find_spec(package) is not None
        found = "installed" if there else "not installed"
        yield Finding(f"package: {package}", found, there, "" if there else hint)


__all__ = ["OPTIONAL", "Finding", "survey"]
