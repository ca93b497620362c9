"""DVS128 Gesture, CIFAR10-DVS and N-Caltech101: their bytes, their splits, what is refused."""

import numpy as np
import pytest
import torch

from spikeloom.data import cifar10_dvs, dvs_gesture, ncaltech101
from spikeloom.data.aedat import read_aedat2, read_aedat3
from spikeloom.data.cifar10_dvs import CLASSES
from tests.data.conftest import nmnist_bytes
from tests.data.event_files import (
    AEDAT2_HEADER,
    GESTURE_HEADER,
    aedat2_bytes,
    packet,
    write_gestures,
)

EARLY = packet((3, 100, 1, 1000), (127, 0, 0, 2000))
LATER = packet((5, 6, 1, 2500), (7, 8, 0, 4000))


def listed(events):
    return events.time.tolist(), [array.tolist() for array in events.place]


def test_events_of_aedat_3_are_cut_from_packets_by_time(tmp_path):
    path = tmp_path / "user01_led.aedat"
    other = packet((1, 1, 1, 1500), kind=2)
    path.write_bytes(GESTURE_HEADER + EARLY + other + LATER)
    assert listed(read_aedat3(path, 1000, 4000)) == (
        [0, 1000, 1500],
        [[1, 0, 1], [100, 0, 6], [3, 127, 5]],
    )
    assert listed(read_aedat3(path, 2400, 3000)) == ([100], [[1], [6], [5]])
    assert listed(read_aedat3(path, 9000, 9900))[0] == []


def test_the_clock_of_a_packet_runs_on_where_it_ran_over(tmp_path):
    path = tmp_path / "user01_led.aedat"
    path.write_bytes(
        GESTURE_HEADER + packet((0, 0, 0, 2**31 - 1)) + packet((0, 0, 1, 4), overflow=1)
    )
    assert listed(read_aedat3(path, 2**31 - 2, 2**31 + 9))[0] == [1, 6]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty file"),
        (b"#!AER-DAT2.0\r\n", "expected b'#!AER-DAT3.1'"),
        (GESTURE_HEADER[:-4] + EARLY, "an end of the header"),
        (GESTURE_HEADER + EARLY + LATER[:-3], "ends 3 bytes within a packet"),
        (GESTURE_HEADER + EARLY + LATER[:20], "20 bytes where a packet begins"),
        (GESTURE_HEADER + packet((128, 0, 0, 5)), "beyond 128 x 128"),
    ],
)
def test_damaged_aedat_3_is_refused(content, words, tmp_path):
    path = tmp_path / "user01_led.aedat"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=words):
        read_aedat3(path, 0, 10_000)


@pytest.fixture
def gestures(tmp_path):
    rows = "1,900,2100\n11,2400,5000\n"
    trials = {
        "train": {"user01_led": (EARLY + LATER, rows), "user02_lab": (EARLY, "3,900,2100\n")},
        "test": {"user24_led": (LATER, "8,2400,5000\n")},
    }
    write_gestures(tmp_path / "DvsGesture", trials)
    return tmp_path


def test_gestures_are_stretches_of_the_official_lists(gestures):
    source = dvs_gesture(gestures, T=2, partial=True)
    assert (len(source.train), len(source.test), source.shape) == (3, 1, (2, 128, 128))
    assert source.train.labels.tolist() == [0, 10, 2]
    assert source.class_names[source.test.labels[0]] == "arm roll"
    x, _ = source.train.__getitems__([0, 1])
    assert x.flatten(2).sum(2).tolist() == [[1, 1], [1, 1]]
    assert x[0].nonzero().tolist() == [[0, 1, 100, 3], [1, 0, 0, 127]]
    small = dvs_gesture(gestures, T=2, joined=4, partial=True)
    assert small.shape == (2, 32, 32)
    assert small.train.steps(0).nonzero().tolist() == [[0, 1, 25, 0], [1, 0, 0, 31]]


def test_a_gesture_is_counted_from_its_own_beginning(gestures):
    x = dvs_gesture(gestures, T=3, width=500.0, partial=True).train.steps(0)
    assert x.flatten(1).sum(1).tolist() == [1, 0, 1]


def test_missing_recordings_are_named_or_passed_over_on_purpose(gestures):
    with pytest.raises(ValueError, match="holds 3 recordings, the official set 1,176"):
        dvs_gesture(gestures, T=2)
    (gestures / "DvsGesture" / "user02_lab.aedat").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 files are not there, as .*user02_lab.aedat"):
        dvs_gesture(gestures, T=2)
    assert len(dvs_gesture(gestures, T=2, partial=True).train) == 2
    (gestures / "DvsGesture" / "trials_to_test.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"trials_to_train.txt and .*DvsGesture.tar.gz"):
        dvs_gesture(gestures, T=2)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("1,900\n", r"user24_led_labels.csv, line 2: expected whole numbers"),
        ("2,900,1000\nx,1,2\n", "line 3: expected whole numbers"),
        ("12,900,1000\n", "class 12 from 900 to 1000"),
        ("1,900,900\n", "a time that goes forwards"),
    ],
)
def test_damaged_tables_are_named_with_their_line(rows, words, gestures):
    write_gestures(gestures / "DvsGesture", {"test": {"user24_led": (LATER, rows)}})
    with pytest.raises(ValueError, match=words):
        dvs_gesture(gestures, T=2, partial=True)


