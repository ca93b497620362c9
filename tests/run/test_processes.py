"""Two processes on half batches do what one does on the whole batch."""

import os
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing as mp

from spikeloom.learning import Batch
from spikeloom.run import checkpoint, session
from spikeloom.run.config import Config, validate
from spikeloom.run.record import LAST
from spikeloom.run.stage import Stage
from spikeloom.run.task import Task
from tests.run.recipe import tiny

# 67 = 2 x 32 + 3: the last batch of three leaves two images to one process and one to the other.
CONFIG = tiny(
    data__train=67,
    phase__0__epochs=1,
    phase__0__optimizer={"name": "sgd", "lr": 0.1, "momentum": 0.9},
)
# A learner that adds modules, which must start alike in both.
BRANCHES = tiny(
    data__train=67,
    model__name="spiking_resnet20",
    model__width=0.25,
    phase__0__epochs=1,
    phase__0__learner="shortcut_bp",
    phase__0__optimizer={"name": "sgd", "lr": 0.1, "momentum": 0.9},
)
# Two grades, the second of them on features that every process keeps of all samples.
GRADES = validate({
    "model": {"name": "graded_mlp", "grades": 2, "hidden": [8], "T": 1, "neuron": "relu",
              "norm": "none"},
    "data": {"name": "sines", "frequencies": 2, "spacing": 1.0, "count": 67, "held": 8, "val": 8,
             "test": 8, "batch": 32},
    "phase": [{"times": 2, "learner": "mgdl", "loss": "mse", "epochs": 1,
               "optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.9}}],
    "run": {"threads": 1},
})  # fmt: skip
# Back-propagation first, then increments alone; Adam would move on gradients of zero.
CYCLE = tiny(
    data__train=67,
    model__neuron={"name": "if", "v_threshold": 0.2},
    phase__0__learner={"name": "eicil", "cycle": "EI", "eta": 0.05},
)


def train_noting_gradients(folder: Path, config: Config = CONFIG) -> list[torch.Tensor]:
    """Train in float64, and return all gradients of every update as the optimizer saw them.

    In float32 the order of summation moves weights by a rounding, and after an update or two a
    spike; in float64 no potential of so small a run lies that close to a threshold.
    """
    seen: list[torch.Tensor] = []
    step, prepare, batch = Stage.step, session.prepare, Task.batch

    def double(*given: Any) -> Task:
        task = prepare(*given)
        task.model.double()
        return task

    def doubled(self: Task, x: torch.Tensor, y: torch.Tensor, **how: Any) -> Batch:
        made = batch(self, x, y, **how)
        return Batch(made.x_seq.to(next(self.model.parameters()).dtype), made.y)

    def noting(self: Stage, share: float) -> None:
        grads = [p.grad.flatten().clone() for p in self.model.parameters() if p.grad is not None]
        if grads:
            seen.append(torch.cat(grads))
        step(self, share)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stage, "step", noting)
        patch.setattr(session, "prepare", double)
        patch.setattr(Task, "batch", doubled)
        session.train(config, folder)
    return seen


def train_as(rank: int, world: int, port: int, folder: str, config: Config = CONFIG) -> None:
    os.environ.update(
        RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world),
        MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port),
    )  # fmt: skip
    gradients = train_noting_gradients(Path(folder), config)
    torch.save(gradients, f"{folder}-gradients{rank}.pt")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.mark.slow
@pytest.mark.parametrize("config", [CONFIG, BRANCHES, GRADES], ids=["bptt", "shortcut_bp", "mgdl"])
def test_two_processes_have_the_gradients_of_one(tmp_path: Path, config: Config) -> None:
    one = train_noting_gradients(tmp_path / "one", config)
    mp.spawn(train_as, (2, free_port(), str(tmp_path / "two"), config), nprocs=2)
    for rank in range(2):
        two = torch.load(tmp_path / f"two-gradients{rank}.pt")
        assert len(two) == len(one) == 3 * len(config.phase)
        for mine, whole in zip(two, one, strict=True):
            assert mine.dtype == torch.float64
            torch.testing.assert_close(mine, whole, rtol=1e-9, atol=1e-12)
    histories = [
        checkpoint.load_state(tmp_path / name / LAST)[1]["state"]["history"][0]
        for name in ("one", "two")
    ]
    for part in ("train", "val"):
        losses = [history[part]["loss"] for history in histories]
        assert losses[0] == pytest.approx(losses[1], rel=1e-9)


@pytest.mark.slow
def test_two_processes_add_the_increments_of_one_and_leave_moments_alone(tmp_path: Path) -> None:
    train_noting_gradients(tmp_path / "one", CYCLE)
    mp.spawn(train_as, (2, free_port(), str(tmp_path / "two"), CYCLE), nprocs=2)
    one, two = (checkpoint.load_state(tmp_path / name / LAST)[0] for name in ("one", "two"))
    assert one.keys() == two.keys() - {"random/1"}
    assert any(name.startswith("optimizer") for name in one)
    for name in one:
        if not name.startswith("random"):
            torch.testing.assert_close(two[name], one[name], rtol=1e-9, atol=1e-12)
    assert len(torch.load(tmp_path / "two-gradients0.pt")) == 3, "one epoch of two had gradients"
