import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from spikeloom.data.pickles import load_plain

FILE = Path("some_batch")


class Asks:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
def test_dictionaries_of_arrays_lists_and_strings_are_read(protocol):
    value = {"data": np.arange(6, dtype=np.uint8).reshape(2, 3), b"labels": [1, 2], "n": 3}
    read = load_plain(pickle.dumps(value, protocol), FILE)
    np.testing.assert_array_equal(read[b"data"], value["data"])
    assert read[b"labels"] == [1, 2]
    assert read[b"n"] == 3


def test_the_pickles_of_python_2_are_read():
    # As written by Python 2 and an old numpy: byte strings, and numpy's former module name.
    content = (
        b"\x80\x02}(T\x04\x00\x00\x00datacnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n"
        b"K\x00\x85U\x01b\x87R(K\x01K\x02K\x02\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|"
        b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x04\x01\x02\x03\xfftb"
        b"U\x06labels](K\x05K\x07eu."
    )
    read = load_plain(content, FILE)
    assert read[b"data"].tolist() == [[1, 2], [3, 255]]
    assert read[b"labels"] == [5, 7]


@pytest.mark.parametrize(
    ("value", "asked"),
    [
        (Asks(os.system, "exit 1"), "system"),
        (Asks(eval, "1"), "eval"),
        (Asks(getattr, "", "format"), "getattr"),
        (Asks(np.load, "x"), "numpy.*load"),
        (Asks(bytearray, 5), "bytearray"),
        (Path, "Path"),
    ],
)
def test_a_pickle_that_asks_for_more_is_refused(value, asked):
    with pytest.raises(ValueError, match=rf"some_batch was not read: it asks for .*{asked}"):
        load_plain(pickle.dumps({"data": value}, 2), FILE)


def test_nothing_runs_before_the_refusal(tmp_path):
    mark = tmp_path / "ran"
    with pytest.raises(ValueError, match="asks for"):
        load_plain(pickle.dumps({"a": Asks(os.mkdir, str(mark))}), FILE)
    assert not mark.exists()


def test_another_codec_is_refused():
    content = b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00rot13\x86R."
    with pytest.raises(ValueError, match="encoding 'rot13' is not admitted"):
        load_plain(content, FILE)


@pytest.mark.parametrize("content", [b"", b"abc", pickle.dumps({"a": [1, 2, 3]})[:-4]])
def test_a_damaged_pickle_is_refused_by_name(content):
    with pytest.raises(ValueError, match="some_batch was not read"):
        load_plain(content, FILE)
