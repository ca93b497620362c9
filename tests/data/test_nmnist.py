"""N-MNIST: bytes to events, folders to sets, and a run over its steps."""

import pytest
import torch

from spikeloom.data import nmnist as load
from spikeloom.data.augment import normalise
from spikeloom.data.nmnist import FOLDERS, read_recording
from spikeloom.run import session
from spikeloom.run.config import ConfigError
from tests.data.conftest import nmnist_bytes
from tests.run.recipe import tiny


@pytest.fixture
def folder(tmp_path, write_nmnist):
    """Twelve recordings to train on and four to test, of three digits."""
    write_nmnist(tmp_path / "nmnist")
    return tmp_path


def test_an_event_is_forty_bits(tmp_path):
    path = tmp_path / "1.bin"
    path.write_bytes(nmnist_bytes((3, 33, 1, 0x123456), (0, 7, 0, 0x7FFFFF)))
    events = read_recording(path)
    assert events.time.tolist() == [0x123456, 0x7FFFFF]
    assert [array.tolist() for array in events.place] == [[1, 0], [33, 7], [3, 0]]


def test_a_marker_pushes_later_times_on_and_is_no_event(tmp_path):
    path = tmp_path / "1.bin"
    path.write_bytes(nmnist_bytes((1, 1, 0, 10), (0, 240, 0, 0), (1, 1, 0, 20), (9, 240, 1, 0),
                            (1, 1, 1, 30)))  # fmt: skip
    assert read_recording(path).time.tolist() == [10, 20 + 8192, 30 + 2 * 8192]


def test_a_smaller_side_keeps_the_middle(tmp_path):
    path = tmp_path / "1.bin"
    path.write_bytes(nmnist_bytes((0, 5, 0, 1), (1, 1, 0, 2), (32, 32, 1, 3), (33, 5, 0, 4)))
    events = read_recording(path, side=32)
    assert [array.tolist() for array in events.place] == [[0, 1], [0, 31], [0, 31]]


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "0 bytes"), (b"123456", "6 bytes"), (nmnist_bytes((34, 0, 0, 1)), "beyond 34 x 34")],
)
def test_damaged_recordings_are_refused(content, words, tmp_path):
    path = tmp_path / "1.bin"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=words):
        read_recording(path)


def test_recordings_come_as_steps_in_the_order_of_their_numbers(folder):
    source = load(folder, T=5, partial=True)
    assert (len(source.train), len(source.test), source.shape) == (12, 4, (2, 34, 34))
    assert source.train.labels.tolist() == [number % 3 for number in range(1, 13)]
    x, _ = source.train.__getitems__([0, 3])
    assert (x.shape, x.dtype) == ((2, 5, 2, 34, 34), torch.uint8)
    assert x.sum((1, 2, 3, 4)).tolist() == [40, 40]
    counts = normalise(x, source.mean, source.std)
    torch.testing.assert_close(counts, x.float())
    binary = load(folder, T=5, side=32, value="binary", by="count", partial=True)
    assert binary.train.__getitems__([0])[0].max() == 1


def test_a_cut_down_copy_is_only_taken_on_purpose(folder):
    with pytest.raises(ValueError, match=r"12 recordings, the official set 60,000.*partial=true"):
        load(folder, T=5)
    with pytest.raises(ValueError, match=r"side must be in 1 ... 34"):
        load(folder, T=5, side=35, partial=True)
    (folder / "nmnist" / "Test" / "0" / "00003.bin").write_bytes(b"1234567")
    with pytest.raises(ValueError, match=r"00003.bin has 7 bytes"):
        load(folder, T=5, partial=True)


def test_absent_recordings_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=", ".join(FOLDERS)):
        load(tmp_path, T=5)
    for part in ("Train", "Test"):
        (tmp_path / "N-MNIST" / part).mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match="Train holds no recordings"):
        load(tmp_path, T=5)


def recorded(folder, **changes):
    data = {"name": "nmnist", "partial": True, "root": str(folder), "batch": 4, "val": 4}
    model = {"name": "spiking_vgg5", "width": 0.05, "T": 3, "encoder": "recorded"}
    return tiny(data=data, model=model | changes.pop("model", {}), phase__0__epochs=1, **changes)


def test_a_run_goes_over_recorded_steps(folder, tmp_path):
    config = recorded(folder, data__augment=["crop", "flip", "erase", "mixup"], run__twin=True)
    result = session.train(config, tmp_path / "run")
    assert result["test"]["count"] == 4
    assert len(result["accuracy_by_step"]) == 3
    assert session.score(tmp_path / "run")["accuracy"] == result["test"]["accuracy"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": {"encoder": "poisson"}}, "nmnist has steps of its own.*'recorded'"),
        ({"data__T": 5}, r"expected sequences \[N, T = 3, \*\]"),
        ({"data__augment": ["autoaugment"]}, "autoaugment is about the colours"),
        ({"data__by": "size"}, "by = 'size'"),
        ({"data__width": -1.0}, "width"),
    ],
)
def test_what_does_not_go_with_recorded_steps_is_refused(changes, words, folder, tmp_path):
    with pytest.raises(ConfigError, match=words):
        session.train(recorded(folder, **changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_images_have_no_recorded_steps(tmp_path):
    with pytest.raises(ConfigError, match="needs another encoder, as constant"):
        session.train(tiny(model__encoder="recorded"), tmp_path / "run")
