import pickle
import shutil
from dataclasses import replace

import numpy as np
import pytest

from spikeloom.data import cifar10, cifar100
from spikeloom.data.cifar import CIFAR10, load_cifar
from spikeloom.registry import find


@pytest.mark.parametrize("layout", ["bin", "py"])
def test_both_layouts_of_cifar10_give_what_was_written(tmp_path, write_cifar10, layout):
    batches = write_cifar10(tmp_path)
    shutil.rmtree(tmp_path / f"cifar-10-batches-{'py' if layout == 'bin' else 'bin'}")
    source = cifar10(tmp_path, partial=True)
    assert (len(source.train), len(source.test), source.outputs) == (15, 2, 10)
    x, y = source.train.__getitems__(list(range(15)))
    pixels = np.concatenate([data for data, _ in batches[:5]]).reshape(15, 3, 32, 32)
    np.testing.assert_array_equal(x, pixels)
    np.testing.assert_array_equal(y, np.concatenate([labels for _, labels in batches[:5]]))
    x, y = source.test.__getitems__([0, 1])
    np.testing.assert_array_equal(x.reshape(2, -1), batches[5][0])
    np.testing.assert_array_equal(y, batches[5][1])
    assert len(source.files) == 6


@pytest.mark.parametrize("layout", ["binary", "python"])
def test_both_layouts_of_cifar100_give_the_fine_labels(tmp_path, write_cifar100, layout):
    parts = write_cifar100(tmp_path)
    shutil.rmtree(tmp_path / f"cifar-100-{'python' if layout == 'binary' else 'binary'}")
    source = cifar100(tmp_path, partial=True)
    x, y = source.train.__getitems__([0, 1, 2, 3])
    np.testing.assert_array_equal(x.reshape(4, -1), parts["train"][0])
    np.testing.assert_array_equal(y, parts["train"][1])
    assert (len(source.test), source.outputs) == (2, 100)
    assert len(set(source.class_names)) == 100
    assert list(source.class_names) == sorted(source.class_names)


@pytest.mark.parametrize(("name", "build"), [("cifar10", cifar10), ("cifar100", cifar100)])
def test_each_is_registered_under_its_name(name, build):
    assert find("dataset", name).build is build


@pytest.mark.parametrize("layout", ["bin", "py"])
def test_a_file_cut_off_between_records_is_refused(tmp_path, write_cifar10, layout):
    write_cifar10(tmp_path)
    shutil.rmtree(tmp_path / f"cifar-10-batches-{'py' if layout == 'bin' else 'bin'}")
    assert len(load_cifar(replace(CIFAR10, counts=(15, 2)), tmp_path).train) == 15
    with pytest.raises(ValueError, match=r"data_batch_1\S* holds 3 images, the official file 4"):
        load_cifar(replace(CIFAR10, counts=(20, 2)), tmp_path)
    short = replace(CIFAR10, counts=(15, 3))
    message = r"test_batch\S* holds 2 images, the official file 3: .* \(data\.partial=true\)"
    with pytest.raises(ValueError, match=message):
        load_cifar(short, tmp_path)
    assert len(load_cifar(short, tmp_path, partial=True).test) == 2


@pytest.mark.parametrize("size", [0, 3072, 3 * 3073 + 1])
def test_a_file_of_broken_records_is_refused(tmp_path, write_cifar10, size):
    write_cifar10(tmp_path)
    (tmp_path / "cifar-10-batches-bin" / "data_batch_2.bin").write_bytes(bytes(size))
    with pytest.raises(ValueError, match=rf"data_batch_2\.bin has {size} bytes.*3073-byte"):
        cifar10(tmp_path)


def test_a_binary_label_out_of_range_is_refused(tmp_path, write_cifar10):
    write_cifar10(tmp_path)
    (tmp_path / "cifar-10-batches-bin" / "test_batch.bin").write_bytes(b"\x0a" + bytes(3072))
    with pytest.raises(ValueError, match=r"test_batch\.bin: labels 10\.\.10, but cifar10"):
        cifar10(tmp_path)


PIXELS = np.zeros((2, 3072), np.uint8)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({b"data": PIXELS}, "'labels' must list one whole number for each of the 2 images"),
        ({b"data": PIXELS, b"labels": [1]}, "for each of the 2 images"),
        ({b"data": PIXELS, b"labels": [1, 2.5]}, "whole number"),
        ({b"data": PIXELS, b"labels": [1, -1]}, r"labels -1\.\.1"),
        ({b"data": PIXELS, b"labels": [1, 10]}, r"labels 1\.\.10, but cifar10"),
        ({b"data": PIXELS[:, :5], b"labels": [1, 2]}, r"uint8 array \[M, 3072\]"),
        ({b"data": PIXELS.astype(np.int32), b"labels": [1, 2]}, "uint8 array"),
        ({b"data": PIXELS[:0], b"labels": []}, "at least one"),
        ({b"labels": [1, 2]}, "'data' must be"),
        ([1, 2], "holds a list, expected a dictionary"),
    ],
)
def test_a_python_batch_of_other_content_is_refused(tmp_path, write_cifar10, content, message):
    write_cifar10(tmp_path)
    shutil.rmtree(tmp_path / "cifar-10-batches-bin")
    (tmp_path / "cifar-10-batches-py" / "data_batch_1").write_bytes(pickle.dumps(content, 3))
    with pytest.raises(ValueError, match=message) as caught:
        cifar10(tmp_path)
    assert "data_batch_1" in str(caught.value)
