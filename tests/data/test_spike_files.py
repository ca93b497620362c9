"""SHD, SSC and their like: what a file holds, which units come where, what is refused."""

import sys

import h5py
import numpy as np
import pytest
import torch

from spikeloom.data import fsdd_spikes, shd, split, ssc
from spikeloom.data.spike_files import Row, read_row
from tests.data.event_files import KEYS, write_spikes

RECORDINGS = [
    ([0.0, 0.1, 0.1, 1.2], [0, 699, 699, 5]),
    ([0.5], [350]),
    ([0.999, 0.25], [1, 2]),
]


@pytest.fixture
def folder(tmp_path):
    for part in ("train", "valid", "test"):
        for name in ("shd", "ssc", "fsdd_spikes"):
            if name == "ssc" or part != "valid":
                write_spikes(tmp_path / name / f"{name}_{part}.h5", RECORDINGS, [2, 0, 1])
    return tmp_path


def test_a_second_of_spikes_becomes_steps(folder):
    source = shd(folder, T=250, partial=True)
    assert (len(source.train), len(source.test), source.shape) == (3, 3, (700, 1, 1))
    assert source.class_names == KEYS
    x, y = source.train.__getitems__([0, 2])
    assert (x.shape, x.dtype, y.tolist()) == ((2, 250, 700, 1, 1), torch.uint8, [2, 1])
    # 0.1 s is stored as 0.099976; the spike at 1.2 s is after the end, two in a bin are one
    assert x[0].nonzero()[:, :2].tolist() == [[0, 0], [24, 699]]
    assert x[1].nonzero()[:, :2].tolist() == [[62, 2], [249, 1]]
    assert int(shd(folder, T=250, value="count", partial=True).train.steps(0).max()) == 2
    assert len(source.files["shd_train.h5"]) == 64


def test_flipped_units_are_at_700_less_their_number_and_unit_0_is_left_out(folder):
    place = Row(folder / "shd" / "shd_train.h5", 0)
    events = read_row(place, units="flipped")
    assert events.place[0].tolist() == [1, 1, 695]
    x = shd(folder, T=10, units="flipped", partial=True).train.steps(2)
    assert x.nonzero()[:, :2].tolist() == [[2, 698], [9, 699]]


def test_the_official_validation_part_ends_the_training_samples(folder):
    write_spikes(folder / "ssc" / "ssc_valid.h5", RECORDINGS[:2], [1, 1])
    source = ssc(folder, T=4, partial=True)
    parts = split(source, val=2)
    assert (len(source.train), parts.val.tolist()) == (5, [3, 4])
    assert source.train.labels.tolist() == [2, 0, 1, 1, 1]
    assert source.train.places[3].path.name == "ssc_valid.h5"


def test_what_is_official_is_counted_and_what_is_not_is_not(folder):
    with pytest.raises(ValueError, match=r"holds 3 recordings, the official set 8,156.*partial"):
        shd(folder, T=4)
    assert len(fsdd_spikes(folder, T=4).train) == 3


def test_missing_and_packed_files_say_what_to_do(folder):
    path = folder / "shd" / "shd_test.h5"
    path.rename(path.with_name("shd_test.h5.gz"))
    with pytest.raises(ValueError, match=r"shd_test.h5.gz is packed.*gunzip shd_test.h5.gz"):
        shd(folder, T=4, partial=True)
    path.with_name("shd_test.h5.gz").unlink()
    with pytest.raises(FileNotFoundError, match=r"(?s)missing shd_test.h5\n.*download = true"):
        shd(folder, T=4)
    (folder / "fsdd_spikes" / "fsdd_spikes_test.h5").unlink()
    with pytest.raises(FileNotFoundError, match=r"give another root\.$"):
        fsdd_spikes(folder, T=4)


def test_a_file_that_is_cut_off_is_named(folder):
    path = folder / "shd" / "shd_train.h5"
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(ValueError, match=r"shd_train.h5 is not such a file .* unpack it anew"):
        shd(folder, T=4, partial=True)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda file: file.__delitem__("labels"), "not such a file of spikes"),
        (lambda file: file["labels"].write_direct(np.uint16([9, 0, 1])), "labels 0 to 9 and names"),
    ],
)
def test_damaged_contents_are_named(change, words, folder):
    with h5py.File(folder / "shd" / "shd_train.h5", "r+") as file:
        change(file)
    with pytest.raises(ValueError, match=words):
        shd(folder, T=4, partial=True)


def test_labels_for_other_recordings_are_refused(folder):
    with h5py.File(folder / "shd" / "shd_train.h5", "r+") as file:
        del file["labels"]
        file["labels"] = np.uint16([0, 1])
    with pytest.raises(ValueError, match="2 labels for 3 recordings"):
        shd(folder, T=4, partial=True)


def test_a_unit_that_there_is_not_is_named_with_its_recording(folder):
    write_spikes(folder / "shd" / "shd_train.h5", [([0.1], [700])], [0])
    source = shd(folder, T=4, partial=True)
    with pytest.raises(ValueError, match=r"shd_train.h5, recording 0: events at 700"):
        source.train.__getitems__([0])


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"units": "upside"}, "'stored' or 'flipped'"), ({"duration": 0.0}, "duration must be > 0")],
)
def test_arguments_out_of_range_are_refused(changes, words, folder):
    with pytest.raises(ValueError, match=words):
        shd(folder, T=4, partial=True, **changes)


def test_without_h5py_the_way_to_get_it_is_said(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ValueError, match=r"pip install 'spikeloom\[h5py\]'"):
        shd(folder, T=4, partial=True)
