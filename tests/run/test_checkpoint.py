"""Checkpoints are whole or absent, hold no code, and refuse what does not fit."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from spikeloom.run import checkpoint
from spikeloom.run.checkpoint import CheckpointError


def test_what_was_saved_comes_back_bit_for_bit(tmp_path: Path) -> None:
    tensors = {
        "float": torch.randn(3, 4),
        "bf16": torch.randn(5).bfloat16(),
        "random": torch.get_rng_state(),
        "channels_last": torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last),
        "scalar": torch.tensor(3.0),
        "empty": torch.zeros(0),
    }
    facts = {"epoch": 3, "nested": {"lines": [1, 2.5, None]}, "infinite": float("-inf")}
    checkpoint.save_state(tmp_path / "a", tensors, facts)
    loaded, about = checkpoint.load_state(tmp_path / "a")
    assert about == facts
    assert all(torch.equal(loaded[name], tensors[name]) for name in tensors)
    assert {name: t.dtype for name, t in loaded.items()} == {
        name: t.dtype for name, t in tensors.items()
    }


@pytest.mark.parametrize("keep", [0, 7, 100, -1])
def test_truncated_file_is_refused(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "a"
    checkpoint.save_state(path, {"w": torch.randn(100)}, {})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match="truncated or altered"):
        checkpoint.load_state(path)


def test_pickles_and_foreign_files_are_refused(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(1)}, tmp_path / "pickle")
    with pytest.raises(CheckpointError):
        checkpoint.load_state(tmp_path / "pickle")
    from safetensors.torch import save_file

    save_file({"w": torch.zeros(1)}, tmp_path / "foreign")
    with pytest.raises(CheckpointError, match="not a checkpoint of this version"):
        checkpoint.load_state(tmp_path / "foreign")


def test_full_disk_keeps_the_old_file_and_leaves_no_rubbish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    checkpoint.save_state(path, {"w": torch.ones(2)}, {})

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="what was saved before is kept"):
        checkpoint.save_state(path, {"w": torch.zeros(2)}, {})
    monkeypatch.undo()
    assert torch.equal(checkpoint.load_state(path)[0]["w"], torch.ones(2))
    assert [file.name for file in tmp_path.iterdir()] == ["a"]


def test_weights_of_another_model_are_refused_by_name() -> None:
    wide, narrow = nn.Linear(3, 2), nn.Linear(3, 4)
    with pytest.raises(CheckpointError, match=r"weight: \(2, 3\) in the file, \(4, 3\)"):
        checkpoint.load_weights(narrow, wide.state_dict(), Path("a"))
    with pytest.raises(CheckpointError, match="missing weight"):
        checkpoint.load_weights(nn.Linear(3, 2), {"bias": torch.zeros(2)}, Path("a"))
    with pytest.raises(CheckpointError, match="not in the model other"):
        checkpoint.load_weights(
            nn.Linear(3, 2), {**wide.state_dict(), "other": torch.zeros(1)}, Path("a")
        )


@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
        lambda p: torch.optim.Adam(p, lr=0.1),
        lambda p: torch.optim.NAdam(p, lr=0.1),
        lambda p: torch.optim.RMSprop(p, lr=0.1),
    ],
)
def test_optimizer_goes_on_as_if_never_saved(tmp_path: Path, make: Any) -> None:
    def step(optimizer: torch.optim.Optimizer, w: nn.Parameter, times: int) -> None:
        for _ in range(times):
            optimizer.zero_grad()
            (w.square().sum() + w.sum()).backward()
            optimizer.step()

    through, stopped = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
    whole, first = make([through]), make([stopped])
    step(whole, through, 6)
    step(first, stopped, 3)
    tensors, facts = checkpoint.optimizer_state(first)
    checkpoint.save_state(tmp_path / "a", tensors, facts)
    second = make([stopped])
    checkpoint.load_optimizer(second, *checkpoint.load_state(tmp_path / "a"))
    step(second, stopped, 3)
    assert torch.equal(through, stopped)
