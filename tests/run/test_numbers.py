"""Runs whose targets are numbers: the same loop, scored by another measure."""

import json
from functools import partial

import pytest
import torch

from spikeloom.cli.scores import result_table, score_table
from spikeloom.data import Source, TensorNumbers
from spikeloom.registry import register
from spikeloom.report import compare, write_report
from spikeloom.report.summary import summary
from spikeloom.run.config import Config, ConfigError, validate
from spikeloom.run.session import resume_folder, score, train
from spikeloom.run.study import Study
from spikeloom.run.sweep import sweep


@register("dataset", "slope")
def slope(root=None, *, count: int = 96, measure: str = "rse", power: float = 1.0) -> Source:
    """A plane over the unit square."""
    x = torch.rand(count, 2, generator=torch.Generator().manual_seed(0))
    y = power * (x @ torch.tensor([[1.0, 0.2], [-0.5, 0.4]])).clamp(0, 1)
    part = TensorNumbers(x, y)
    return Source("slope", part, part, (2,), measure=measure, outputs=2)


def recipe(**data) -> Config:
    return validate({
        "title": "a plane",
        "model": {"name": "spiking_mlp", "hidden": [16], "T": 2, "neuron": "relu", "norm": "none"},
        "data": {"name": "slope", "batch": 32, "val": 24, **data},
        "phase": [
            {"loss": "mse", "optimizer": {"name": "adam", "lr": 0.02}, "epochs": 4,
             "schedule": "constant"}
        ],
        "run": {"threads": 1, "select": "best" if data.get("val", 24) else "last"},
    })  # fmt: skip


@pytest.mark.parametrize("measure", ["rse", "psnr"])
def test_a_run_is_scored_by_the_measure_of_its_data(tmp_path, measure):
    result = train(recipe(measure=measure), tmp_path, recipe="slope")
    assert result["measure"] == measure
    assert {"loss", "rse", "mse", "psnr", "count"} == result["test"].keys()
    assert result["test"]["rse"] < 0.5
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert all(
        line[part].keys() == {"loss", measure} for line in lines for part in ("train", "val")
    )
    seen = [line["val"][measure] for line in lines]
    best = min(seen) if measure == "rse" else max(seen)
    assert result["best"]["val"][measure] == best
    again = score(tmp_path)
    assert again[measure] == result["test"][measure]
    assert "accuracy" not in write_report(tmp_path).read_text().split("Config, with all")[0].lower()
    assert compare([tmp_path]).metric == f"test.{measure}"
    for table in (result_table(result), score_table(again)):
        assert f"test {measure}" in list(table.columns[0].cells)


def test_the_training_score_is_that_of_all_batches(tmp_path):
    config = changed("phase.0.optimizer.lr", 0.0, val=0)
    result = train(config, tmp_path, recipe="slope")
    assert result["train"]["rse"] == pytest.approx(result["test"]["rse"], rel=1e-5)
    assert result["train"]["loss"] == pytest.approx(result["test"]["mse"], rel=1e-5)


def test_a_sweep_chooses_by_the_measure_and_writes_its_table(tmp_path):
    tree = recipe().model_dump(mode="json", exclude_none=True)
    tree["phase"][0]["epochs"] = 2
    import tomli_w

    (tmp_path / "slope.toml").write_text(tomli_w.dumps(tree))
    study = Study.model_validate({
        "recipe": str(tmp_path / "slope.toml"), "seeds": [0, 1], "baseline": "wide",
        "arm": [{"name": "wide"}, {"name": "narrow", "set": ["model.hidden=[1]"]}],
        "tune": {"key": "phase.0.optimizer.lr", "values": [1e-6, 0.03]},
    })  # fmt: skip
    done = sweep(study, tmp_path / "out", jobs=0)
    assert done.chosen == {"wide": 0.03, "narrow": 0.03}
    table = summary(done.folders, "wide")
    assert "test (rse)" in table
    assert "validation, last epoch (rse)" in table


def test_measures_that_differ_are_not_compared_unasked(tmp_path):
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder, measure in zip(folders, ("rse", "psnr"), strict=True):
        train(recipe(measure=measure), folder, recipe="slope")
    with pytest.raises(ValueError, match="different measures, psnr, rse"):
        compare(folders)
    assert compare(folders, metric="test.mse").metric == "test.mse"


def test_a_run_interrupted_within_an_epoch_ends_alike(tmp_path, monkeypatch):
    from spikeloom.run.loop import Training

    whole = train(recipe(), tmp_path / "whole", recipe="slope")
    update, calls = Training._update, []

    def stopping(self, group, progress):
        calls.append(None)
        if len(calls) == 6:
            raise KeyboardInterrupt
        found = update(self, group, progress)
        return found[0], len(calls) == 5

    monkeypatch.setattr(Training, "_update", stopping)
    with pytest.raises(KeyboardInterrupt):
        train(recipe(), tmp_path / "cut", recipe="slope")
    monkeypatch.setattr(Training, "_update", update)
    again = resume_folder(tmp_path / "cut")
    assert again["test"] == whole["test"]
    lines = [
        [json.loads(line)["train"] for line in text.splitlines()]
        for text in ((tmp_path / name / "metrics.jsonl").read_text() for name in ("whole", "cut"))
    ]
    assert lines[0] == lines[1]


def changed(key: str, value, **data) -> Config:
    tree = recipe(**data).model_dump(mode="json", exclude_none=True)
    place, name = key.rsplit(".", 1)
    node = tree
    for step in place.split("."):
        node = node[int(step)] if isinstance(node, list) else node[step]
    node[name] = value
    return validate(tree)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("phase.0.loss", "rate_ce", "targets of slope are numbers; choose a loss of numbers"),
        ("data.measure", "accuracy", "numbers, which have no accuracy"),
        ("data.measure", "rsee", "Did you mean 'rse'"),
        ("model.in_shape", [3], "slope samples \\(2,\\) do not go through spiking_mlp"),
        ("data.augment", ["flip"], "do not go through|slope"),
    ],
)
def test_what_does_not_fit_numbers_is_refused(tmp_path, key, value, message):
    with pytest.raises(ConfigError, match=message):
        train(changed(key, value), tmp_path / "run", recipe="slope")
    assert not (tmp_path / "run").exists()


def test_a_loss_of_numbers_is_refused_for_classes(tmp_path):
    from tests.run.recipe import tiny

    with pytest.raises(ConfigError, match="targets of digits are classes"):
        train(tiny(phase__0__loss="mse"), tmp_path / "run")


def test_samples_and_targets_of_another_kind_are_refused():
    ok = partial(torch.zeros, 3, 2)
    for samples, targets, message in (
        (ok().long(), ok(), "float vectors"),
        (ok(), torch.zeros(3), "add an axis"),
        (ok(), torch.zeros(2, 2), r"float \[3, D\]"),
        (ok() / 0, ok(), "must be finite"),
    ):
        with pytest.raises(ValueError, match=message):
            TensorNumbers(samples, targets)
    part = TensorNumbers(ok(), ok())
    with pytest.raises(ValueError, match="number of outputs >= 1"):
        Source("none", part, part, (2,), measure="rse")
