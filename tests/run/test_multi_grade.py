"""Runs grade by grade. Numbered items are those of the specification of multi-grade learning."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spikeloom.data import Source, TensorNumbers, sines
from spikeloom.layers import Grades
from spikeloom.registry import register
from spikeloom.run.checkpoint import load_state, under
from spikeloom.run.config import Config, ConfigError, DataConfig, load, validate
from spikeloom.run.loop import Training
from spikeloom.run.session import resume_folder, score, train

PHASE: dict[str, Any] = {
    "learner": "mgdl", "loss": {"name": "mse", "half": True}, "epochs": 2,
    "optimizer": {"name": "adam", "lr": 3e-3, "fused": True},
    "schedule": {"name": "exponential", "floor": 0.1},
}  # fmt: skip


def recipe(grades: int = 3, hidden=(12, 12), phases=None, run=None, **data) -> Config:
    return validate({
        "title": "grades",
        "model": {"name": "graded_mlp", "grades": grades, "hidden": list(hidden), "T": 1,
                  "neuron": "relu", "norm": "none"},
        "data": {"name": "sines", "setting": 2, "frequencies": 3, "spacing": 2.0, "count": 64,
                 "held": 16, "val": 16, "test": 32, "batch": 32, "passes": 3, **data},
        "phase": [{**PHASE, "times": grades}] if phases is None else phases,
        "run": {"threads": 1, **(run or {})},
    })  # fmt: skip


@register("dataset", "tiles")
def tiles(root=None) -> Source:
    """Images whose target is their mean."""
    x = torch.randint(0, 256, (64, 1, 4, 4), dtype=torch.uint8)
    part = TensorNumbers(x, x.float().mean((1, 2, 3))[:, None] / 255)
    return Source("tiles", part, part, (1, 4, 4), measure="rse", outputs=1)


TILES = DataConfig.model_validate({"name": "tiles", "val": 16, "augment": ["flip"]})


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return under("model", load_state(folder / "last.safetensors")[0])


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_phase_repeats_as_many_times_as_it_says():
    config = recipe(grades=3)
    assert [phase.times for phase in config.phase] == [1, 1, 1]
    assert len({phase.model_dump_json() for phase in config.phase}) == 1
    with pytest.raises(ConfigError, match=r"phase\.0\.times = 0"):
        recipe(phases=[{**PHASE, "times": 0}])


def test_item_1_one_grade_is_ordinary_training(tmp_path):
    train(recipe(grades=1), tmp_path / "mgdl")
    train(recipe(grades=1, phases=[{**PHASE, "learner": "bptt"}]), tmp_path / "bptt")
    one, other = weights(tmp_path / "mgdl"), weights(tmp_path / "bptt")
    assert all(torch.equal(one[name], other[name]) for name in one.keys() | other.keys())
    scores = [[line["train"] for line in lines(tmp_path / name)] for name in ("mgdl", "bptt")]
    assert scores[0] == scores[1]


def test_scores_are_of_the_accumulated_prediction_against_the_targets(tmp_path):
    result = train(recipe(), tmp_path, recipe="grades")
    grades = result["test_by_grade"]
    assert list(grades) == ["1", "2", "3"]
    assert grades["3"]["rse"] == result["test"]["rse"] == score(tmp_path)["rse"]
    frozen = [{**PHASE, "epochs": 1, "optimizer": {"name": "sgd", "lr": 0.0}}] * 2
    train(recipe(grades=2, phases=frozen, passes=1), tmp_path / "still")
    model = built(recipe(grades=2), weights(tmp_path / "still"))
    source = sines(setting=2, frequencies=3, spacing=2.0, count=64, held=16)
    x, y = source.train.samples[:64].float(), source.train.targets[:64].float()
    error = (model(x[None])[0].detach() - y).square().sum() / y.square().sum()
    assert lines(tmp_path / "still")[-1]["train"]["rse"] == pytest.approx(float(error), rel=1e-5)


def built(config: Config, state: dict[str, torch.Tensor]) -> Grades:
    from spikeloom.run.task import network

    net = network(config, (1,), 1)
    net.load_state_dict(state)
    assert isinstance(net, Grades)
    return net


@pytest.mark.parametrize("how", [{}, {"rescale": True}, {"cache": False}], ids=str)
def test_interrupted_within_the_second_grade_it_ends_alike(tmp_path, monkeypatch, how):
    config = recipe(phases=[{**PHASE, "learner": {"name": "mgdl", **how}, "ema": 0.9}] * 3)
    whole = train(config, tmp_path / "whole", recipe="grades")
    update, calls = Training._update, []

    def stopping(self, group, progress):
        calls.append(None)
        if len(calls) == 17:  # of 12 updates a grade
            raise KeyboardInterrupt
        found = update(self, group, progress)
        return found[0], len(calls) == 16

    monkeypatch.setattr(Training, "_update", stopping)
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "cut", recipe="grades")
    monkeypatch.setattr(Training, "_update", update)
    again = resume_folder(tmp_path / "cut")
    assert again["test"] == whole["test"]
    one, other = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert all(torch.equal(one[name], other[name]) for name in one)
    for before, after in zip(lines(tmp_path / "whole"), lines(tmp_path / "cut"), strict=True):
        assert {**before, "seconds": 0} == {**after, "seconds": 0}
    assert lines(tmp_path / "whole")[2]["notes"].keys() == {
        "mgdl/residual rms", "mgdl/dead features",
    }  # fmt: skip


def test_the_best_weights_are_of_the_grades_that_were_open(tmp_path, monkeypatch):
    phases = [PHASE, {**PHASE, "optimizer": {"name": "sgd", "lr": 0.0}}]
    result = train(recipe(grades=2, phases=phases, run={"select": "best"}), tmp_path / "run")
    assert result["best"]["phase"] == 0
    assert list(result["test_by_grade"]) == ["1"]
    assert result["test"]["rse"] == result["test_by_grade"]["1"]["rse"]
    assert score(tmp_path / "run")["rse"] == result["test"]["rse"]


def test_training_ends_where_a_grade_gains_nothing(tmp_path):
    worse = {**PHASE, "if_better": True, "optimizer": {"name": "adam", "lr": 1.0}}
    phases = [{**PHASE, "epochs": 4}, worse, worse, worse]
    result = train(recipe(grades=4, phases=phases), tmp_path, recipe="grades")
    seen = lines(tmp_path)
    assert [line["phase"] for line in seen] == [0] * 4 + [1, 1]
    said = seen[-1]["stopped"]
    assert said.startswith("2 of 4 phases not trained: validation rse was ")
    assert result["stopped"] == said
    assert resume_folder(tmp_path)["stopped"] == said
    better = {**PHASE, "if_better": True}
    train(recipe(grades=3, phases=[better] * 3), tmp_path / "on")
    assert "stopped" not in lines(tmp_path / "on")[-1]


def test_item_9_and_10_grades_learn_ever_higher_frequencies_that_one_network_does_not(tmp_path):
    """In small form: five frequencies, and equal totals of updates."""
    data = {"frequencies": 5, "spacing": 4.0, "count": 256, "batch": 256, "passes": 150}
    config = recipe(grades=3, hidden=(48, 48), phases=[{**PHASE, "epochs": 4}] * 3, **data)
    result = train(config, tmp_path / "mgdl")
    deep = recipe(grades=1, hidden=(48,) * 6, phases=[{**PHASE, "epochs": 12}], **data)
    single = train(deep, tmp_path / "sgdl")
    by_grade = [scores["rse"] for scores in result["test_by_grade"].values()]
    assert by_grade == sorted(by_grade, reverse=True)
    assert by_grade[-1] < single["test"]["rse"] / 3

    net = built(config, weights(tmp_path / "mgdl"))
    x = (torch.arange(256) / 256).view(1, -1, 1)
    with torch.no_grad():
        parts = [part[0, :, 0].numpy() for part in net.running(x)]
    spectra = [2 * np.abs(np.fft.rfft(part))[4:21:4] / 256 for part in parts]
    wanted = 1 - np.arange(5) / 5
    learnt = [np.minimum(spectrum / wanted, 1) for spectrum in spectra]
    assert learnt[0][0] > 2 * learnt[0][-1]  # the first grade holds the lowest
    assert all((later.sum() > earlier.sum()) for earlier, later in zip(learnt, learnt[1:]))  # noqa: B905, RUF007


def test_double_precision_goes_through_a_whole_run(tmp_path):
    train(recipe(grades=2, run={"precision": "fp64"}), tmp_path)
    assert all(value.dtype == torch.float64 for value in weights(tmp_path).values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"phases": [PHASE] * 4}, "after the last of 3"),
        ({"augment": [{"name": "flip"}]}, "augmentation changes images"),
        ({"name": "tiles", "augment": [{"name": "flip"}]}, "set cache = false"),
        ({"phases": [{**PHASE, "callback": ["spiking"]}]}, "callbacks look at the samples"),
        ({"phases": [{**PHASE, "loss": "rate_ce"}]}, "choose a loss of numbers"),
        ({"phases": [PHASE, {**PHASE, "if_better": True}], "val": 0, "held": 0}, "if_better needs"),
        ({"phases": [{**PHASE, "learner": {"name": "mgdl", "nth": 1}}]}, "unknown argument 'nth'"),
        ({"setting": 7}, "there are 1 to 4"),
        ({"val": 15}, "set val = 16"),
    ],
)
def test_what_does_not_fit_is_refused_before_training(tmp_path, change, message):
    config = recipe(**change)
    if config.data.name == "tiles":
        config = config.model_copy(update={"data": TILES})
    with pytest.raises(ConfigError, match=message):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_without_caching_samples_may_be_augmented(tmp_path):
    phases = [{**PHASE, "learner": {"name": "mgdl", "cache": False}}] * 2
    config = recipe(grades=2, phases=phases).model_copy(update={"data": TILES})
    assert train(config, tmp_path)["test"]["rse"] < 1


def test_an_encoder_that_draws_is_refused_with_caching(tmp_path):
    tree = recipe().model_dump(mode="json", exclude_none=True)
    tree["model"]["encoder"] = "poisson"
    with pytest.raises(ConfigError, match="'poisson' may draw anew"):
        train(validate(tree), tmp_path / "run")


def test_mgdl_is_refused_for_networks_without_grades(tmp_path):
    tree = recipe().model_dump(mode="json", exclude_none=True)
    tree["model"] |= {"name": "spiking_mlp", "hidden": [4]}
    tree["model"].pop("grades")
    with pytest.raises(ConfigError, match="networks made of grades, and SpikingMLP is none"):
        train(validate(tree), tmp_path / "run")


def test_the_small_recipe_is_the_experiment_of_item_10():
    config = load("sines_small_mgdl")
    updates = {phase.epochs * config.data.passes for phase in config.phase}
    assert (len(config.phase), updates) == (4, {5000})
    assert config.model.arguments["hidden"] == [128, 128]
