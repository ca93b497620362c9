"""Generated tasks: what is in a sample, that its number says all, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spikeloom.data import Drawn, Patterns, dmts, randman, sequential_mnist
from spikeloom.data.randman import Manifold, SpikeTimes
from spikeloom.data.sequential import InTurn
from spikeloom.data.source import TensorImages

MANY = list(range(400))


def test_a_match_has_the_same_cue_twice() -> None:
    source = dmts(T=210, count=400, test_count=10)
    x, y = source.train.__getitems__(MANY)
    assert x.shape == (400, 210, 30, 1, 1)
    assert x.dtype == torch.uint8
    sides = x[:, :, :20, 0, 0].unflatten(2, (2, 10)).float()
    first, second = sides[:, 10:30].sum((1, 3)), sides[:, 190:210].sum((1, 3))
    assert torch.equal(y, (first.argmax(1) == second.argmax(1)).long())
    assert 0.4 < y.float().mean() < 0.6
    outside = sides.sum((2, 3))
    outside[:, 10:30] = outside[:, 190:210] = 0
    assert not outside.any()


def test_channels_fire_as_often_as_they_are_told() -> None:
    x, _ = dmts(T=210, count=400).train.__getitems__(MANY)
    spikes = x[..., 0, 0].float()
    assert spikes[:, 10:30, :20].mean().item() == pytest.approx(0.2 / 2, rel=0.05)  # 40 Hz, a side
    assert spikes[:, :, 20:].mean().item() == pytest.approx(0.05, rel=0.05)  # 10 Hz


def test_a_sample_is_its_number() -> None:
    source = dmts(T=210, count=50, test_count=50)
    one, other = source.train.__getitems__([7, 3]), source.train.__getitems__([3])
    assert torch.equal(one[0][1], other[0][0])
    assert not torch.equal(one[0][0], one[0][1])
    assert not torch.equal(source.train.__getitems__([3])[0], source.test.__getitems__([3])[0])
    again = dmts(T=210, count=50, seed=1).train.__getitems__([3])
    assert not torch.equal(again[0], other[0])
    assert source.train.__getitems__([])[0].shape[0] == 0


def test_every_input_fires_once_in_randman() -> None:
    source = randman(T=50, classes=3, inputs=7, count=40)
    x, y = source.train.__getitems__(list(range(96)))
    assert x.shape == (96, 50, 7, 1, 1)
    assert torch.equal(x.sum(1), torch.ones_like(x[:, 0]))
    assert y.bincount().tolist() == [32, 32, 32]
    assert len(source.test) == 24


def test_times_of_a_class_fill_all_steps() -> None:
    source = randman(T=20, classes=2, inputs=5, count=500)
    assert isinstance(source.train, SpikeTimes)
    assert source.train.times.min() == 0
    assert source.train.times.max() == 19


def test_a_manifold_is_the_product_of_its_series() -> None:
    manifold = Manifold.drawn(np.random.default_rng(0), 3, 2, 2.0, 1e-3)
    assert manifold.a.shape == (3, 2, 32)  # ceil(0.001 ** -0.5)
    assert not manifold.a[..., 0].any()
    x = np.array([[0.2, 0.7]])
    want = []
    for j in range(3):
        product = 1.0
        for k in range(2):
            terms = [
                manifold.a[j, k, i]
                / ((i + 1) ** 2.0 + 1)
                * np.sin(2 * np.pi * (i * manifold.b[j, k, i] * x[0, k] + manifold.p[j, k, i]))
                for i in range(32)
            ]
            product *= sum(terms)
        want.append(product)
    np.testing.assert_allclose(manifold(x)[0], want, rtol=1e-10)


def test_a_smoother_manifold_turns_less() -> None:
    x = np.linspace(0, 1, 400)[:, None]

    def bends(alpha: float) -> float:
        found = Manifold.drawn(np.random.default_rng(1), 20, 1, alpha, 1e-3)(x)
        found = (found - found.min(0)) / np.ptp(found, 0)
        return float(np.abs(np.diff(found, 2, 0)).mean())

    assert bends(3.0) < bends(1.0)


@pytest.mark.parametrize(("by", "shape"), [("pixel", (784, 1)), ("row", (28, 28))])
def test_an_image_is_read_from_the_upper_left(by: Any, shape: tuple[int, int]) -> None:
    images = TensorImages(torch.randint(0, 256, (5, 1, 28, 28), dtype=torch.uint8), torch.arange(5))
    x, y = InTurn(images, by).__getitems__([3, 1])
    assert x.shape == (2, *shape, 1, 1)
    assert torch.equal(x.view(2, 28, 28), images.images[[3, 1], 0])
    assert y.tolist() == [3, 1]


def test_other_steps_than_there_are_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"model\.T = 784"):
        sequential_mnist(tmp_path, T=28)
    with pytest.raises(ValueError, match="'pixel' or 'row'"):
        sequential_mnist(tmp_path, T=28, by="column")  # type: ignore[arg-type]


def test_the_template_comes_three_times() -> None:
    task = Patterns(noise=0.0)
    x = task.inputs(np.random.default_rng(0))
    assert task.T == 2000
    assert task.starts == (0, 750, 1500)
    for start in task.starts:
        np.testing.assert_array_equal(x[start : start + 500], task.template())
    assert not x[500:750].any()
    assert task.template().mean() == pytest.approx(0.01, rel=0.1)


def test_noise_is_drawn_anew_and_the_target_stays() -> None:
    task, draw = Patterns(seed=3), np.random.default_rng(0)
    one, other = task.inputs(draw), task.inputs(draw)
    assert (one != other).any()
    assert one[500:750].mean() == pytest.approx(0.002, rel=0.2)
    target = task.target()
    assert (target.min(), target.max()) == (-1, 1)
    np.testing.assert_array_equal(target, Patterns(seed=3).target())


def test_an_output_that_is_the_target_follows_it() -> None:
    task = Patterns()
    np.testing.assert_allclose(task.follows(task.target()), 1)
    np.testing.assert_allclose(task.follows(np.zeros(task.T)), 0)
    assert len(task.follows(task.target())) == 3


BAD: dict[str, tuple[Any, str]] = {
    "steps": (lambda: dmts(T=100), r"model\.T = 210"),
    "rate": (lambda: dmts(T=210, rate=300.0), "at most once"),
    "delay": (lambda: dmts(T=210, delay=-1.0), "delay"),
    "count": (lambda: dmts(T=210, count=0), "counts"),
    "classes": (lambda: randman(T=10, classes=0), "classes"),
    "alpha": (lambda: randman(T=10, alpha=0.0), "alpha"),
    "drawn": (lambda: Drawn(0, lambda draw: (np.zeros((1, 1), np.uint8), 0), (0,)), "counts"),
    "channels": (lambda: Patterns(channels=0), "channels"),
    "length": (lambda: Patterns(length=0.0), "length"),
    "noise": (lambda: Patterns(noise=-1.0), "at most once"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_drawn_is_refused(name: str) -> None:
    make, words = BAD[name]
    with pytest.raises(ValueError, match=words):
        make()
