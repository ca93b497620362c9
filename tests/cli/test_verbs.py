"""Each verb does what it says, for people and for programs."""

import json
import shutil
from pathlib import Path

import pytest

from spikeloom import __version__
from spikeloom.cli import app
from spikeloom.registry import kinds
from spikeloom.run import session
from spikeloom.run.record import LAST, RESULT
from tests.cli.conftest import TINY, answer, call


def test_run_prints_an_epoch_a_line_then_scores_and_the_report(tmp_path: Path) -> None:
    said = call("run", "digits_vgg", *TINY, "run.twin=true", "--out", tmp_path).stdout
    folder = tmp_path / "digits_vgg" / "seed0"
    assert f"run folder: {folder}" in said
    assert said.count("\nepoch 2/2  train loss ") == 2
    result = json.loads((folder / RESULT).read_text())
    assert f"test accuracy   {100 * result['test']['accuracy']:.2f} %" in said
    assert f"its ReLU twin   {100 * result['twin']['test']['accuracy']:.2f} %" in said
    for layer, rate in result["firing_rates"].items():
        assert f"{layer}" in said
        assert f"{rate:.4f}" in said
    page = folder / "report.html"
    assert f"report: {page}\n        {page.as_uri()}\n" in said
    assert page.is_file()


def test_quiet_run_prints_its_result_only(tmp_path: Path) -> None:
    said = call("run", "digits_vgg", *TINY, "--out", tmp_path, "--name", "mine", "--quiet").stdout
    assert "epoch" not in said
    assert "test accuracy" in said
    assert (tmp_path / "mine" / "seed0" / RESULT).is_file()


def test_run_as_json_prints_the_result_alone_on_stdout(tmp_path: Path) -> None:
    done = call("run", "digits_vgg", *TINY, "--out", tmp_path, "--json")
    result = json.loads(done.stdout)
    assert result == json.loads((tmp_path / "digits_vgg" / "seed0" / RESULT).read_text())
    assert "epoch 2/2" in done.stderr


def test_a_second_run_gets_a_folder_of_its_own(tmp_path: Path) -> None:
    for name in ("seed3", "seed3-2"):
        said = call("run", "digits_vgg", *TINY, "run.seed=3", "--out", tmp_path).stdout
        assert f"run folder: {tmp_path / 'digits_vgg' / name}\n" in said


