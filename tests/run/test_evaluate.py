"""Scores are a function of the weights: evaluation draws for itself and disturbs nothing."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from spikeloom.run import session
from spikeloom.run.build import build
from spikeloom.run.config import Config
from spikeloom.run.distributed import Processes
from spikeloom.run.evaluate import (
    RATED,
    evaluate,
    evenly,
    firing_rates,
    rated_images,
    sample,
    watched,
)  # fmt: skip
from spikeloom.run.task import Task, prepare
from tests.run.recipe import tiny

CPU = torch.device("cpu")
EAGER = {"name": "lif", "v_threshold": 0.02}  # so that untrained layers fire to the last
RANDOM: dict[str, Any] = {
    "model__encoder": "poisson", "model__neuron": EAGER, "model__T": 4, "phase__0__epochs": 1,
}  # fmt: skip


def task_of(config: Config, procs: Processes = Processes()) -> Task:  # noqa: B008 it is frozen
    return prepare(config, procs, CPU, None)


def scores(task: Task, part: str = "test") -> dict[str, Any]:
    return evaluate(task, task.model, build(task.config.phase[0].loss, "loss"), part)


@pytest.fixture
def drawn() -> Iterator[Tensor]:
    """The state of the generator of training, which no test here may change."""
    torch.manual_seed(11)
    before = torch.get_rng_state()
    yield before
    assert torch.equal(torch.get_rng_state(), before)


def test_random_encoders_score_the_same_each_time() -> None:
    task = task_of(tiny(**RANDOM))
    first = scores(task), firing_rates(task, task.model), sample(task, task.model)
    torch.manual_seed(99)
    again = scores(task), firing_rates(task, task.model), sample(task, task.model)
    assert first[:2] == again[:2]
    assert all(torch.equal(first[2][name], again[2][name]) for name in first[2])


def test_another_seed_draws_otherwise() -> None:
    one, other = task_of(tiny(**RANDOM)), task_of(tiny(**RANDOM, run__seed=1))
    other.model.load_state_dict(one.model.state_dict())
    assert scores(one)["loss"] != scores(other)["loss"]


@pytest.mark.parametrize("look", [scores, lambda t: firing_rates(t, t.model)])
def test_evaluation_leaves_the_random_numbers_of_training_alone(look: Any, drawn: Tensor) -> None:
    task = task_of(tiny(**RANDOM))
    torch.set_rng_state(drawn)
    look(task)


def test_a_sample_leaves_the_random_numbers_of_training_alone(drawn: Tensor) -> None:
    task = task_of(tiny(**RANDOM))
    torch.set_rng_state(drawn)
    sample(task, task.model)


def test_eval_of_a_random_encoder_gives_the_score_of_the_record(tmp_path: Path) -> None:
    result = session.train(tiny(**RANDOM), tmp_path)
    found = session.score(tmp_path)
    assert {key: found[key] for key in result["test"]} == result["test"]


def test_processes_that_share_the_work_draw_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    task = task_of(tiny(**RANDOM, data__test=45))
    whole = sequences(task)
    for rank in (0, 1):
        share = replace(task, procs=Processes(rank, 2))
        monkeypatch.setattr(Processes, "sum", lambda self, values: values)
        for x_seq, all_seq in zip(sequences(share), whole, strict=True):
            assert torch.equal(x_seq, all_seq[:, rank::2])


def sequences(task: Task) -> list[Tensor]:
    """What the model is given while it is evaluated."""
    seen: list[Tensor] = []
    hook = task.model.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    scores(task)
    hook.remove()
    return seen


def test_rates_are_means_over_batches_no_larger_than_those_of_training() -> None:
    task = task_of(tiny(data__batch=16, data__test=60))
    x, y = task.source.test.__getitems__(list(range(60)))
    task.model.eval()
    with torch.no_grad(), watched(task.model) as seen:
        task.model(task.batch(x, y, training=False).x_seq)
    sizes: list[int] = []
    hook = task.model.register_forward_pre_hook(
        lambda module, given: sizes.append(given[0].shape[1])
    )
    rates = firing_rates(task, task.model)
    hook.remove()
    assert sizes == [16, 16, 16, 12]
    assert rates == pytest.approx({name: float(s[0].mean()) for name, s in seen.items()}, rel=1e-5)


@pytest.mark.parametrize(("test", "count"), [(60, 60), (300, RATED)])
def test_rates_say_how_many_images_they_come_from(test: int, count: int) -> None:
    assert rated_images(task_of(tiny(data__test=test))) == count


def test_some_samples_are_spread_over_all_of_them() -> None:
    """Pixels of a view lie side by side, and folders hold a class after the other."""
    at = torch.arange(100, 110)
    assert evenly(at, 4).tolist() == [100, 102, 105, 107]
    assert evenly(at, 99).tolist() == evenly(at, 10).tolist() == at.tolist()
    assert evenly(at[:0], 4).tolist() == []


def test_rates_are_of_samples_from_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    task = task_of(tiny(data__test=300))
    seen: list[int] = []
    read = type(task.source.test).__getitems__
    monkeypatch.setattr(
        type(task.source.test), "__getitems__", lambda self, at: seen.extend(at) or read(self, at)
    )
    firing_rates(task, task.model)
    assert len(seen) == RATED
    assert seen[-1] > 290
