"""Networks of other libraries: read under a named convention, tried on recorded data, made runs."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from spikeloom.deploy import Graph, Unsupported, from_nir, to_nir
from spikeloom.layers import LIF, Linear, OverTime
from spikeloom.run import session
from spikeloom.run.config import ConfigError, load
from spikeloom.run.energy import account
from spikeloom.run.export import export
from spikeloom.run.imported import import_nir
from spikeloom.run.packed import score_packed
from tests.cli.conftest import answer, call

pytest.importorskip("nir")
DIGITS = ["data.name=digits", "model.T=5", "data.test=50"]


def net(classes: int = 10) -> nn.Sequential:
    torch.manual_seed(0)
    first, last = Linear(64, 20), Linear(20, classes)
    neurons = [LIF(tau=3.0, v_threshold=0.2, strict=True) for _ in range(2)]
    return nn.Sequential(OverTime(first), neurons[0], OverTime(last), neurons[1])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file whose neurons say nothing beyond NIR, with recorded data beside it."""
    import nir

    path = tmp_path / "theirs.nir"
    to_nir(net(), path, 2 * torch.rand(6, 4, 64), dt=1e-3)
    graph = nir.read(str(path))
    graph.metadata = {}
    for node in graph.nodes.values():
        node.metadata = {}
    nir.write(str(path), graph)
    return path


def test_what_was_read_is_told_and_recorded_spikes_come_again(file: Path) -> None:
    found = import_nir(file, convention="norse")
    assert [node["name"] for node in found["nodes"]] == ["0", "1.drive", "1", "2", "3.drive", "3"]
    assert found["nodes"][2]["layer"].startswith("LIF(keeps 0.666667, fires > 0.2, reset hard")
    assert found["nodes"][0]["parameters"] == 65 * 20
    assert [layer["differing"] for layer in found["recorded"]] == [0, 0]
    assert "folder" not in found


def test_without_a_convention_the_choices_are_named(file: Path) -> None:
    with pytest.raises(Unsupported, match=r"libraries differ(.|\n)*norse(.|\n)*spikingjelly"):
        import_nir(file)
    with pytest.raises(Unsupported, match="id you mean 'norse'"):
        import_nir(file, convention="nors")


