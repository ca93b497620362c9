"""Writes run folders as a run does, with made-up numbers."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from spikeloom.report import write_report

CONFIG = """\
[model]
name = "spiking_vgg"
T = 6

[data]
name = "synthetic"
note = "<script>alert('config')</script>"
"""
LAYERS = ("features.0.neuron", "features.2.neuron", "features.10.neuron", "classifier.neuron")


@pytest.fixture
def write_run(tmp_path: Path) -> Callable[..., Path]:
    """Writes the fake run folder ``name`` and returns its path."""

    def write(name: str = "run", **changes: Any) -> Path:
        return fake_run(tmp_path / name, **changes)

    return write


@pytest.fixture(scope="session")
def full_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a finished run that recorded everything; read only."""
    return write_report(fake_run(tmp_path_factory.mktemp("runs") / "full"))


def fake_run(
    folder: Path,
    *,
    epochs: int = 12,
    result: dict[str, Any] | None = None,
    finished: bool = True,
    sample: bool = True,
    classes: int = 4,
    shift: float = 0.0,
) -> Path:
    """A run folder; ``result`` changes keys of ``result.json``, ``shift`` moves the scores."""
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text(CONFIG)
    machine = {"spikeloom": "0.1.0", "python": "3.12.3", "torch": "2.13.0", "threads": 1}
    machine |= {"command": "spikeloom run bptt/synthetic --seed 0", "git": "0123abc"}
    (folder / "environment.json").write_text(json.dumps(machine))
    lines = [json.dumps(fake_epoch(at, shift)) for at in range(1, epochs + 1)]
    (folder / "metrics.jsonl").write_text("".join(f"{line}\n" for line in lines))
    if sample:
        write_sample(folder / "sample.safetensors")
    if finished:
        content = fake_result(classes, shift) | (result or {})
        (folder / "result.json").write_text(json.dumps(content))
    return folder


def fake_epoch(at: int, shift: float = 0.0) -> dict[str, Any]:
    """One epoch of a run that learns; the second phase starts after the eighth."""
    loss, accuracy = 2.3 * math.exp(-0.2 * at) + 0.1, 0.9 - 0.8 * math.exp(-0.3 * at) + shift
    row: dict[str, Any] = {"phase": int(at > 8), "epoch": at, "update": 120 * at, "seconds": 3.2}
    row["lr"] = 0.1 * math.cos(0.12 * at) ** 2
    row["train"] = {"loss": loss, "accuracy": accuracy, "grad_norm": 1.0 + 1 / at}
    if at % 2 == 0:
        row["val"] = {"loss": loss + 0.1 + 0.01 * at, "accuracy": accuracy - 0.03}
    row["notes"] = {"dspike/b": 3.0 + 0.2 * at, "dspike/cosine": 0.1, "dspike/cosine up": 0.2}
    return row


def fake_result(classes: int = 4, shift: float = 0.0) -> dict[str, Any]:
    """The content of ``result.json``."""
    counts = np.random.default_rng(0).integers(0, 6, (classes, classes)) + 40 * np.eye(classes)
    return {
        "recipe": "bptt/synthetic_vgg",
        "seed": 0,
        "model": "spiking_vgg",
        "parameters": 1234567,
        "epochs": 12,
        "seconds": 192.4,
        "splits": {"train": 800, "val": 100, "test": {"count": 200, "digest": "9f2c" * 12}},
        "val": {"loss": 0.4, "accuracy": 0.87 + shift},
        "test": {"loss": 0.41, "accuracy": 0.85 + shift, "count": 200},
        "best": {"epoch": 10, "val": {"loss": 0.39, "accuracy": 0.88 + shift}},
        "twin": {"test": {"accuracy": 0.9}},
        "firing_rates": dict(zip(LAYERS, (0.31, 0.12, 0.055, 0.2), strict=True)),
        "confusion": counts.astype(int).tolist(),
        "class_names": [
            ["cat", "dog", "air <b>plane</b>", "$5 & $6"][at % 4] + "x" * (at // 4)
            for at in range(classes)
        ],
        "papers": [
            {
                "method": "bptt",
                "bibtex": "@inproceedings{wu2018,\n  title = {{Spatio-temporal}},\n"
                "  url = {https://doi.org/10.3389/fnins.2018.00331}\n}",
            }
        ],
        "accuracy_by_step": [0.4, 0.6, 0.75, 0.8, 0.84, 0.85],
    }


def write_sample(path: Path, T: int = 6) -> None:
    """A recorded sample of four layers."""
    rng = np.random.default_rng(1)
    tensors = {"input": rng.random((3, 8, 8), dtype=np.float32)}
    for at, layer in enumerate(LAYERS):
        neurons = (64, 64, 32, 10)[at]
        tensors[f"spikes/{layer}"] = (rng.random((T, neurons)) < 0.2).astype(np.uint8)
        walk = rng.normal(0.1, 0.4, (T, 8)).cumsum(0)
        tensors[f"potential/{layer}"] = np.minimum(walk, 1.2).astype(np.float32)
        tensors[f"threshold/{layer}"] = np.array(1.0, dtype=np.float32)
    save_file(tensors, path)


@pytest.fixture
def rng() -> np.random.Generator:
    """Random numbers, the same every time."""
    return np.random.default_rng(0)
