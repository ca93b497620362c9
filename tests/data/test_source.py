import hashlib

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spikeloom.data.source import Source, TensorImages, pixel_mean_std, split


def tiny(train: int = 30, test: int = 9) -> Source:
    def images(count: int) -> TensorImages:
        pixels = torch.arange(count * 4).reshape(count, 1, 2, 2).to(torch.uint8)
        return TensorImages(pixels, torch.arange(count) % 3)

    return Source("tiny", images(train), images(test), (1, 2, 2), ("a", "b", "c"), (0.5,), (0.5,))


def test_images_come_in_the_order_asked_for():
    x, y = tiny().train.__getitems__([4, 0, 4])
    assert x[:, 0, 0, 0].tolist() == [16, 0, 16]
    assert y.tolist() == [1, 0, 1]
    assert (x.dtype, y.dtype) == (torch.uint8, torch.int64)


def test_no_indices_give_an_empty_batch():
    x, y = tiny().train.__getitems__([])
    assert x.shape == (0, 1, 2, 2)
    assert y.shape == (0,)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (torch.zeros(2, 1, 2, 2), torch.zeros(2, dtype=torch.int64), "must be uint8"),
        (torch.zeros(2, 2, 2).byte(), torch.zeros(2, dtype=torch.int64), "channel axis"),
        (torch.zeros(2, 1, 2, 2).byte(), torch.zeros(3, dtype=torch.int64), r"int64 \[2\]"),
        (torch.zeros(2, 1, 2, 2).byte(), torch.zeros(2), "int64"),
    ],
)
def test_images_of_another_kind_are_refused(images, labels, message):
    with pytest.raises(ValueError, match=message):
        TensorImages(images, labels)


def test_a_source_has_as_many_classes_as_names():
    assert tiny().outputs == 3


def test_mean_and_std_are_those_of_the_scaled_pixels():
    images = torch.randint(256, (7, 3, 5, 4), dtype=torch.uint8)
    mean, std = pixel_mean_std(images)
    scaled = images.double() / 255
    torch.testing.assert_close(torch.tensor(mean).double(), scaled.mean((0, 2, 3)))
    spread = scaled.std((0, 2, 3), correction=0)
    torch.testing.assert_close(torch.tensor(std).double(), spread)


def test_the_last_images_validate_by_default():
    parts = split(tiny(), val=4)
    assert parts.val.tolist() == [26, 27, 28, 29]
    assert parts.train.tolist() == list(range(26))
    assert parts.test.tolist() == list(range(9))


@given(
    val=st.integers(0, 20),
    train=st.integers(1, 10),
    val_from=st.sampled_from(["last", "random"]),
    seed=st.integers(0, 2**40),
)
def test_the_parts_never_overlap(val, train, val_from, seed):
    parts = split(tiny(), val=val, val_from=val_from, train=train, seed=seed)
    learn, held = parts.train.tolist(), parts.val.tolist()
    assert (len(learn), len(held)) == (train, val)
    assert len(set(learn) | set(held)) == train + val
    assert set(learn) | set(held) <= set(range(30))
    assert learn == sorted(learn)
    assert held == sorted(held)


def test_a_seed_gives_one_split_and_another_seed_another():
    first, again, other = (
        split(tiny(), val=9, val_from="random", train=9, seed=seed) for seed in (1, 1, 2)
    )
    assert first.describe() == again.describe()
    assert first.val.tolist() != other.val.tolist()
    assert first.train.tolist() != other.train.tolist()


def test_without_a_draw_the_seed_changes_nothing_but_its_note():
    first, other = (split(tiny(), val=9, seed=seed).describe() for seed in (1, 2))
    assert {**first, "seed": 0} == {**other, "seed": 0}


def test_test_takes_the_first_images():
    assert split(tiny(), val=4, test=3).test.tolist() == [0, 1, 2]


def test_the_record_tells_counts_rule_seed_and_digests():
    told = split(tiny(), val=2, train=5, test=3, seed=6).describe()
    assert told["seed"] == 6
    assert told["rule"] == "val 2 last of 30, train 5 drawn of 28, test first 3 of 9"
    assert [told[part]["count"] for part in ("train", "val", "test")] == [5, 2, 3]
    bytes_of_val = (28).to_bytes(8, "little") + (29).to_bytes(8, "little")
    assert told["val"]["sha256"] == hashlib.sha256(bytes_of_val).hexdigest()


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"val": 30}, "val = 30, but tiny has 30 training samples"),
        ({"val": -1}, "val = -1"),
        ({"val": 5, "train": 26}, "train = 26, but there are 25 samples after val = 5"),
        ({"val": 5, "train": 0}, "train = 0"),
        ({"val": 5, "test": 10}, "test = 10, but there are 9 samples in the test set of tiny"),
        ({"val": 5, "val_from": "first"}, "use 'last' or 'random'"),
        ({"val": 5, "seed": -1}, "seed is -1"),
    ],
)
def test_a_split_that_cannot_be_is_refused(wish, message):
    with pytest.raises(ValueError, match=message):
        split(tiny(), **wish)
