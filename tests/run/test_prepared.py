"""A learner that adds modules: they train and resume, and never show in what is scored or kept."""

from pathlib import Path
from typing import Any

import pytest
import torch

from spikeloom import registry
from spikeloom.learning import Unsupported
from spikeloom.run import checkpoint, session
from spikeloom.run.config import ConfigError
from spikeloom.run.record import BEST, LAST, RESULT
from tests.learning.headed import HeadedLearner
from tests.run.recipe import tiny
from tests.run.test_resume import StopAfter, StopError, same_end

ADAM = {"name": "adam", "lr": 0.003}
HEADED = {"learner": "headed", "optimizer": ADAM, "epochs": 2, "ema": 0.5, "no_decay": ["head.*"]}


class Refusing(HeadedLearner):
    def step(self, *_: Any) -> Any:
        raise Unsupported("this method needs a network without neurons")


@pytest.fixture(autouse=True)
def learners(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, made in {"headed": HeadedLearner, "refusing": Refusing}.items():
        entry = registry.Entry("learner", name, made, "a test")
        monkeypatch.setitem(registry._entries["learner"], name, entry)


@pytest.mark.parametrize("select", ["last", "best"])
def test_scores_of_a_run_are_those_of_the_plain_model(tmp_path: Path, select: str) -> None:
    config = tiny(phase=[HEADED, {"optimizer": ADAM, "epochs": 1}], run__select=select)
    result = session.train(config, tmp_path)
    assert session.score(tmp_path)["accuracy"] == result["test"]["accuracy"]
    assert result["parameters"] == session.train(tiny(), tmp_path / "plain")["parameters"]


def test_best_weights_hold_nothing_that_the_learner_added(tmp_path: Path) -> None:
    session.train(tiny(phase=[HEADED]), tmp_path)
    kept, _ = checkpoint.load_state(tmp_path / BEST)
    trained, _ = checkpoint.load_state(tmp_path / LAST)
    assert "model/head.weight" not in kept
    assert "model/head.weight" in trained


def test_best_of_an_earlier_phase_can_be_scored(tmp_path: Path) -> None:
    worse = {"optimizer": {"name": "sgd", "lr": 1e-9}, "epochs": 1}
    result = session.train(tiny(phase=[HEADED, worse], run__select="best"), tmp_path)
    assert result["best"]["phase"] == 0
    assert session.score(tmp_path, weights="best")["accuracy"] == result["test"]["accuracy"]


def test_what_a_learner_adds_and_counts_survives_a_stop(tmp_path: Path) -> None:
    config = tiny(phase=[HEADED], run__checkpoint_minutes=1e-9)
    session.train(config, tmp_path / "whole")
    with pytest.raises(StopError):
        session.train(config, tmp_path / "broken", watch=lambda task: StopAfter(9))
    session.train(config, tmp_path / "broken", resume=True)
    same_end(tmp_path / "whole", tmp_path / "broken")
    tensors, _ = checkpoint.load_state(tmp_path / "whole" / LAST)
    assert tensors["model/steps"] == 14
    assert not torch.equal(tensors["model/head.weight"], torch.zeros(10, 10))


@pytest.mark.parametrize("late", [{"learner": "refusing"}, {"no_decay": ["nothing.*"]}])
@pytest.mark.parametrize("twin", [False, True])
def test_a_mistake_in_a_late_phase_stops_the_run_before_it_starts(
    tmp_path: Path, late: dict[str, Any], twin: bool
) -> None:
    phases = [{"optimizer": ADAM, "epochs": 1}, {"optimizer": ADAM, "epochs": 1, **late}]
    with pytest.raises(ConfigError, match=r"phase 1.*(without neurons|nothing)"):
        session.train(tiny(phase=phases, run__twin=twin), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_mistake_that_only_the_twin_has_stops_the_run_too(tmp_path: Path) -> None:
    neurons = [{"match": ["*decay*"], "lr_scale": 0.1}]
    phase = {"optimizer": ADAM, "epochs": 1, "group": neurons}
    with pytest.raises(ConfigError, match="decay"):
        session.train(tiny(phase=[phase], model__neuron="plif", run__twin=True), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_result_is_on_disk_before_the_twin_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = session.train

    def stop(config: Any, folder: Path, **how: Any) -> Any:
        assert (tmp_path / RESULT).exists()
        raise StopError

    config = tiny(run__twin=True)
    monkeypatch.setattr(session, "train", stop)
    with pytest.raises(StopError):
        train(config, tmp_path)
