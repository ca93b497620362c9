import math

import numpy as np
import pytest
import torch

from spikeloom.data import manifold, sines


def test_the_sum_is_that_of_the_equation():
    source = sines(setting=2, frequencies=3, spacing=5.0, count=40, held=7, seed=4)
    phases = np.random.default_rng(4).uniform(0, 2 * math.pi, 3)
    x, y = source.train.samples[:, 0].numpy(), source.train.targets[:, 0].numpy()
    want = sum(
        (1, 2 / 3, 1 / 3)[j] * np.sin(2 * math.pi * 5 * (j + 1) * x + phases[j]) for j in range(3)
    )
    np.testing.assert_allclose(y, want, atol=1e-12)
    assert (source.shape, source.outputs, source.measure) == ((1,), 1, "rse")
    assert (len(source.train), len(source.test)) == (47, 2000)
    torch.testing.assert_close(source.train.samples[:40, 0], torch.arange(40).double() / 40)


@pytest.mark.parametrize(
    ("setting", "want"),
    [(1, [1] * 20), (2, [1 - j / 20 for j in range(20)]), (4, [j / 20 for j in range(1, 21)])],
)
def test_the_spectrum_holds_the_amplitudes_at_their_frequencies(setting, want):
    y = sines(setting=setting).plot.targets[:, 0].numpy()
    spectrum = 2 * np.abs(np.fft.rfft(y)) / len(y)
    np.testing.assert_allclose(spectrum[10:201:10], want, atol=1e-9)
    assert np.delete(spectrum, range(10, 201, 10)).max() < 1e-9


def test_the_third_setting_has_amplitudes_that_change_with_x():
    source = sines(setting=3, frequencies=2, count=50, held=0)
    phases = np.random.default_rng(0).uniform(0, 2 * math.pi, 2)
    x = source.train.samples[:, 0].numpy()
    want = sum(
        np.exp(-x) * np.cos(j * x) * np.sin(2 * math.pi * 10 * (j + 1) * x + phases[j])
        for j in range(2)
    )
    np.testing.assert_allclose(source.train.targets[:, 0].numpy(), want, atol=1e-12)


def test_published_sizes_are_the_defaults():
    assert (len(sines().train), len(sines().test)) == (8000, 2000)
    assert (len(manifold().train), len(manifold().test)) == (16000, 4000)


@pytest.mark.parametrize("q", [0, 4])
def test_the_manifold_is_a_curve_in_the_plane(q):
    source = manifold(q=q, count=100, held=0)
    radius = source.train.samples.norm(dim=1)
    t = torch.arange(100).double() / 100
    torch.testing.assert_close(radius, 1 + torch.sin(2 * math.pi * q * t) / 2)
    assert source.shape == (2,)


def test_manifold_amplitudes_rise_from_a_fortieth():
    y = manifold().plot.targets[:, 0].numpy()
    spectrum = 2 * np.abs(np.fft.rfft(y)) / len(y)
    np.testing.assert_allclose(spectrum[10:401:10], np.arange(1, 41) / 40, atol=1e-9)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: sines(setting=5), "there are 1 to 4"),
        (lambda: manifold(setting=3), "there are 1 to 2"),
        (lambda: manifold(q=-1), "q >= 0"),
        (lambda: sines(count=1), "count >= 2"),
        (lambda: sines(frequencies=0), "frequencies must be >= 1"),
    ],
)
def test_what_is_out_of_range_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
