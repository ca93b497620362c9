"""The run folder is kept tidy, large enough, and says who worked in it."""

import json
import os
import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest
import torch

from spikeloom.run import session
from spikeloom.run.config import Config, ConfigError
from spikeloom.run.distributed import Processes
from spikeloom.run.record import (
    BEST,
    ENVIRONMENT,
    LAST,
    check_space,
    environment,
    hold,
    note_session,
    space_needed,
    write_json,
)
from spikeloom.run.task import prepare
from tests.run.recipe import tiny

CPU = torch.device("cpu")


def test_taking_a_folder_removes_what_a_killed_write_left(tmp_path: Path) -> None:
    drafts = [f".{LAST}.4711.tmp", ".metrics.jsonl.1.tmp", f".report.html.{os.getpid()}.tmp"]
    others = [LAST, ".lock", ".mine.tmp", "notes.12.tmp"]
    for name in (*drafts, *others):
        (tmp_path / name).write_bytes(b"")
    with hold(tmp_path):
        assert {path.name for path in tmp_path.iterdir()} == set(others)


def test_a_folder_in_use_is_not_swept(tmp_path: Path) -> None:
    with hold(tmp_path):
        (tmp_path / f".{LAST}.1.tmp").write_bytes(b"")
        with pytest.raises(ConfigError, match="in use"), hold(tmp_path):
            pass
        assert (tmp_path / f".{LAST}.1.tmp").exists()


@pytest.mark.parametrize(
    ("optimizer", "ema", "files"),
    [
        ({"name": "sgd", "lr": 0.1}, None, 1),
        ({"name": "sgd", "lr": 0.1, "momentum": 0.9}, None, 2),
        ({"name": "adam", "lr": 0.001}, 0.9, 4),
        ({"name": "adamw", "lr": 0.001, "amsgrad": True}, None, 4),
    ],
)
def test_space_is_that_of_the_checkpoints_in_the_folder(
    optimizer: dict[str, Any], ema: float | None, files: int, tmp_path: Path
) -> None:
    one = {"optimizer": optimizer, "epochs": 1, **({"ema": ema} if ema else {})}
    config = tiny(phase=[one], model__width=0.3)
    session.train(config, tmp_path)
    last, best = ((tmp_path / name).stat().st_size for name in (LAST, BEST))
    assert last / best == pytest.approx(files, rel=0.03)
    assert needed(config) == pytest.approx(2 * last + best, rel=0.03)


def test_space_is_for_the_largest_phase_and_for_the_twin() -> None:
    adam = {"optimizer": {"name": "adam", "lr": 0.001}, "epochs": 1}
    sgd = {"optimizer": {"name": "sgd", "lr": 0.1}, "epochs": 1}
    small, large = needed(tiny(phase=[sgd])), needed(tiny(phase=[adam]))
    assert needed(tiny(phase=[sgd, adam, sgd])) == large > small
    # main run: 3 + 1 shares are left; twin: 3 + 3 at once, and 1
    assert needed(tiny(phase=[adam], run__twin=True)) / large == pytest.approx(11 / 7, rel=0.01)


def needed(config: Config) -> int:
    """Without the part that does not depend on the model."""
    return space_needed(config, prepare(config, Processes(), CPU, None).model) - 50_000_000


def test_too_little_space_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 0, 10**8))
    check_space(tmp_path, 10**8)
    with pytest.raises(ConfigError, match=r"has 100 MB free, .* need about 101 MB"):
        check_space(tmp_path, 101 * 10**6)


def test_every_session_is_noted_behind_the_first(tmp_path: Path) -> None:
    first = {"recipe": "mine", **environment(CPU)}
    write_json(tmp_path / ENVIRONMENT, first)
    for processes in (1, 4):
        note_session(tmp_path, CPU, processes)
    noted = json.loads((tmp_path / ENVIRONMENT).read_text())
    sessions = noted.pop("sessions")
    assert noted == first
    assert [entry["processes"] for entry in sessions] == [1, 4]
    for entry in sessions:
        assert entry["started"].endswith("+00:00")
        assert entry["torch"] == torch.__version__
        assert entry["threads"] == torch.get_num_threads()
        assert entry["git"] == first["git"]
    assert [path.name for path in tmp_path.iterdir()] == [ENVIRONMENT]


def test_a_session_without_an_environment_file_makes_one(tmp_path: Path) -> None:
    note_session(tmp_path, CPU, 1)
    assert len(json.loads((tmp_path / ENVIRONMENT).read_text())["sessions"]) == 1


@pytest.mark.parametrize("content", ["{", "[]", '{"sessions": 3}', '{"sessions": null}'])
def test_a_damaged_environment_file_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / ENVIRONMENT).write_text(content)
    with pytest.raises(ConfigError, match=r"environment\.json is damaged"):
        note_session(tmp_path, CPU, 1)
    assert (tmp_path / ENVIRONMENT).read_text() == content
