"""What is binned once is read from disk, whole or not at all, and only if nothing has changed."""

import json
import multiprocessing
import os
import shutil

import numpy as np
import pytest
import torch

from spikeloom.data import Order, TensorImages, batches, cached, nmnist, recorded_source
from spikeloom.data import cache as module
from spikeloom.data.events import Bins, Events, Recordings
from spikeloom.data.source import Source

READ: list[int] = []


def read(number: int) -> Events:
    READ.append(number)
    return Events(np.arange(number + 1), (np.arange(number + 1) % 3, np.zeros(number + 1, int)))


def source(value="count", digest="files", T=4):
    part = Recordings(range(6), torch.arange(6), read, Bins(T, (3, 1), value=value), digest)
    return recorded_source("made", part, part, tuple("abcdef"), {})


@pytest.mark.parametrize("value", ["count", "voxel"])
def test_what_is_kept_is_what_was_binned(value, tmp_path):
    plain = source(value).train.__getitems__([0, 5, 3])
    READ.clear()
    for _ in range(2):
        x, y = cached(source(value), str(tmp_path)).train.__getitems__([0, 5, 3])
        assert torch.equal(x, plain[0])
        assert x.dtype == plain[0].dtype
        assert y.tolist() == [0, 5, 3]
    assert READ == [0, 5, 3]


def test_other_files_or_bins_have_another_folder(tmp_path):
    for changes in ({}, {"digest": "newer"}, {"value": "binary"}, {"T": 5}):
        cached(source(**changes), str(tmp_path)).train.__getitems__([1])
    folders = sorted(tmp_path.iterdir())
    assert len(folders) == 4
    about = [json.loads((folder / "about.json").read_text()) for folder in folders]
    assert {each["bytes uncompressed"] for each in about} == {6 * 4 * 3, 6 * 5 * 3}
    assert {folder.name[:5] for folder in folders} == {"made-"}


def test_files_hold_arrays_and_no_drafts_are_left(tmp_path):
    cached(source(), str(tmp_path)).train.__getitems__([0, 1, 2])
    (folder,) = tmp_path.iterdir()
    names = {path.name for path in folder.iterdir()}
    assert names == {"0.npz", "1.npz", "2.npz", "about.json"}
    with np.load(folder / "2.npz", allow_pickle=False) as file:
        assert file["steps"].shape == (4, 3, 1)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04cut off"])
def test_what_cannot_be_read_is_made_anew(content, tmp_path):
    kept = cached(source(), str(tmp_path)).train
    steps = kept.steps(2)
    (path,) = tmp_path.glob("*/2.npz")
    whole = path.read_bytes()
    for damaged in (content, whole[:-30], whole[:60] + b"?" + whole[61:]):
        path.write_bytes(damaged)
        assert torch.equal(kept.steps(2), steps)
        with np.load(path) as file:
            assert torch.equal(torch.from_numpy(file["steps"]), steps)


def test_nothing_is_written_on_a_full_disk(tmp_path, monkeypatch):
    kept = cached(source(), str(tmp_path)).train
    monkeypatch.setattr(module, "SPARE", 2**62)
    assert kept.steps(1).sum() == 2
    monkeypatch.setattr(module, "SPARE", 0)
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("no space")))
    assert kept.steps(1).sum() == 2
    assert [path.name for path in tmp_path.glob("*/*")] == ["about.json"]


def test_a_folder_that_is_removed_meanwhile_is_no_reason_to_stop(tmp_path):
    kept = cached(source(), str(tmp_path)).train
    shutil.rmtree(kept.folder)
    assert kept.steps(1).sum() == 2


def test_workers_share_a_folder(tmp_path):
    part = cached(source(), str(tmp_path)).train
    order = Order(torch.arange(6), 2, seed=0, epoch=0, shuffle=False)
    x = torch.cat([x for x, _ in batches(part, order, workers=2)])
    assert torch.equal(x, source().train.__getitems__([*range(6)])[0])
    assert len([*tmp_path.glob("*/*.npz")]) == 6


def fill(folder: str) -> float:
    part = cached(source(), folder).train
    return sum(float(part.steps(at).sum()) for _ in range(5) for at in range(6))


def test_processes_share_a_folder(tmp_path):
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert pool.map(fill, [str(tmp_path)] * 4) == [105.0] * 4
    assert len([*tmp_path.glob("*/*")]) == 7


def test_a_recording_that_changed_is_not_taken_for_the_old_one(write_nmnist, tmp_path):
    write_nmnist(tmp_path / "nmnist")
    old = cached(nmnist(tmp_path, T=2, partial=True), str(tmp_path / "kept")).train
    first = old.steps(0)
    raw = old.places[0].read_bytes()
    old.places[0].write_bytes(raw[:-5] + raw[:5])
    os.utime(old.places[0], ns=(1, 1))
    new = cached(nmnist(tmp_path, T=2, partial=True), str(tmp_path / "kept")).train
    assert new.folder != old.folder
    assert int(new.steps(0).sum()) == int(first.sum()) == 40


def test_true_takes_the_users_cache_and_false_none(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cached(plain := source(), False) is plain
    assert cached(source(), True).train.folder.parent == tmp_path / "spikeloom" / "binned"


def test_what_is_not_binned_or_has_no_digest_is_refused(tmp_path):
    images = TensorImages(torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.arange(2))
    flat = Source("flat", images, images, (1, 4, 4), ("a", "b"))
    for refused in (flat, source(digest="")):
        with pytest.raises(ValueError, match=r"nothing to keep; leave data\.cache out"):
            cached(refused, str(tmp_path))
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="cannot be written"):
        cached(source(), str(tmp_path / "file"))
