"""What TensorBoard is told of a run."""

from pathlib import Path
from typing import Any

import pytest

from spikeloom.run.board import Board

pytest.importorskip("tensorboard")


def scalars(folder: Path, name: str) -> list[tuple[int, float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return [(event.step, round(event.value, 4)) for event in events.Scalars(name)]


def line(phase: int, epoch: int) -> dict[str, Any]:
    return {"phase": phase, "epoch": epoch, "lr": 0.5, "train": {"loss": phase + epoch / 10}}


def test_steps_run_on_over_phases_and_resumes(tmp_path: Path) -> None:
    epochs = (2, 1, 2)
    first, resumed = Board(tmp_path, epochs), Board(tmp_path, epochs)
    for place in ((0, 1), (0, 2), (1, 1)):
        first.epoch(line(*place))
    first.writer.close()
    for place in ((2, 1), (2, 2)):
        resumed.epoch(line(*place))
    resumed.writer.close()
    assert scalars(tmp_path, "loss/train") == [(1, 0.1), (2, 0.2), (3, 1.1), (4, 2.1), (5, 2.2)]
    assert [step for step, _ in scalars(tmp_path, "lr")] == [1, 2, 3, 4, 5]
