"""The study of a run on faulty chips, and its verb."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from spikeloom.run import session
from spikeloom.run.config import ConfigError
from spikeloom.run.faults import RECORD, Chips, study
from tests.cli.conftest import answer, call
from tests.run.recipe import tiny
from tests.run.test_teacher import tandem

STRENGTHS: dict[str, Any] = {"threshold": [0.5], "bits": [2], "delay": [0.5]}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run by BPTT and one by local tandem learning."""
    root = tmp_path_factory.mktemp("runs")
    session.train(tiny(), root / "bptt")
    relu = tiny(model__neuron={"name": "relu", "clip": 2.0}, model__T=1, phase__0__epochs=1)
    session.train(relu, root / "relu")
    session.train(tandem({"run": str(root / "relu")}, run__select="best"), root / "tandem")
    return root


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "faults" not in path.name and path.name != ".lock"
    }


@pytest.mark.parametrize("name", ["bptt", "tandem"])
def test_a_study_leaves_the_run_as_it_is_and_repeats_itself(name: str, runs: Path) -> None:
    folder, before = runs / name, contents(runs / name)
    chips = Chips(STRENGTHS, count=2, calibrate=3 if name == "tandem" else 0)
    found = study(folder, chips)
    assert contents(folder) == before
    assert json.loads((folder / RECORD).read_text()) == found
    assert study(folder, chips) == found
    assert found["faultless"] == session.score(folder)["accuracy"]
    assert [(row["fault"], row["strength"]) for row in found["rows"]] == [
        ("threshold", 0.5), ("bits", 2), ("delay", 0.5)
    ]  # fmt: skip
    for row in found["rows"]:
        assert len(row["accuracy"]) == 2
        assert ("calibrated" in row) == (name == "tandem")
        assert ("lost" in row) == (row["fault"] == "delay")
        assert all(0 < share < 0.5 for share in row.get("lost", []))
    for fault in STRENGTHS:
        drawn = (folder / f"faults-{fault}.svg").read_text()
        assert ElementTree.fromstring(drawn).tag.endswith("svg")


def test_a_run_without_a_teacher_is_not_calibrated(runs: Path) -> None:
    with pytest.raises(ConfigError, match="has no teacher to be calibrated by"):
        study(runs / "bptt", Chips(STRENGTHS, calibrate=5))


@pytest.mark.parametrize(
    ("chips", "message"),
    [
        (Chips({}), "no fault is given"),
        (Chips({"bits": [1]}), "bits = 1: bits must be from 2"),
        (Chips({"dead": [2.0]}), "dead = 2.0"),
        (Chips(STRENGTHS, count=0), "at least one chip"),
    ],
)
def test_what_cannot_be_tried_is_refused(chips: Chips, message: str, runs: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        study(runs / "bptt", chips)


def test_the_verb_prints_a_table_or_json(runs: Path) -> None:
    words = ("faults", runs / "bptt", "--threshold", 0.1, "--threshold", 0.3, "--chips", 2)
    said = call(*words, "--delay", 1, "--test", 20)
    assert "spikes lost" in said.stdout
    assert "faults-threshold.svg" in said.stderr
    assert "mean ± sd over 2 chips" in said.stdout
    found = answer(*words, "--dead", 0.2, "--delay", 1)
    assert [row["strength"] for row in found["rows"]] == [0.1, 0.3, 0.2, 1]


def test_the_verb_says_what_is_wrong(runs: Path, tmp_path: Path) -> None:
    assert "no fault is given" in call("faults", runs / "bptt", code=2).stderr
    assert "is not a run folder" in call("faults", tmp_path, "--dead", 0.1, code=2).stderr
    said = call("faults", runs / "relu", "--dead", 0.1, code=2).stderr
    assert "no spiking neurons" in said
