"""What the training loop promises about updates, phases and metrics."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from spikeloom.run import checkpoint, session
from spikeloom.run.diagnose import first_nonfinite
from spikeloom.run.loop import NonFiniteLossError
from spikeloom.run.record import BEST, LAST, METRICS, RESULT
from tests.run.recipe import tiny

SGD = {"name": "sgd", "lr": 0.05}


def weights(folder: Path, file: str = LAST) -> dict[str, torch.Tensor]:
    return checkpoint.under("model", checkpoint.load_state(folder / file)[0])


def test_accumulated_batches_make_the_update_of_one_large_batch(tmp_path: Path) -> None:
    plain = {"model__norm": "none", "phase__0__optimizer": SGD, "phase__0__epochs": 1}
    session.train(tiny(data__batch=32, **plain), tmp_path / "large")
    session.train(tiny(data__batch=16, phase__0__accumulate=2, **plain), tmp_path / "accumulated")
    large, accumulated = weights(tmp_path / "large"), weights(tmp_path / "accumulated")
    for name in large:
        torch.testing.assert_close(accumulated[name], large[name], rtol=1e-3, atol=1e-5)


def test_clipping_bounds_the_first_update(tmp_path: Path) -> None:
    one = {"data__train": 32, "phase__0__epochs": 1, "phase__0__optimizer": {**SGD, "lr": 1.0}}
    one["phase__0__schedule"] = "constant"
    start = session.prepare(tiny(**one), session.Processes(), torch.device("cpu"), None)
    before = torch.cat([p.detach().flatten() for p in start.model.parameters()])
    session.train(tiny(phase__0__clip_norm=0.01, **one), tmp_path)
    names = dict(start.model.named_parameters())
    after = torch.cat([weights(tmp_path)[name].flatten() for name in names])
    assert float((after - before).norm()) == pytest.approx(0.01, rel=1e-3)


def test_ema_weights_are_the_ones_judged(tmp_path: Path) -> None:
    session.train(tiny(phase__0__ema=0.999), tmp_path)
    best, last = weights(tmp_path, BEST), weights(tmp_path)
    assert any(not torch.equal(best[name], last[name]) for name in last)


def test_every_precision_trains(tmp_path: Path) -> None:
    result = session.train(tiny(run__precision="bf16"), tmp_path)
    assert math.isfinite(result["test"]["loss"])
    assert all(t.dtype != torch.bfloat16 for t in weights(tmp_path).values())


def test_record_holds_what_a_reader_needs(tmp_path: Path) -> None:
    result = session.train(tiny(), tmp_path, recipe="tiny")
    assert json.loads((tmp_path / RESULT).read_text()) == result
    lines = [json.loads(line) for line in (tmp_path / METRICS).read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    assert result["test"]["count"] == 60
    assert result["splits"]["val"]["count"] == 100
    assert sum(map(sum, result["confusion"])) == 60
    right = sum(row[i] for i, row in enumerate(result["confusion"]))
    assert right / 60 == pytest.approx(result["test"]["accuracy"])
    assert result["accuracy_by_step"][-1] == pytest.approx(result["test"]["accuracy"])
    assert all(0 <= rate <= 1 for rate in result["firing_rates"].values())
    assert "recipe" in json.loads((tmp_path / "environment.json").read_text())


def test_twin_has_the_same_parameters_and_a_score(tmp_path: Path) -> None:
    result = session.train(tiny(run__twin=True, phase__0__epochs=1), tmp_path)
    assert result["twin"]["parameters"] == result["parameters"]
    assert 0 <= result["twin"]["test"]["accuracy"] <= 1


def test_best_weights_are_those_of_the_best_validation(tmp_path: Path) -> None:
    session.train(tiny(phase__0__epochs=3, run__select="best"), tmp_path)
    lines = [json.loads(line) for line in (tmp_path / METRICS).read_text().splitlines()]
    accuracies = [line["val"]["accuracy"] for line in lines]
    facts = checkpoint.load_state(tmp_path / BEST)[1]
    assert facts["accuracy"] == max(accuracies)
    assert facts["epoch"] == accuracies.index(max(accuracies)) + 1


def test_eval_gives_the_score_of_the_record(tmp_path: Path) -> None:
    result = session.train(tiny(), tmp_path)
    assert session.score(tmp_path)["accuracy"] == result["test"]["accuracy"]
    packed = session.score(tmp_path, packed=True)
    assert packed["accuracy"] == pytest.approx(result["test"]["accuracy"], abs=0.02)
    assert packed["loss"] == pytest.approx(result["test"]["loss"], rel=0.01)


def test_diverging_run_stops_says_where_and_keeps_its_checkpoint(tmp_path: Path) -> None:
    wild: dict[str, Any] = {"phase__0__optimizer": {"name": "sgd", "lr": 1e38}}
    config = tiny(model__norm="none", run__checkpoint_minutes=1e-9, **wild)
    with pytest.raises(NonFiniteLossError, match=r"epoch 1, update \d+.*layer|parameter"):
        session.train(config, tmp_path)
    assert weights(tmp_path)


def test_first_layer_with_nan_is_named() -> None:
    class Bad(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x / 0

    model = nn.Sequential(nn.Linear(2, 2), Bad(), nn.Linear(2, 2))
    assert "layer 1 " in first_nonfinite(model, torch.ones(1, 2))
    model[0].weight.data[0, 0] = math.nan
    assert "parameter 0.weight" in first_nonfinite(model, torch.ones(1, 2))


def test_logged_rate_is_the_one_the_epoch_ended_with(tmp_path: Path) -> None:
    halves = {"name": "steps", "at": [0.5], "gamma": 0.1}
    session.train(tiny(phase__0__schedule=halves), tmp_path)
    lines = [json.loads(line) for line in (tmp_path / METRICS).read_text().splitlines()]
    assert [line["lr"] for line in lines] == pytest.approx([0.003, 0.0003])


def test_best_without_validation_is_refused(tmp_path: Path) -> None:
    with pytest.raises(session.ConfigError, match="needs a validation split"):
        session.train(tiny(data__val=0, run__select="best"), tmp_path)
