"""Studies: what their files may say, and that a sweep over them is paired, resumable and honest."""

import json
from pathlib import Path

import pytest

from spikeloom.run.config import ConfigError
from spikeloom.run.record import RESULT
from spikeloom.run.study import load_study, studies
from spikeloom.run.sweep import sweep

SMALL = (
    "model.width=0.05", "model.T=2", "data.batch=32", "data.train=64", "data.val=32",
    "data.test=32", "phase.0.epochs=1", "run.twin=false", "run.threads=1",
)  # fmt: skip
STUDY = """
recipe = "digits_vgg"
seeds = [0, 1]
baseline = "bn"
[tune]
key = "phase.0.optimizer.lr"
values = [1e-9, 0.1]
[[arm]]
name = "bn"
[[arm]]
name = "tdbn"
set = ["model.norm=tdbn"]
"""


def written(folder: Path, text: str = STUDY) -> str:
    path = folder / "study.toml"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("name", studies())
def test_shipped_studies_have_valid_arms(name: str) -> None:
    assert load_study(name).claim


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (('baseline = "bn"', 'baseline = "tn"'), "Did you mean"),
        (('name = "tdbn"', 'name = "BN"'), "two arms have one name"),
        (('name = "tdbn"', 'name = "../x"'), "cannot name a folder"),
        (("seeds = [0, 1]", "seeds = [1, 1]"), "a seed is given twice"),
        (("seeds = [0, 1]", "seeds = []"), "seeds"),
        (("seeds = [0, 1]", "seedz = [0]"), "seedz"),
        (("model.norm=tdbn", "model.norm=tdbm"), None),  # only found when it is built
        (("model.norm=tdbn", "modle.norm=tdbn"), "Did you mean 'model'"),
        (("values = [1e-9, 0.1]", "values = [0.1]"), "values"),
        (('recipe = "digits_vgg"', 'recipe = "digits_vg"'), "Did you mean 'digits_vgg'"),
        (("[tune]", "[tune"), "valid TOML"),
    ],
)
def test_a_wrong_study_is_refused_before_anything_runs(
    tmp_path: Path, wrong: tuple[str, str], said: str | None
) -> None:
    path = written(tmp_path, STUDY.replace(*wrong))
    if said is None:
        load_study(path)
        return
    with pytest.raises(ConfigError, match=said):
        load_study(path)


def test_tuning_needs_validation(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="chosen on validation"):
        load_study(written(tmp_path), ["data.val=0"])


def test_an_unknown_study_is_named_with_its_neighbour() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'tebn'"):
        load_study("tebm")


def test_a_sweep_tunes_on_the_baseline_and_pairs_all_arms(tmp_path: Path) -> None:
    study = load_study(written(tmp_path), SMALL)
    told: list[str] = []
    done = sweep(study, tmp_path / "out", jobs=0, tell=lambda job, _: told.append(job.title))
    tried = {1e-9: "1e-09", 0.1: "0.1"}  # of equals the first counts
    scores = {
        value: json.loads((tmp_path / "out" / "bn" / name / "seed0" / RESULT).read_text())
        for value, name in tried.items()
    }
    best = max(tried, key=lambda value: float(scores[value]["val"]["accuracy"]))
    assert done.chosen == {"bn": best, "tdbn": best}
    assert set(done.tried) == {"bn, 1e-09, seed 0", "bn, 0.1, seed 0"}
    assert not done.failed
    assert len(told) == 2 + 3  # the baseline's first seed was one of the tries
    assert [folder.relative_to(tmp_path / "out").parts[0] for folder in done.folders] == [
        "bn", "tdbn", "bn", "tdbn",
    ]  # fmt: skip
    again: list[str] = []
    repeat = sweep(study, tmp_path / "out", jobs=0, tell=lambda job, _: again.append(job.title))
    assert repeat.folders == done.folders
    assert not again
    with pytest.raises(ConfigError, match="other settings"):
        sweep(load_study(written(tmp_path), [*SMALL, "model.T=3"]), tmp_path / "out", jobs=0)


def test_an_arm_that_fails_does_not_end_the_others(tmp_path: Path) -> None:
    text = STUDY.replace("model.norm=tdbn", "phase.0.optimizer.lr=1e30").replace(
        '[tune]\nkey = "phase.0.optimizer.lr"\nvalues = [1e-9, 0.1]', ""
    )
    study = load_study(written(tmp_path, text), SMALL)
    done = sweep(study, tmp_path / "out", jobs=0)
    assert len(done.folders) == 2
    assert set(done.failed) == {"tdbn, seed 0", "tdbn, seed 1"}
    assert "NaN or infinity" in next(iter(done.failed.values()))
