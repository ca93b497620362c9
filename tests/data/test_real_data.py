"""The real datasets, where SPIKELOOM_DATA says they are."""

import os
from functools import partial
from pathlib import Path

import pytest
import torch

from spikeloom.data import (
    batches,
    braille,
    cifar10,
    fashion_mnist,
    fsdd,
    fsdd_spikes,
    mnist,
    nmnist,
    split,
)
from spikeloom.data.batches import Order
from spikeloom.data.source import pixel_mean_std

pytestmark = pytest.mark.skipif(
    not os.environ.get("SPIKELOOM_DATA"), reason="SPIKELOOM_DATA names no folder with real data"
)


def load(build):
    try:
        return build()
    except FileNotFoundError as error:
        pytest.skip(str(error).splitlines()[0])


@pytest.mark.parametrize(
    ("build", "count"),
    [(mnist, 60000), (fashion_mnist, 60000), (partial(cifar10, partial=True), 50000)],
)
def test_the_training_set_is_the_published_one(build, count):
    source = load(build)
    assert len(source.train) == count
    assert 1 <= len(source.test) <= 10000
    mean, std = pixel_mean_std(source.train.images)
    assert source.mean == pytest.approx(mean, abs=1e-4)
    assert source.std == pytest.approx(std, abs=1e-4)
    assert source.train.labels.bincount().min() >= 5000


def test_both_layouts_of_cifar10_hold_the_same_images(tmp_path):
    sources = []
    for name in ("cifar-10-batches-bin", "cifar-10-batches-py"):
        root = tmp_path / f"only-{name}"
        root.mkdir()
        (root / name).symlink_to(Path(os.environ["SPIKELOOM_DATA"]).resolve() / name)
        sources.append(load(partial(cifar10, root, partial=True)))
    binary, python = sources
    assert torch.equal(binary.train.images, python.train.images)
    assert torch.equal(binary.train.labels, python.train.labels)


def test_recordings_of_nmnist_last_as_long_and_hold_as_many_events_as_published():
    source = load(partial(nmnist, T=3, partial=True))
    assert len(source.train.labels.unique()) == 10
    for part in (source.train, source.test):
        found = [part.read(path) for path in part.places[:20]]
        assert all(1_000 < len(events.time) < 10_000 for events in found)
        assert all(290_000 < events.time.max() < 340_000 for events in found)
        x, _ = part.__getitems__(list(range(20)))
        assert int(x.sum()) == sum(len(events.time) for events in found)


def test_spoken_digits_as_spikes_last_less_than_a_second_and_keep_every_unit():
    source = load(partial(fsdd_spikes, T=250, value="count"))
    assert (source.shape, source.class_names[9]) == ((700, 1, 1), "nine")
    assert len(source.train.labels.unique()) == 10
    for part in (source.train, source.test):
        found = [part.read(place) for place in part.places[:20]]
        assert all(0.1 < events.time.max() < 1 for events in found)
        x, _ = part.__getitems__(list(range(20)))
        assert int(x.sum()) == sum(len(events.time) for events in found)


def test_the_energy_of_spoken_digits_makes_some_hundred_crossings():
    source = load(partial(fsdd, T=200, partial=True))
    assert len(source.train.labels.unique()) == len(source.test.labels.unique()) == 10
    x, _ = source.train.__getitems__(list(range(20)))
    assert (x.flatten(1).sum(1) > 300).all()
    # as many levels crossed upwards as downwards, but for where a sound begins and ends
    each = x.view(20, 200, 16, 31).sum((0, 1, 2))
    assert float(each[:15].sum() / each[15:30].sum()) == pytest.approx(1, abs=0.1)


def test_braille_letters_are_as_many_as_published():
    source = load(partial(braille, T=76))
    assert (len(source.train), len(source.test), len(source.class_names)) == (810, 270, 27)
    assert source.test.labels.bincount().tolist() == [10] * 27
    assert source.train.labels[-27:].tolist() == list(range(27))


def test_an_epoch_of_mnist_goes_through_every_training_image():
    source = load(mnist)
    parts = split(source)
    order = Order(parts.train, 1000, seed=0, epoch=0, shuffle=True)
    assert sum(len(y) for _, y in batches(source.train, order)) == 55000
