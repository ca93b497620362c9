import math
import os

import pytest
import torch

from spikeloom.data import mnist, mnist_radial


def test_training_labels_are_scaled_by_a_wave_and_test_labels_are_clean(tmp_path, write_idx):
    write_idx(tmp_path / "mnist")
    plain, source = mnist(tmp_path), mnist_radial(tmp_path, beta=0.5, kappa=10)
    norm = (plain.train.images.double() / 255).flatten(1).norm(dim=1)
    factor = 1 + 0.5 * torch.sin(2 * math.pi * 10 * norm)
    want = torch.eye(10)[plain.train.labels] * factor.float()[:, None]
    torch.testing.assert_close(source.train.targets, want)
    torch.testing.assert_close(source.test.targets, torch.eye(10)[plain.test.labels])
    assert (source.shape, source.outputs, source.measure) == ((1, 28, 28), 10, "rse")
    assert source.mean == ()  # pixels stay in 0..1


def test_no_wave_leaves_one_hot_labels(tmp_path, write_idx):
    write_idx(tmp_path / "mnist")
    assert set(mnist_radial(tmp_path, beta=0).train.targets.flatten().tolist()) == {0.0, 1.0}


def test_waves_out_of_range_are_refused(tmp_path):
    for bad in ({"beta": -1}, {"kappa": 0}):
        with pytest.raises(ValueError, match="beta must be >= 0 and kappa > 0"):
            mnist_radial(tmp_path, **bad)


@pytest.mark.skipif(not os.environ.get("SPIKELOOM_DATA"), reason="SPIKELOOM_DATA is not set")
def test_noise_of_strength_one_leaves_half_of_the_labels_power_beside_theirs():
    """Over many images the phase of the wave is uniform: E (1 + β sin)² = 1 + β²/2."""
    try:
        targets = mnist_radial(beta=1.0, kappa=50.0).train.targets
    except FileNotFoundError as error:
        pytest.skip(str(error).splitlines()[0])
    assert float(targets.square().sum(1).mean()) == pytest.approx(1.5, abs=0.02)
