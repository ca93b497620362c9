"""Reading run folders: what is there, what may be missing, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from spikeloom.report.error import RunFolderError
from spikeloom.report.folder import read_run

Write = Callable[..., Path]


def test_all_files_of_a_run_are_read(write_run: Write) -> None:
    files = read_run(write_run(epochs=3))
    assert files.config["model"]["T"] == 6
    assert files.environment["torch"] == "2.13.0"
    assert [epoch.epoch for epoch in files.epochs] == [1, 2, 3]
    assert files.epochs[1].val["accuracy"] < files.epochs[1].train["accuracy"]
    assert not files.epochs[0].val
    assert files.result is not None
    assert files.result.flat()["test.count"] == 200
    assert files.result.flat()["splits.test.count"] == 200
    assert files.notes == ()


def test_only_the_config_must_be_there(write_run: Write) -> None:
    run = write_run(finished=False, sample=False)
    for name in ("metrics.jsonl", "environment.json"):
        (run / name).unlink()
    files = read_run(run)
    assert (files.epochs, files.result, files.sample) == ((), None, None)
    assert dict(files.environment) == {}


@pytest.mark.parametrize("cut", [1, 20, 60])
def test_a_half_written_last_line_is_left_out_and_noted(write_run: Write, cut: int) -> None:
    run = write_run(epochs=3)
    log = run / "metrics.jsonl"
    log.write_bytes(log.read_bytes()[: -1 - cut])
    files = read_run(run)
    assert [epoch.epoch for epoch in files.epochs] == [1, 2]
    assert "half-written" in files.notes[0]


def test_a_line_cut_inside_a_letter_is_half_written_too(write_run: Write) -> None:
    run = write_run(epochs=1)
    with (run / "metrics.jsonl").open("ab") as log:
        log.write('{"epoch": 2, "note": "µ'.encode()[:-1])
    assert len(read_run(run).epochs) == 1


@pytest.mark.parametrize(
    "line", ['{"epoch": 2', "[1]", "7", '{"phase": 0}', '{"epoch": 1, "val": 3}']
)
def test_a_broken_line_in_the_middle_is_refused_with_its_number(
    write_run: Write, line: str
) -> None:
    run = write_run(epochs=1)
    with (run / "metrics.jsonl").open("a") as log:
        log.write(f"{line}\n")
    with pytest.raises(RunFolderError, match=r"metrics\.jsonl, line 2 is not an epoch"):
        read_run(run)


def test_a_resumed_run_counts_each_epoch_once_and_in_order(write_run: Write) -> None:
    run = write_run()
    rows = [(0, 1, 0.5), (0, 2, 0.4), (0, 3, 0.3), (1, 1, 0.2), (0, 2, 0.35)]
    lines = [json.dumps({"phase": p, "epoch": e, "train": {"loss": v}}) for p, e, v in rows]
    (run / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    losses = [epoch.train["loss"] for epoch in read_run(run).epochs]
    assert losses == [0.5, 0.35, 0.3, 0.2]


def test_nan_is_a_number_but_null_and_true_are_not(write_run: Write) -> None:
    run = write_run()
    row = '{"epoch": 1, "lr": null, "train": {"loss": NaN, "ok": true, "none": null, "n": 2}}\n'
    (run / "metrics.jsonl").write_text(row)
    (epoch,) = read_run(run).epochs
    assert list(epoch.train) == ["loss", "n"]
    assert np.isnan(epoch.train["loss"])
    assert epoch.lr is None


def test_scores_may_be_null_where_there_was_no_validation(write_run: Write) -> None:
    result = read_run(write_run(result={"val": None, "best": {"epoch": 3, "val": None}})).result
    assert result is not None
    assert result.val == {}
    assert result.best is not None
    assert result.best.val == {}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.toml", "model = ", r"config\.toml is not TOML"),
        ("config.toml", b"\xff\xfe", "cannot be read as UTF-8"),
        ("environment.json", "{", r"environment\.json is not JSON"),
        ("environment.json", "[]", "holds a list, expected an object"),
        ("result.json", '{"recipe": "a"', r"result\.json is not JSON.*remove it or run again"),
        ("result.json", '{"recipe": "a"}', r"result\.json: seed: Field required"),
        ("result.json", '{"recipe": "a", "seed": 0, "test": 0.9}', r"test: .*got 0\.9"),
        ("sample.safetensors", b"no tensors", "not a safetensors file"),
    ],
)
def test_a_corrupt_file_is_named(
    write_run: Write, name: str, content: str | bytes, message: str
) -> None:
    run = write_run()
    (run / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(RunFolderError, match=message):
        read_run(run)


def test_other_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"is not a run folder: it holds no config\.toml"):
        read_run(tmp_path)
    with pytest.raises(RunFolderError, match="is not a folder"):
        read_run(tmp_path / "nowhere")


def test_layers_come_in_the_order_of_the_network(write_run: Write) -> None:
    files = read_run(write_run())
    assert files.result is not None
    assert files.sample is not None
    assert list(files.sample.spikes) == list(files.result.firing_rates)
    assert files.sample.threshold["classifier.neuron"] == 1.0


def test_without_an_order_layer_2_comes_before_layer_10(write_run: Write) -> None:
    sample = read_run(write_run(finished=False)).sample
    assert sample is not None
    names = ["classifier.neuron", "features.0.neuron", "features.2.neuron", "features.10.neuron"]
    assert list(sample.spikes) == names


@pytest.mark.parametrize(
    ("name", "shape"), [("input", (8, 8)), ("spikes/a", (4,)), ("potential/a", (0, 3))]
)
def test_a_tensor_of_the_wrong_shape_is_named(
    write_run: Write, name: str, shape: tuple[int, ...]
) -> None:
    run = write_run()
    save_file({name: np.zeros(shape, np.float32)}, run / "sample.safetensors")
    with pytest.raises(RunFolderError, match=f"{name} has the shape"):
        read_run(run)
