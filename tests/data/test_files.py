from pathlib import Path

import pytest

from spikeloom.data import cifar10, data_root, mnist


def test_the_argument_goes_before_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("SPIKELOOM_DATA", "/nowhere")
    assert data_root(tmp_path) == tmp_path


def test_the_environment_serves_when_no_argument_is_given(tmp_path, monkeypatch):
    monkeypatch.setenv("SPIKELOOM_DATA", str(tmp_path))
    assert data_root(None) == tmp_path


def test_a_root_given_nowhere_names_both_ways(monkeypatch):
    monkeypatch.delenv("SPIKELOOM_DATA", raising=False)
    with pytest.raises(ValueError, match=r"root = .*SPIKELOOM_DATA="):
        data_root(None)


def test_a_root_that_is_no_folder_is_refused(tmp_path):
    with pytest.raises(NotADirectoryError, match="absent is not a folder"):
        data_root(tmp_path / "absent")


def test_missing_files_are_listed_with_the_folders_looked_in(tmp_path, write_idx):
    write_idx(tmp_path / "mnist")
    (tmp_path / "mnist" / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(FileNotFoundError) as caught:
        mnist(tmp_path)
    told = str(caught.value)
    assert "mnist/: missing t10k-labels-idx1-ubyte\n" in told
    assert "MNIST/raw/: missing train-images-idx3-ubyte, train-labels" in told
    assert "download = true" in told
    assert str(tmp_path) in told


def test_both_layouts_are_listed_when_both_are_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"(?s)batches-bin/.*batches-py/: missing data_ba"):
        cifar10(tmp_path)


def test_a_whole_folder_is_found_beside_one_that_is_not(tmp_path, write_idx):
    write_idx(tmp_path / "mnist")
    (tmp_path / "mnist" / "t10k-labels-idx1-ubyte.gz").unlink()
    write_idx(tmp_path / "MNIST" / "raw", zipped=False)
    assert len(mnist(Path(tmp_path)).train) == 12
