"""A run that is killed and resumed ends exactly like one that was left alone."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from spikeloom.run import checkpoint, session
from spikeloom.run.loop import Training
from spikeloom.run.record import LAST
from tests.run.recipe import tiny

RUN = """
import sys
from pathlib import Path
from spikeloom.run.session import train
from tests.run.recipe import tiny
train(tiny(**{changes}), Path(sys.argv[1]), resume=Path(sys.argv[1], "last.safetensors").exists())
"""
EVERYTHING: dict[str, Any] = {
    "phase__0__epochs": 4,
    "data__train": 900,
    "phase__0__ema": 0.9,
    "phase__0__accumulate": 2,
    "phase__0__clip_norm": 1.0,
    "data__augment": ["crop", "flip"],
    "model__dropout": 0.2,
    "run__checkpoint_minutes": 1e-5,  # a checkpoint after nearly every update
}


def start(folder: Path, changes: dict[str, Any]) -> subprocess.Popen[bytes]:
    code = RUN.format(changes=changes)
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": f"{root / 'src'}:{root}", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-c", code, str(folder)], env=environment)


def same_end(one: Path, other: Path) -> None:
    """All weights, optimizer slots, random states and metrics but the times are equal."""
    tensors, facts = checkpoint.load_state(one / LAST)
    others, other_facts = checkpoint.load_state(other / LAST)
    assert tensors.keys() == others.keys()
    for name in tensors:
        assert torch.equal(tensors[name], others[name]), name
    for state in (facts["state"], other_facts["state"]):
        state["seconds"] = 0
        for line in state["history"]:
            line["seconds"] = 0
    assert facts == other_facts


@pytest.mark.slow
@pytest.mark.parametrize("patience", [0.0, 0.1])
def test_killed_and_resumed_equals_uninterrupted(tmp_path: Path, patience: float) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert start(whole, EVERYTHING).wait() == 0
    kills = 0
    for _ in range(3):
        before = stamp(broken / LAST)
        process = start(broken, EVERYTHING)
        while process.poll() is None and stamp(broken / LAST) == before:
            time.sleep(0.005)  # let it get past its imports and write something new
        time.sleep(patience)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
    assert start(broken, EVERYTHING).wait() == 0
    assert kills >= 1
    same_end(whole, broken)


def stamp(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


class StopError(Exception):
    pass


class StopAfter:
    def __init__(self, updates: int) -> None:
        self.left = updates

    def update(self, progress: Any, loss: float) -> None:
        self.left -= 1
        if self.left == 0:
            raise StopError

    def epoch(self, line: dict[str, Any]) -> None:
        pass


@pytest.mark.parametrize("updates", [1, 4, 7, 8, 11])
def test_stopped_at_any_update_equals_uninterrupted(tmp_path: Path, updates: int) -> None:
    config = tiny(run__checkpoint_minutes=1e-9, phase__0__ema=0.5)
    session.train(config, tmp_path / "whole")
    with pytest.raises(StopError):
        session.train(config, tmp_path / "broken", watch=lambda task: StopAfter(updates))
    session.train(config, tmp_path / "broken", resume=True)
    same_end(tmp_path / "whole", tmp_path / "broken")


def test_second_phase_resumes_too(tmp_path: Path) -> None:
    phases = [
        {"optimizer": {"name": "sgd", "lr": 0.1}, "epochs": 1},
        {"optimizer": {"name": "adam", "lr": 0.01}, "epochs": 2},
    ]
    config = tiny(phase=phases)
    session.train(config, tmp_path / "whole")
    with pytest.raises(StopError):
        session.train(config, tmp_path / "broken", watch=lambda task: StopAfter(18))
    session.train(config, tmp_path / "broken", resume=True)
    same_end(tmp_path / "whole", tmp_path / "broken")


def test_resuming_a_finished_run_trains_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = session.train(tiny(), tmp_path)
    monkeypatch.setattr(Training, "_update", lambda *_: pytest.fail("trained again"))
    again = session.resume_folder(tmp_path)
    assert again["test"] == first["test"]
    assert again["seconds"] == first["seconds"]


def test_same_seed_same_run_other_seed_other_run(tmp_path: Path) -> None:
    def weights(name: str, seed: int) -> torch.Tensor:
        session.train(tiny(run__seed=seed), tmp_path / name)
        return torch.cat([t.flatten().float() for t in model(tmp_path / name).values()])

    one, two, other = weights("a", 1), weights("b", 1), weights("c", 2)
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def model(folder: Path) -> dict[str, torch.Tensor]:
    return checkpoint.under("model", checkpoint.load_state(folder / LAST)[0])


def test_another_configuration_is_refused_by_what_differs(tmp_path: Path) -> None:
    session.train(tiny(), tmp_path)
    with pytest.raises(
        checkpoint.CheckpointError, match=r"model\.neuron\.tau was None and is 9\.0"
    ):
        session.train(tiny(model__neuron={"name": "lif", "tau": 9.0}), tmp_path, resume=True)
    with pytest.raises(checkpoint.CheckpointError, match=r"run\.seed was 0 and is 7"):
        session.train(tiny(run__seed=7), tmp_path, resume=True)
    session.train(tiny(run__threads=2), tmp_path, resume=True)
