"""The account of a run, its verb, its page and its columns."""

import json
import shutil
from pathlib import Path

import pytest

from spikeloom.deploy.energy.constants import DEFAULT
from spikeloom.report.energy import ENERGY
from spikeloom.run import session
from spikeloom.run.config import ConfigError
from spikeloom.run.energy import account
from tests.cli.conftest import answer, call
from tests.run.recipe import tiny


@pytest.fixture(scope="module")
def twinned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with its twin and its account, which has been asked for by the verb."""
    folder = tmp_path_factory.mktemp("energy") / "run"
    session.train(tiny(run__twin=True, run__arm="mine", phase__0__epochs=1), folder)
    said = call("eval", folder, "--energy", "--samples", 20).stdout
    assert "spiking, float32, event-driven: for one sample, mean of 20 test samples" in said
    assert "ReLU twin, int8, clocked" in said
    return folder


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run without a twin."""
    folder = tmp_path_factory.mktemp("energy") / "run"
    session.train(tiny(phase__0__epochs=1), folder)
    return folder


def test_the_account_has_every_network_beside_its_accuracy(twinned: Path) -> None:
    found = json.loads((twinned / ENERGY).read_text())
    assert [(n["network"], n["precision"], n["machine"]) for n in found["networks"]] == [
        ("spiking", "float32", "event-driven"),
        ("spiking", "float32", "clocked"),
        ("spiking", "int8", "event-driven"),
        ("spiking", "int8", "clocked"),
        ("twin", "float32", "clocked"),
        ("twin", "int8", "clocked"),
    ]
    result = json.loads((twinned / "result.json").read_text())
    assert found["networks"][0]["accuracy"] == result["test"]["accuracy"]
    assert found["networks"][4]["accuracy"] == result["twin"]["test"]["accuracy"]
    assert found["samples"] == 20
    assert found["notes"] == []
    for row in found["networks"]:
        assert row["total"] == pytest.approx(row["compute"] + row["memory"])
        assert row["total"] == pytest.approx(sum(layer["total"] for layer in row["layers"]))
        assert row["memory"] > 0
    assert len(found["equal_accuracy"]) == 4
    for pair in found["equal_accuracy"]:
        assert pair["equal"] == (abs(pair["difference"]) <= pair["standard_error"])
    assert set(found["neurobench"]) == {
        "footprint", "parameter_count", "connection_sparsity", "classification_accuracy",
        "activation_sparsity", "synaptic_operations", "membrane_updates",
    }  # fmt: skip


def test_spikes_agree_with_the_firing_rates_of_the_run(alone: Path) -> None:
    result = json.loads((alone / "result.json").read_text())
    found = account(alone)
    assert found["samples"] == result["firing_rate_images"]
    for layer in found["counts"]["spiking"]:
        if layer["role"] == "neurons":
            rate = layer["spikes"] / layer["updates"]
            assert rate == pytest.approx(result["firing_rates"][layer["name"]])


def test_without_a_twin_its_accuracy_is_unknown_and_its_size_is_not(alone: Path) -> None:
    found = account(alone, samples=4)
    twin = found["networks"][-1]
    assert (twin["network"], twin["accuracy"]) == ("twin", None)
    assert twin["dense"] > 0
    assert "macs" not in twin
    assert found["equal_accuracy"] == []
    assert "its accuracy is unknown" in found["notes"][0]


def test_other_constants_change_prices_and_no_counts(twinned: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text(DEFAULT.read_text().replace("add = 0.9 ", "add = 0.0 "))
    folder = shutil.copytree(twinned, tmp_path / "run")
    before = json.loads((folder / ENERGY).read_text())
    after = account(folder, samples=20, constants=mine)
    assert after["counts"] == before["counts"]
    assert after["networks"][0]["compute"] < before["networks"][0]["compute"]
    assert after["networks"][0]["memory"] == before["networks"][0]["memory"]


def test_a_run_of_a_relu_network_is_accounted_for_as_such(twinned: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(twinned / "twin", tmp_path / "twin")
    found = account(folder, samples=4)
    assert {row["network"] for row in found["networks"]} == {"twin"}
    assert "without spiking neurons" in found["notes"][0]
    assert "ReLU twin, int8" in call("eval", folder, "--energy", "--samples", 4).stdout


def test_the_report_and_the_comparison_show_it(twinned: Path, alone: Path, tmp_path: Path) -> None:
    page = Path(call("report", twinned).stdout.strip()).read_text()
    assert '<h2 id="energy">Energy</h2>' in page
    assert "Estimates of a stated model" in page
    other = shutil.copytree(twinned, tmp_path / "other")
    metric = "energy.spiking.float32.event-driven.total"
    found = answer("compare", twinned, other, "--metric", metric)
    total = json.loads((twinned / ENERGY).read_text())["networks"][0]["total"]
    assert found["arms"][0]["mean"] == pytest.approx(total)
    assert found["arms"][0]["energy"]["spiking µJ"] == pytest.approx(total)
    html = tmp_path / "page.html"
    said = call("compare", twinned, "--html", html).stdout
    assert "twin int8 µJ" in said
    assert "twin int8 µJ" in html.read_text()


def test_arms_that_were_priced_otherwise_are_not_set_side_by_side(
    twinned: Path, tmp_path: Path
) -> None:
    other = shutil.copytree(twinned, tmp_path / "other")
    found = json.loads((other / ENERGY).read_text())
    found["constants"]["memory"]["dram"] = 1.0
    (other / ENERGY).write_text(json.dumps(found))
    result = json.loads((other / "result.json").read_text())
    (other / "result.json").write_text(json.dumps(result | {"seed": 1}))
    assert "µJ" not in call("compare", twinned, other).stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--samples", 4), "--samples is about energy; add --energy"),
        (("--constants", "none.toml"), "--constants is about energy; add --energy"),
        (("--energy", "--constants", "none.toml"), "none.toml cannot be read: No such file"),
        (("--energy", "--packed"), "--packed has none"),
    ],
)
def test_bad_input_ends_with_a_sentence(words: tuple[object, ...], said: str, alone: Path) -> None:
    assert said in call("eval", alone, *words, code=2).stderr.replace("\n", " ")


def test_no_samples_and_damaged_accounts_are_refused(alone: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least one sample"):
        account(alone, samples=0)
    folder = shutil.copytree(alone, tmp_path / "run")
    (folder / ENERGY).write_text('{"samples": "many"}')
    assert "energy.json" in call("report", folder, code=2).stderr
