import gzip
import hashlib
import struct

import numpy as np
import pytest
import torch

from spikeloom.data import fashion_mnist, kmnist, mnist
from spikeloom.data.idx import FILES
from spikeloom.registry import find

BUILDERS = {"mnist": mnist, "fashion_mnist": fashion_mnist, "kmnist": kmnist}
FOLDERS = {
    "mnist": ("mnist", "MNIST/raw"),
    "fashion_mnist": ("fashion-mnist", "FashionMNIST/raw"),
    "kmnist": ("kmnist", "KMNIST/raw"),
}


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    ("name", "folder"), [(name, folder) for name, all_ in FOLDERS.items() for folder in all_]
)
def test_what_was_written_is_read(tmp_path, write_idx, idx_arrays, name, folder, zipped):
    write_idx(tmp_path / folder, zipped=zipped)
    source = BUILDERS[name](tmp_path)
    x, y = source.train.__getitems__(list(range(12)))
    np.testing.assert_array_equal(x[:, 0], idx_arrays[FILES[0]])
    np.testing.assert_array_equal(y, idx_arrays[FILES[1]])
    x, y = source.test.__getitems__([4])
    np.testing.assert_array_equal(x[0, 0], idx_arrays[FILES[2]][4])
    assert (len(source.train), len(source.test)) == (12, 5)
    assert (source.name, source.shape, source.outputs) == (name, (1, 28, 28), 10)


@pytest.mark.parametrize("name", list(BUILDERS))
def test_each_is_registered_under_its_name(name):
    assert find("dataset", name).build is BUILDERS[name]


def test_the_record_has_the_digest_of_each_file_as_it_lies(tmp_path, write_idx):
    write_idx(tmp_path / "mnist")
    files = mnist(tmp_path).files
    assert sorted(files) == sorted(f"{name}.gz" for name in FILES)
    for name, digest in files.items():
        content = (tmp_path / "mnist" / name).read_bytes()
        assert digest == hashlib.sha256(content).hexdigest()


def test_the_root_may_come_from_the_environment(tmp_path, write_idx, monkeypatch):
    write_idx(tmp_path / "mnist")
    monkeypatch.setenv("SPIKELOOM_DATA", str(tmp_path))
    assert len(mnist().train) == 12


def test_kmnist_counts_its_mean_and_std(tmp_path, write_idx, idx_arrays):
    write_idx(tmp_path / "kmnist")
    source = kmnist(tmp_path)
    scaled = idx_arrays[FILES[0]] / 255
    torch.testing.assert_close(source.mean, (scaled.mean(),))
    torch.testing.assert_close(source.std, (scaled.std(),))


def announce(*shape: int) -> bytes:
    return bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "starts with nothing"),
        (b"\0\0\x0d\3" + bytes(20), "00 00 0d 03"),
        (b"\x89PNG" + bytes(20), "not an IDX file"),
        (b"\0\0\x08\0", "not an IDX file"),
        (announce(12, 28, 28)[:9], "cut off within its header"),
        (announce(12, 28, 28) + bytes(9407), "12 x 28 x 28 = 9408 values but holds 9407"),
        (announce(12, 28, 28) + bytes(9409), "holds 9409"),
        (announce(0, 28, 28), "is empty"),
        (announce(12, 27, 28) + bytes(9072), r"expected images \[M, 28, 28\]"),
        (announce(12) + bytes(12), "are the files swapped"),
        (announce(11, 28, 28) + bytes(8624), "11 images but 12 labels"),
    ],
)
def test_a_damaged_image_file_is_refused(tmp_path, write_idx, content, message):
    write_idx(tmp_path / "mnist", train_images_idx3_ubyte=content)
    with pytest.raises(ValueError, match=message) as caught:
        mnist(tmp_path)
    assert "train-" in str(caught.value)


def test_a_label_out_of_range_is_refused(tmp_path, write_idx):
    write_idx(tmp_path / "mnist", t10k_labels_idx1_ubyte=announce(5) + bytes([0, 1, 10, 2, 3]))
    with pytest.raises(ValueError, match=r"t10k-.*label 10, but mnist has labels 0\.\.9"):
        mnist(tmp_path)


@pytest.mark.parametrize(
    "content", [b"no gzip at all", gzip.compress(bytes(5000))[:-6], b"\x1f\x8b\x08" + bytes(30)]
)
def test_a_damaged_gzip_file_is_refused_by_name(tmp_path, write_idx, content):
    write_idx(tmp_path / "mnist")
    (tmp_path / "mnist" / "train-images-idx3-ubyte.gz").write_bytes(content)
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte\.gz is not a whole gzip file"):
        mnist(tmp_path)
