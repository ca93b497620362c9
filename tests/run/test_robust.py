"""The study of a run on perturbed sequences, its verb, and runs pooled into one figure."""

import json
import runpy
import sys
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch

from spikeloom.data import perturb
from spikeloom.data.randman import SpikeTimes
from spikeloom.registry import Unsupported
from spikeloom.run import session
from spikeloom.run.config import ConfigError
from spikeloom.run.robust import RECORD, Perturbed, Trials, study
from tests.cli.conftest import answer, call
from tests.run.recipe import tiny
from tests.run.recorded import HETSYN, LIF, trains

ROOT = Path(__file__).parents[2]
STRENGTHS: dict[str, Any] = {"delete": [0.0, 0.3, 1.0], "noise": [0.2], "jitter": [3.0]}
STRENGTHS |= {"warp": [-0.5, 0.5]}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of both models, and one on images."""
    root = tmp_path_factory.mktemp("runs")
    session.train(trains(LIF), root / "lif")
    session.train(trains(HETSYN), root / "hetsyn")
    session.train(tiny(phase__0__epochs=1), root / "images")
    return root


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "robustness" not in path.name and path.name != ".lock"
    }


@pytest.mark.parametrize("name", ["lif", "hetsyn"])
def test_a_study_leaves_the_run_as_it_is_and_repeats_itself(name: str, runs: Path) -> None:
    folder, before = runs / name, contents(runs / name)
    trials = Trials(STRENGTHS, draws=2)
    found = study(folder, trials)
    assert contents(folder) == before
    assert json.loads((folder / RECORD).read_text()) == found
    assert study(folder, trials) == found
    assert found["untouched"] == session.score(folder)["accuracy"]
    rows = {(row["perturbation"], row["strength"]): row for row in found["rows"]}
    assert list(rows) == [(key, value) for key, values in STRENGTHS.items() for value in values]
    assert rows["delete", 0.0]["accuracy"] == [found["untouched"]] * 2
    # without events there is one answer to all samples, of three classes alike
    assert rows["delete", 1.0]["accuracy"] == pytest.approx([1 / 3] * 2)
    assert (rows["warp", -0.5]["T"], rows["warp", 0.5]["T"]) == (15, 29)
    assert rows["noise", 0.2]["T"] == 20
    for kind in STRENGTHS:
        drawn = (folder / f"robustness-{kind}.svg").read_text()
        assert ElementTree.fromstring(drawn).tag.endswith("svg")


def test_perturbed_samples_do_not_depend_on_the_batch() -> None:
    images = SpikeTimes(torch.randint(9, (6, 4)), torch.arange(6), 9)
    samples = Perturbed(images, partial(drop, 0.5), (7, 0))
    together, y = samples.__getitems__([0, 1, 2, 3, 4, 5])
    assert y.tolist() == [0, 1, 2, 3, 4, 5]
    assert torch.equal(samples.__getitems__([4, 1])[0], together[[4, 1]])
    assert samples.__getitems__([])[0].shape == (0, 9, 4, 1, 1)
    other = Perturbed(images, partial(drop, 0.5), (7, 1))
    assert not torch.equal(other.__getitems__([0, 1, 2, 3, 4, 5])[0], together)


def test_a_greater_share_loses_the_same_events_and_more() -> None:
    images = SpikeTimes(torch.randint(9, (6, 40)), torch.arange(6), 9)
    few, many = (
        Perturbed(images, partial(drop, p), (7, 0)).__getitems__([0, 1, 2])[0] for p in (0.2, 0.6)
    )
    assert (many <= few).all()
    assert many.sum() < few.sum()


def drop(p: float, x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return perturb.drop(x, p, generator)


def test_images_have_no_events_to_lose(runs: Path) -> None:
    with pytest.raises(ConfigError, match="come from the encoder 'constant'"):
        study(runs / "images", Trials(STRENGTHS))


def test_other_numbers_are_no_events(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from spikeloom.data import Source

    monkeypatch.setattr(Source, "counts", False)
    with pytest.raises(ConfigError, match="hold other numbers"):
        study(runs / "lif", Trials(STRENGTHS))


def test_networks_of_a_fixed_number_of_steps_are_not_warped(tmp_path: Path) -> None:
    session.train(trains({**LIF, "norm": "tebn"}), tmp_path)
    with pytest.raises(
        Unsupported, match=r"takes no 15 steps in place of T = 20.*leave --warp out"
    ):
        study(tmp_path, Trials(STRENGTHS))
    assert study(tmp_path, Trials({"delete": [0.1]}, draws=1))["rows"]


@pytest.mark.parametrize(
    ("trials", "message"),
    [
        (Trials({}), "give strengths of delete, noise, jitter, warp"),
        (Trials({"delete": []}), "give strengths"),
        (Trials({"delete": [1.2]}), "delete = 1.2: share of the events that are lost, from 0 to 1"),
        (Trials({"warp": [float("nan")]}), "warp = nan"),
        (Trials(STRENGTHS, draws=0), "at least one draw"),
    ],
)
def test_what_cannot_be_tried_is_refused(trials: Trials, message: str, runs: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        study(runs / "lif", trials)


def test_the_verb_prints_a_table_or_json(runs: Path) -> None:
    words = ("robust", runs / "lif", "--test", 12, "--draws", 2)
    said = call(*words, "--delete", "0,.3", "--warp", "-0.5,0.5", "--warp", "1")
    assert "mean ± sd over 2 draws" in said.stdout
    assert "robustness-warp.svg" in said.stderr
    found = answer(*words, "--warp", "-0.5,0.5", "--warp", "1")
    assert [row["strength"] for row in found["rows"]] == [-0.5, 0.5, 1]
    published = answer(*words)["rows"]
    assert {row["perturbation"] for row in published} == {"delete", "warp"}
    assert [row["strength"] for row in published[:8]] == [
        0,
        0.01,
        0.02,
        0.04,
        0.08,
        0.16,
        0.32,
        0.64,
    ]


def test_the_verb_says_what_is_wrong(runs: Path, tmp_path: Path) -> None:
    refused = call("robust", runs / "lif", "--delete", "0,x", code=2).stderr
    assert "--delete takes numbers set apart by commas" in refused
    assert "is not a run folder" in call("robust", tmp_path, code=2).stderr
    assert "needs recorded sequences" in call("robust", runs / "images", code=2).stderr


def test_runs_are_pooled_by_arm(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("lif", "hetsyn"):
        study(runs / name, Trials({"delete": [0.0, 0.5]}, draws=2))
    script = str(ROOT / "benchmarks" / "robustness.py")
    words = [script, *(str(runs / name) for name in ("lif", "hetsyn")), "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", words)
    runpy.run_path(script, run_name="__main__")
    said = capsys.readouterr().out
    assert "| delete | 0.5 |" in said
    assert ElementTree.parse(tmp_path / "robustness-delete.svg").getroot().tag.endswith("svg")