def test_an_imported_network_is_a_finished_run(file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    import_nir(file, convention="norse", out=folder, overrides=DIGITS)
    scores = session.score(folder)
    assert scores["count"] == 50
    file.unlink()
    assert session.score(folder) == scores, "the folder needs no other file"
    found = export(folder, nir=tmp_path / "ours.nir")
    assert all(layer["differing"] == 0 for layer in found["nir"]["layers"])
    x_seq = 2 * torch.rand(5, 3, 1, 8, 8)
    ours = from_nir(tmp_path / "ours.nir")  # with metadata, and images as its input
    assert torch.equal(ours(x_seq), net()(x_seq.flatten(2)))


def test_a_packed_file_does_not_say_where_the_network_lay(tmp_path: Path) -> None:
    file, folder, packed = (tmp_path / name for name in ("ours.nir", "run", "net.packed"))
    to_nir(net(), file, 2 * torch.rand(6, 4, 64))
    import_nir(file, out=folder, overrides=DIGITS)
    export(folder, packed=packed)
    assert str(tmp_path).encode() not in packed.read_bytes()
    assert score_packed(packed)["accuracy"] == session.score(folder)["accuracy"]


@pytest.mark.parametrize("convention", ["norse", "sinabs"])
def test_an_imported_network_is_accounted_for_without_a_twin(
    convention: str, file: Path, tmp_path: Path
) -> None:
    import_nir(file, convention=convention, out=tmp_path / "run", overrides=DIGITS)
    found = account(tmp_path / "run", samples=2)
    assert {network["network"] for network in found["networks"]} == {"spiking"}
    assert "no ReLU twin: the model 'nir' has neurons of its own" in found["notes"][0]
    config = load(tmp_path / "run" / "config.toml", ["run.twin=true"])
    with pytest.raises(ConfigError, match=r"'nir' has neurons of its own.* set run.twin=false"):
        session.train(config, tmp_path / "again")


@pytest.mark.parametrize("change", ["model.neuron.v_threshold=2.0", "model.norm=none"])
def test_neurons_of_its_own_cannot_be_set(change: str, file: Path, tmp_path: Path) -> None:
    import_nir(file, convention="norse", out=tmp_path / "run", overrides=DIGITS)
    config = load(tmp_path / "run" / "config.toml", [change])
    with pytest.raises(ConfigError, match=r"the model 'nir' takes no (neuron|norm).*leave it out"):
        session.train(config, tmp_path / "again")


def test_an_imported_network_learns_on(file: Path, tmp_path: Path) -> None:
    import_nir(file, convention="norse", out=tmp_path / "run", overrides=DIGITS)
    config = load(tmp_path / "run" / "config.toml", ["data.val=50", "data.train=100"])
    result = session.train(config, tmp_path / "again")
    assert result["test"]["count"] == 50


@pytest.mark.parametrize(
    ("overrides", "how", "words"),
    [
        (["model.T=5"], {}, "needs data.name"),
        (["data.name=digits"], {}, "needs model.T"),
        ([*DIGITS, "model.file=elsewhere.nir"], {}, "no file elsewhere.nir"),
        (DIGITS, {"classes": 7}, r"puts out \(7,\), the data have 10 classes"),
        (DIGITS, {"shape": (65,)}, r"takes samples of shape \(65,\)"),
    ],
)
def test_a_run_that_does_not_fit_the_network_is_refused(
    overrides: list[str], how: dict[str, Any], words: str, tmp_path: Path
) -> None:
    path, shape = tmp_path / "net.nir", how.get("shape", (64,))
    chain = nn.Sequential(OverTime(Linear(shape[0], how.get("classes", 10))), LIF())
    to_nir(chain, path, torch.rand(2, 2, *shape))
    with pytest.raises(ConfigError, match=words):
        import_nir(path, out=tmp_path / "run", overrides=overrides)
    assert not (tmp_path / "run").exists()


def test_folders_that_hold_a_run_are_left_alone(file: Path, tmp_path: Path) -> None:
    import_nir(file, convention="norse", out=tmp_path / "run", overrides=DIGITS)
    with pytest.raises(ConfigError, match="already holds a run"):
        import_nir(file, convention="norse", out=tmp_path / "run", overrides=DIGITS)
    with pytest.raises(ConfigError, match="say --out"):
        import_nir(file, convention="norse", overrides=DIGITS)


def test_cycles_are_told_as_edges_that_are_a_step_late(tmp_path: Path) -> None:
    layers = {"in": OverTime(Linear(3, 2)), "fire": LIF(), "back": OverTime(Linear(2, 2))}
    edges = [("input", "in"), ("in", "fire"), ("fire", "back"), ("back", "fire")]
    graph = Graph(layers, [*edges, ("fire", "output")], in_shape=(3,))
    to_nir(graph, tmp_path / "net.nir", 2 * torch.rand(6, 2, 3))
    found = import_nir(tmp_path / "net.nir")
    assert found["delayed"] == [["back", "fire"]]
    assert found["recorded"][0]["differing"] == 0
    assert "back (a step late)" in call("import", tmp_path / "net.nir").stdout


def test_the_verb_reads_tries_and_makes_a_run(file: Path, tmp_path: Path) -> None:
    said = call("import", file, "--as", "norse")
    assert "100.00% equal" in said.stdout
    found = answer("import", file, "--as", "norse", "--out", tmp_path / "run", *DIGITS)
    assert found["convention"] == "norse"
    assert json.dumps(found)
    assert "of 50 images" in call("eval", tmp_path / "run").stdout
    assert "libraries differ" in call("import", file, code=2).stderr
    assert "no file" in call("import", tmp_path / "absent.nir", code=2).stderr