def test_resume_ends_where_the_run_would_have(finished: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(finished, tmp_path / "run")
    (folder / RESULT).unlink()
    call("resume", folder, "--quiet")
    before, after = (json.loads((f / RESULT).read_text()) for f in (finished, folder))
    assert after["test"] == before["test"]
    assert after["recipe"] == before["recipe"] == "bptt/digits_vgg"


def test_eval_gives_the_score_of_the_run(finished: Path) -> None:
    result = json.loads((finished / RESULT).read_text())
    scores = answer("eval", finished)
    assert scores["accuracy"] == result["test"]["accuracy"]
    assert scores["weights"] == "last"
    said = call("eval", finished, "--weights", "best").stdout
    assert "of 32 images, best weights" in said
    assert "after step 2" in said


def test_list_names_every_kind() -> None:
    shelves = answer("list")
    assert shelves["recipes"]
    assert "lif" in shelves["neurons"]
    assert len(shelves) == len(kinds()) + 3
    said = call("list").stdout
    assert all(shelf in said for shelf in shelves)


@pytest.mark.parametrize("shelf", answer("list"))
def test_list_shows_every_entry_of_a_shelf(shelf: str) -> None:
    said = call("list", shelf).stdout
    for row in answer("list", shelf):
        assert row["name"] in said


def test_list_methods_says_paper_year_status_and_recipes() -> None:
    rows = {row["name"]: row for row in answer("list", "methods")}
    assert rows["bptt"]["year"] == 2019
    assert rows["bptt"]["status"] == "exact"
    assert "digits_vgg" in rows["bptt"]["recipes"]
    assert rows["tdbn"]["kind"] == "norm"
    assert "mnist" not in rows


def test_list_of_an_unknown_shelf_suggests_the_nearest() -> None:
    assert "unknown list 'neuron'. Did you mean 'neurons'?" in call("list", "neuron", code=2).stderr


def test_show_prints_the_resolved_recipe_and_every_layer() -> None:
    said = call("show", "digits_vgg", "model.T=2", "model.width=0.25").stdout
    assert 'val_from = "last"' in said
    assert "T = 2" in said
    assert "16 x 8 x 8" in said
    described = answer("show", "digits_vgg", "model.T=2")
    assert described["config"]["model"]["T"] == 2
    assert sum(layer["parameters"] for layer in described["layers"]) == described["parameters"]


def test_show_needs_no_files_of_known_data_sets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SPIKELOOM_DATA", raising=False)
    assert answer("show", "cifar10_vgg9")["in_shape"] == [3, 32, 32]
    folder = ("data.name=image_folder", "data.size=32", "--data-root", tmp_path)
    assert "there is no folder" in call("show", "cifar10_vgg9", *folder, code=2).stderr


def test_check_says_what_is_missing_and_ends_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPIKELOOM_DATA", raising=False)
    findings = {finding["what"]: finding for finding in answer("check")}
    assert findings["spikeloom"]["found"] == __version__
    assert findings["data: digits"]["ok"]
    assert not findings["data root"]["ok"]
    assert "SPIKELOOM_DATA" in findings["data root"]["hint"]
    said = call("check").stdout
    assert "!  data root" in said
    assert "SPIKELOOM_DATA" in said


def test_report_prints_the_path_of_the_page(finished: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(finished, tmp_path / "run")
    (folder / "report.html").unlink()
    assert call("report", folder).stdout == f"{folder / 'report.html'}\n"
    assert (folder / "report.html").is_file()


@pytest.fixture
def seeds(finished: Path, tmp_path: Path) -> list[Path]:
    """Two arms of three seeds each, by changing what one run says of itself."""
    folders = []
    for arm, gain in (("plain", 0.0), ("better", 0.1)):
        for seed in range(3):
            folder = Path(shutil.copytree(finished, tmp_path / arm / f"seed{seed}"))
            result = json.loads((folder / RESULT).read_text())
            result |= {"arm": arm, "seed": seed}
            result["test"]["accuracy"] = 0.5 + 0.01 * seed + gain
            (folder / RESULT).write_text(json.dumps(result))
            folders.append(folder)
    return folders


def test_compare_gives_spread_and_paired_difference(seeds: list[Path], tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    said = call("compare", *seeds, "--baseline", "plain", "--html", page).stdout
    assert "51.00 % ± 1.00 %" in said
    assert "+10.00 pp" in said
    assert "baseline" in said
    assert str(page) in said
    assert page.is_file()
    arms = answer("compare", *seeds, "--metric", "test.loss")["arms"]
    assert [arm["name"] for arm in arms] == ["plain", "better"]


def test_compare_leaves_out_what_is_unfinished_and_says_so(seeds: list[Path]) -> None:
    (seeds[0] / RESULT).unlink()
    done = call("compare", *seeds, "--json")
    assert f"left out {seeds[0]}" in done.stderr
    assert json.loads(done.stdout)["left_out"]


def test_cite_prints_each_paper_of_a_run_or_recipe_once(finished: Path) -> None:
    said = call("cite", finished).stdout
    assert said == call("cite", "digits_vgg").stdout
    assert said.count("@article{neftci2019surrogate,") == 1


def test_version_is_that_of_the_package() -> None:
    assert call("--version").stdout == f"spikeloom {__version__}\n"


def test_help_lists_every_verb_with_a_line() -> None:
    said = call("--help").stdout
    for command in app.registered_commands:
        assert (command.callback or call).__doc__
    for verb in (
        "run",
        "resume",
        "eval",
        "list",
        "show",
        "check",
        "report",
        "compare",
        "cite",
        "faults",
        "stream",
        "robust",
    ):
        assert f" {verb} " in said


def test_results_that_are_not_finite_are_null_in_json(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {"weights": "last", "loss": float("nan"), "accuracy": 0.1, "count": 32}
    monkeypatch.setattr(session, "score", lambda *_, **__: found)
    assert answer("eval", finished)["loss"] is None


def test_interrupted_run_says_where_it_is_and_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from spikeloom.run.progress import Shown

    def stop(self: Shown, line: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Shown, "epoch", stop)
    data = ("--data-root", tmp_path / "my data")
    said = call("run", "digits_vgg", *TINY, "--out", tmp_path, *data, code=130).stderr
    folder = tmp_path / "digits_vgg" / "seed0"
    assert f"interrupted; saved in {folder / LAST}\n" in said
    assert f"go on with: spikeloom resume {folder} --data-root '{tmp_path}/my data'\n" in said
    monkeypatch.undo()
    assert "epoch 2/2" in call("resume", folder).stdout


def test_run_interrupted_before_its_first_checkpoint_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from spikeloom.run.progress import Shown

    def stop(self: Shown, progress: object, loss: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Shown, "update", stop)
    said = call("run", "digits_vgg", *TINY, "--out", tmp_path, code=130).stderr
    assert "interrupted; nothing was saved yet" in said


def study_file(folder: Path, more: str = "") -> Path:
    study = folder / "study.toml"
    study.write_text(
        'recipe = "digits_vgg"\nseeds = [0]\nbaseline = "one"\n'
        f'[[arm]]\nname = "one"\n[[arm]]\nname = "two"\nset = ["model.T=1"]\n{more}'
    )
    return study


def test_a_sweep_prints_its_table_and_leaves_it_with_a_page(tmp_path: Path) -> None:
    study = study_file(tmp_path)
    out = tmp_path / "out"
    result = call("sweep", study, *TINY, "--out", out, "--jobs", 0)
    assert "| two | 1 |" in result.stdout
    assert (out / "record" / "table.md").read_text() in result.stdout
    assert (out / "compare.html").exists()
    assert json.loads((out / "record" / "study.json").read_text())["failed"] == {}
    kept = (out / "record" / "runs.jsonl").read_text().splitlines()
    runs = [json.loads(line) for line in kept]
    assert [run["arm"] for run in runs] == ["one", "two"]
    assert len(runs[0]["by_epoch"]["val accuracy"]) == 2
    assert "study" in result.stderr
    assert "2/2" in result.stderr
    call("sweep", "no_such_study", code=2)


def test_a_sweep_without_its_baseline_leaves_what_failed(tmp_path: Path) -> None:
    study, out = study_file(tmp_path), tmp_path / "out"
    wild = ("model.norm=none", 'phase.0.optimizer={name="sgd",lr=1e38}', "data.batch=8")
    result = call("sweep", study, *TINY, *wild, "--out", out, "--jobs", 0, code=3)
    assert "no table: the baseline 'one' has no finished run" in result.stderr
    about = json.loads((out / "record" / "study.json").read_text())
    assert "one, seed 0" in about["failed"]


def test_a_sweep_is_complete_though_a_tuning_value_diverged(tmp_path: Path) -> None:
    tune = '[tune]\nkey = "phase.0.optimizer.lr"\nvalues = [0.01, 1e30]\n'
    study, out = study_file(tmp_path, tune), tmp_path / "out"
    result = call("sweep", study, *TINY, "--out", out, "--jobs", 0)
    assert "failed: one, 1e+30, seed 0: NonFiniteLossError" in result.stderr
    assert "| two | 1 |" in result.stdout


def test_an_interrupted_sweep_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("spikeloom.run.sweep._run", stop)
    study, out = study_file(tmp_path), tmp_path / "my out"
    said = call("sweep", study, "model.T=2", "--out", out, "--jobs", 0, code=130).stderr
    assert f"go on with: spikeloom sweep {study} model.T=2 --out '{out}' --jobs 0\n" in said


def test_export_reads_its_files_back(finished, tmp_path):
    pytest.importorskip("nir")
    found = answer("export", finished, "--nir", tmp_path / "net.nir")
    assert found["nir"]["layers"]
    assert all(layer["differing"] == 0 for layer in found["nir"]["layers"])
    assert {path.name for path in tmp_path.iterdir()} == {"net.nir", "net.data.nir"}
    assert "100 %" in call("export", finished, "--nir", tmp_path / "net.nir").output


def test_export_says_what_it_lacks(finished, tmp_path):
    assert "say --nir PATH" in call("export", finished, code=2).stderr
    nowhere = tmp_path / "none" / "net.nir"
    assert "no folder" in call("export", finished, "--nir", nowhere, code=2).stderr
    assert "not a run folder" in call("export", tmp_path, "--nir", "net.nir", code=2).stderr


def test_stream_tests_a_run_event_by_event_and_finds_the_clocked_spikes(finished: Path) -> None:
    found = answer("stream", finished, "--constants", "fold", "--test", 5)
    assert found["samples"] == 5
    assert found["differing"] == 0
    assert found["accuracy"] == found["accuracy_clocked"]
    assert found["synaptic_operations"] == found["accumulates"] + found["multiply_accumulates"] > 0
    assert found["spikes"] == sum(layer["spikes"] for layer in found["layers"])
    said = call("stream", finished, "--constants", "fold", "--test", 5, "--late", 0.5).stdout
    assert "late spikes" in said
    for layer in found["layers"]:
        assert layer["layer"] in said


def test_stream_refuses_constants_and_shares_that_are_none(finished: Path) -> None:
    refused = call("stream", finished, code=2).stderr
    assert "get a constant current in every step" in refused
    assert "constants='fold'" in refused
    assert "p is a probability" in call("stream", finished, "--late", 2, code=2).stderr


def test_a_packed_file_scores_as_its_run_and_predicts_the_same(finished, tmp_path):
    path = tmp_path / "net.packed"
    found = answer("export", finished, "--packed", path)["packed"]
    assert found["bytes"] == path.stat().st_size
    assert found["agreeing"] == found["compared"] > 0
    scores = answer("eval", path, "--against", finished)
    assert scores["agreeing"] == scores["compared"] == scores["count"] == 32
    assert scores["accuracy"] == answer("eval", finished)["accuracy"]
    assert "packed file" in call("eval", path).output


def test_a_packed_file_is_not_compared_with_a_run_of_other_inputs(finished, tmp_path):
    path = tmp_path / "net.packed"
    call("export", finished, "--packed", path)
    call("run", "digits_vgg", *TINY, "model.T=1", "--out", tmp_path, "--quiet")
    other = tmp_path / "digits_vgg" / "seed0"
    said = call("eval", path, "--against", other, code=2).stderr
    assert "other inputs than the packed network: T = 1, not 2" in said


def test_eval_refuses_damaged_files_and_options_that_do_not_fit(finished, tmp_path):
    path = tmp_path / "net.packed"
    call("export", finished, "--packed", path)
    assert "leave out --weights, --packed" in call("eval", path, "--packed", code=2).stderr
    assert "is no file" in call("eval", finished, "--against", finished, code=2).stderr
    path.write_bytes(path.read_bytes()[:-1])
    assert "cut off, altered" in call("eval", path, code=2).stderr
