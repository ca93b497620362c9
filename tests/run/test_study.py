"""Studies: what their files may say, and that a sweep over them is paired, resumable and honest."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from spikeloom.report.summary import summary
from spikeloom.run.config import ConfigError
from spikeloom.run.record import RESULT
from spikeloom.run.study import load_study, studies, value_name
from spikeloom.run.sweep import Job, sweep

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
        (("model.norm=tdbn", "modle.norm=tdbn"), "Did you mean 'model'"),
        (("values = [1e-9, 0.1]", "values = [0.1]"), "values"),
        (('recipe = "digits_vgg"', 'recipe = "digits_vg"'), "Did you mean 'digits_vgg'"),
        (("[tune]", "[tune"), "valid TOML"),
        (('name = "tdbn"', 'name = "Record"'), "the sweep writes there"),
        (('name = "tdbn"', 'name = "compare.html"'), "the sweep writes there"),
        (("seeds = [0, 1]", "seeds = [0, -1]"), "run.seed = -1"),
        (("[1e-9, 0.1]", '["../../x", 0.1]'), "cannot name a folder"),
        (("[1e-9, 0.1]", "[1e-2, 0.01]"), "a value is given twice"),
        (("[1e-9, 0.1]", "[{lr = 1}, 0.1]"), "expected numbers, words, true or false"),
    ],
)
def test_a_wrong_study_is_refused_when_it_is_read(
    tmp_path: Path, wrong: tuple[str, str], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        load_study(written(tmp_path, STUDY.replace(*wrong)))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (("seeds = [0, 1]", "seed = [0]"), "top level: unknown key 'seed'. Did you mean 'seeds'?"),
        (("set = [", "sett = ["), "arm.1: unknown key 'sett'. Did you mean 'set'?"),
        (("[tune]", "[tune]\narm = 1"), "tune: unknown key 'arm'. Did you mean 'arms'?"),
        (("seeds = [0, 1]", "seeds = 3"), "seeds = 3: expected a list, as [3]"),
        (("seeds = [0, 1]", 'set = "model.T=2"'), 'expected a list, as ["model.T=2"]'),
    ],
)
def test_what_is_wrong_is_said_with_the_keys_of_a_study(
    tmp_path: Path, wrong: tuple[str, str], said: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        load_study(written(tmp_path, STUDY.replace(*wrong)), ["run.threads=1"])
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("run.seed", "run.seed=7"),
        ("run.seed", "run={seed=7}"),
        ("run.arm", "run.arm=mine"),
        ("phase.0.optimizer.lr", "phase.0.optimizer.lr=0.5"),
        ("phase.0.optimizer.lr", "phase.-1.optimizer.lr=0.5"),
        ("phase.0.optimizer.lr", "phase.0.optimizer={name='adam', lr=0.5}"),
    ],
)
def test_what_the_study_decides_cannot_be_set(tmp_path: Path, key: str, change: str) -> None:
    with pytest.raises(ConfigError, match=rf"{key} (is set for|of) arm 'bn'"):
        load_study(written(tmp_path), [change])
    with pytest.raises(ConfigError, match=rf"{key} (is set for|of) arm 'tdbn'"):
        load_study(written(tmp_path, STUDY.replace("model.norm=tdbn", change)))


def test_the_tuned_setting_of_another_table_may_be_given(tmp_path: Path) -> None:
    change = "phase.0.optimizer={name='adam', betas=[0.9, 0.99]}"
    study = load_study(written(tmp_path, STUDY.replace("model.norm=tdbn", change)))
    arguments = study.config(study.find("tdbn"), 0, 0.1).phase[0].optimizer.arguments
    assert arguments == {"betas": [0.9, 0.99], "lr": 0.1}


def test_the_seed_cannot_be_tuned(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"run.seed of arm 'bn' cannot be set or tuned"):
        load_study(
            written(
                tmp_path,
                STUDY.replace("phase.0.optimizer.lr", "run.seed").replace("[1e-9, 0.1]", "[1, 2]"),
            )
        )


def test_values_are_written_as_toml(tmp_path: Path) -> None:
    text = STUDY.replace("phase.0.optimizer.lr", "run.twin").replace("[1e-9, 0.1]", "[false, true]")
    study = load_study(written(tmp_path, text))
    assert study.config(study.find("bn"), 0, True).run.twin is True
    assert [value_name(value) for value in (True, 1e-9, 0.1, "tdbn")] == [
        "true", "1e-09", "0.1", "tdbn",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (("model.norm=tdbn", "model.norm=tdbm"), "tdbn, 1e-09, seed .: .*Did you mean 'tdbn'"),
        (("model.norm=tdbn", "phase.0.callback=['nope']"), "unknown callback 'nope'"),
        (("[1e-9, 0.1]", '[1e-9, "abc"]'), "bn, abc, seed .: .*lr = 'abc'"),
        (("optimizer.lr", "optimizer.lrr"), "unknown argument 'lrr'"),
        (("model.norm=tdbn", "model.width=-1.0"), "tdbn"),
    ],
)
def test_an_arm_that_cannot_be_built_is_refused_before_any_run(
    tmp_path: Path, wrong: tuple[str, str], said: str
) -> None:
    study = load_study(written(tmp_path, STUDY.replace(*wrong)), SMALL)
    with pytest.raises(ConfigError, match=said):
        sweep(study, tmp_path / "out", jobs=0)
    assert not (tmp_path / "out").exists()


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
    assert study.runs == len(told)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    repeat = sweep(study, tmp_path / "out", jobs=0)
    assert repeat == done
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == before
    older = repeat.folders[0] / "config.toml"
    older.write_text(older.read_text().replace("passes = 1\n", ""))  # made before there was such
    assert summary(sweep(study, tmp_path / "out", jobs=0).folders, "bn").count("\n") == 4
    with pytest.raises(ConfigError, match="other settings"):
        sweep(load_study(written(tmp_path), [*SMALL, "model.T=3"]), tmp_path / "out", jobs=0)


def pretend(monkeypatch: pytest.MonkeyPatch, wrong: Callable[[Job], bool]) -> list[str]:
    """Runs take no time, and those that are ``wrong`` fail; returns the titles of what was run."""
    ran: list[str] = []

    def run(job: Job, **_: object) -> None:
        ran.append(job.title)
        if wrong(job):
            raise ArithmeticError("it went wrong")
        job.folder.mkdir(parents=True)
        (job.folder / RESULT).write_text(json.dumps({"val": {"accuracy": 0.5}}))

    monkeypatch.setattr("spikeloom.run.sweep._run", run)
    return ran


def test_an_arm_that_cannot_be_tuned_does_not_end_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, lambda job: job.arm == "tdbn")
    study = load_study(written(tmp_path, STUDY.replace("[tune]", '[tune]\narms = "each"')))
    done = sweep(study, tmp_path / "out", jobs=0)
    assert [job.title for job in done.runs] == ["bn, 1e-09, seed 0", "bn, 1e-09, seed 1"]
    assert done.chosen == {"bn": 1e-9}
    assert set(done.failed) == {"tdbn", "tdbn, 1e-09, seed 0", "tdbn, 0.1, seed 0"}
    assert "failed with every value" in done.failed["tdbn"]


def test_a_baseline_that_cannot_be_tuned_leaves_nothing_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = pretend(monkeypatch, lambda job: job.arm == "bn")
    done = sweep(load_study(written(tmp_path)), tmp_path / "out", jobs=0)
    assert (done.runs, done.chosen) == ((), {})
    assert ran == ["bn, 1e-09, seed 0", "bn, 0.1, seed 0"]
    assert {"bn", "tdbn"} < set(done.failed)


def test_an_interrupt_ends_a_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(job: Job) -> bool:
        if job.value == 0.1:
            raise KeyboardInterrupt
        return False

    ran = pretend(monkeypatch, interrupted)
    study = load_study(written(tmp_path))
    with pytest.raises(KeyboardInterrupt):
        sweep(study, tmp_path / "out", jobs=0)
    assert ran == ["bn, 1e-09, seed 0", "bn, 0.1, seed 0"]
    monkeypatch.undo()
    ran = pretend(monkeypatch, lambda job: False)
    assert len(sweep(study, tmp_path / "out", jobs=0).runs) == 4
    assert ran == ["bn, 0.1, seed 0", "tdbn, 1e-09, seed 0", "bn, 1e-09, seed 1",
                   "tdbn, 1e-09, seed 1"]  # fmt: skip


def test_a_run_that_diverges_does_not_end_the_others_and_is_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = STUDY.replace("model.norm=tdbn", "phase.0.optimizer.lr=1e30").replace(
        '[tune]\nkey = "phase.0.optimizer.lr"\nvalues = [1e-9, 0.1]', ""
    )
    study = load_study(written(tmp_path, text), SMALL)
    done = sweep(study, tmp_path / "out", jobs=0)
    assert len(done.folders) == 2
    assert set(done.failed) == {"tdbn, seed 0", "tdbn, seed 1"}
    assert "NaN or infinity" in done.failed["tdbn, seed 0"]
    ran = pretend(monkeypatch, lambda job: False)
    again = sweep(study, tmp_path / "out", jobs=0)
    assert not ran
    assert again.folders == done.folders
    there = tmp_path / "out" / "tdbn" / "seed0"
    assert "NaN or infinity" in again.failed["tdbn, seed 0"]
    assert again.failed["tdbn, seed 0"].endswith(f"; remove {there} to try it again")