def test_a_cut_off_gesture_is_named_with_its_time(gestures):
    path = gestures / "DvsGesture" / "user24_led.aedat"
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(ValueError, match=r"user24_led.aedat, 0.00 to 0.01 s: ends 2 bytes within"):
        dvs_gesture(gestures, T=2, partial=True).test.__getitems__([0])


def test_events_of_aedat_2_stand_upright_and_rise_where_bit_0_is_0(tmp_path):
    path = tmp_path / "cifar10_cat_0.aedat"
    path.write_bytes(AEDAT2_HEADER + aedat2_bytes((0, 127, 0, 50), (100, 3, 1, 90)))
    assert listed(read_aedat2(path)) == ([0, 40], [[1, 0], [0, 124], [127, 27]])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "begins with b''"),
        (AEDAT2_HEADER, "0 bytes after the header"),
        (AEDAT2_HEADER + aedat2_bytes((1, 1, 1, 1))[:-1], "7 bytes after the header"),
        (AEDAT2_HEADER + aedat2_bytes((128, 1, 1, 1)), "beyond 128 x 128"),
    ],
)
def test_damaged_aedat_2_is_refused(content, words, tmp_path):
    path = tmp_path / "cifar10_cat_0.aedat"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=words):
        read_aedat2(path)


@pytest.fixture
def moving(tmp_path):
    for name in CLASSES:
        for number in (0, 99, 100, 101, 999):
            path = tmp_path / "CIFAR10-DVS" / name / f"cifar10_{name}_{number}.aedat"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(AEDAT2_HEADER + aedat2_bytes((1, 2, 0, 5), (3, 4, 1, 9)))
    return tmp_path


def test_the_first_hundred_of_each_class_test(moving):
    source = cifar10_dvs(moving, T=2, partial=True)
    assert (len(source.train), len(source.test), source.shape) == (30, 20, (2, 128, 128))
    assert {path.stem.rpartition("_")[2] for path in source.test.places} == {"0", "99"}
    assert source.train.labels[-10:].tolist() == list(range(10))
    assert cifar10_dvs(moving, T=2, joined=2, partial=True).train.steps(0).shape == (2, 2, 64, 64)
    with pytest.raises(ValueError, match="holds 50 recordings, the official set 10,000"):
        cifar10_dvs(moving, T=2)
    with pytest.raises(ValueError, match="joined must divide 128"):
        cifar10_dvs(moving, T=2, joined=3, partial=True)


def test_an_absent_set_is_described(tmp_path):
    for build, words in (
        (cifar10_dvs, r"airplane/cifar10_airplane_0.aedat.*download = true"),
        (ncaltech101, r"image_<number>.bin.*by hand"),
        (dvs_gesture, r"trials_to_train.txt.*by hand"),
    ):
        with pytest.raises(FileNotFoundError, match=words):
            build(tmp_path, T=2)


@pytest.fixture
def things(tmp_path):
    for name, count in (("ant", 10), ("BACKGROUND_Google", 5), ("Faces_easy", 5)):
        for number in range(1, count + 1):
            path = tmp_path / "Caltech101" / name / f"image_{number:04}.bin"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(nmnist_bytes((239, 179, 1, number), (0, 0, 0, 9000)))
    return tmp_path


def test_every_fifth_recording_of_a_class_tests(things):
    source = ncaltech101(things, T=2, partial=True)
    assert source.class_names == ("BACKGROUND_Google", "Faces_easy", "ant")
    assert torch.bincount(source.test.labels).tolist() == [1, 1, 2]
    assert torch.bincount(source.train.labels).tolist() == [4, 4, 8]
    assert not {*source.train.places} & {*source.test.places}
    x, _ = source.train.__getitems__([0])
    assert x[0].nonzero().tolist() == [[0, 1, 179, 239], [1, 0, 0, 0]]
    assert ncaltech101(things, T=2, joined=20, partial=True).shape == (2, 9, 12)


def test_other_numbers_of_things_and_cut_off_ones_are_refused(things):
    with pytest.raises(ValueError, match="holds 20 recordings, the official set 8,709"):
        ncaltech101(things, T=2)
    (things / "Caltech101" / "ant" / "image_0003.bin").write_bytes(b"123456")
    with pytest.raises(ValueError, match=r"image_0003.bin has 6 bytes.*cut off"):
        ncaltech101(things, T=2, partial=True)


def test_a_voxel_grid_of_a_gesture_is_signed_by_brightness(gestures):
    source = dvs_gesture(gestures, T=2, value="signed", partial=True)
    assert (source.shape, source.mean) == ((1, 128, 128), ())
    x = source.train.steps(0)
    assert [x[0, 0, 100, 3].item(), x[1, 0, 0, 127].item()] == [1.0, -1.0]
    assert np.isclose(x.sum().item(), 0)
