"""Mel bands and level crossings: where filters lie, and when neurons fire."""

import math

import pytest
import torch

from spikeloom.functional.audio import band_levels, mel_bank, mel_power, threshold_crossing


def mel(f):
    return 2595 * math.log10(1 + f / 700)


def test_filters_are_triangles_evenly_spaced_in_mel():
    bank = mel_bank(16, 360, 8000, 20_000, 4096)
    centre = bank.argmax(1) * 20_000 / 4096
    gaps = torch.tensor([mel(f) for f in centre.tolist()]).diff()
    assert gaps.std() / gaps.mean() < 0.02
    assert 360 < centre[0] < centre[-1] < 8000
    # neighbours share each frequency between the first and the last centre
    inside = bank[:, int(bank[0].argmax()) + 1 : int(bank[-1].argmax())].sum(0)
    torch.testing.assert_close(inside, torch.ones_like(inside))


def test_filters_end_at_half_the_rate():
    bank = mel_bank(16, 360, 8000, 8000, 512)
    assert torch.equal(bank, mel_bank(16, 360, 4000, 8000, 512))
    assert (bank.sum(1) > 0).all()


@pytest.mark.parametrize("hertz", [500.0, 1500.0, 3000.0])
def test_a_tone_is_loudest_in_the_band_around_it(hertz):
    t = torch.arange(4000) / 8000
    power = mel_power(torch.sin(2 * math.pi * hertz * t)[:, None], 8000.0)
    assert power.shape == (1 + 4000 // 40, 1, 16)
    bank = mel_bank(16, 360, 8000, 8000, 512)
    assert int(power[50, 0].argmax()) == int(bank[:, round(hertz * 512 / 8000)].argmax())


def test_power_of_a_step_is_that_of_the_windowed_part_around_it():
    sound = torch.randn(2000, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    power = mel_power(sound, 8000.0, window=64.0, hop=5.0)
    part = torch.hann_window(512, dtype=torch.float64) * sound[1000 - 256 : 1000 + 256, 0]
    want = mel_bank(16, 360, 8000, 8000, 512) @ torch.fft.rfft(part).abs().square()
    torch.testing.assert_close(power[1000 // 40, 0], want)


def test_sounds_side_by_side_are_those_alone():
    sound_seq = torch.randn(800, 3, generator=torch.Generator().manual_seed(0))
    levels = band_levels(mel_power(sound_seq, 8000.0))
    for n in range(3):
        alone = band_levels(mel_power(sound_seq[:, n : n + 1], 8000.0))
        torch.testing.assert_close(levels[:, n], alone[:, 0])


def test_levels_go_from_0_to_1_in_every_band_and_do_not_depend_on_loudness():
    power = torch.rand(20, 2, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    levels = band_levels(power)
    assert torch.equal(levels.amin(0), torch.zeros(2, 5))
    assert torch.equal(levels.amax(0), torch.ones(2, 5))
    torch.testing.assert_close(band_levels(7 * power), levels)
    assert band_levels(torch.zeros(4, 1, 2)).abs().max() == 0


def test_what_is_below_the_floor_is_silent():
    power = torch.tensor([[1.0, 1e-6], [0.5, 1e-7]])[:, None]
    assert band_levels(power, 1e-5)[:, 0, 1].tolist() == [0, 0]


def test_each_level_fires_once_up_and_once_down_on_one_hill():
    hill = torch.cat([torch.linspace(0, 1, 41), torch.linspace(1, 0, 41)[1:]])[:, None]
    spikes = threshold_crossing(hill, 15)[:, 0]
    assert spikes.shape == (81, 31)
    assert torch.equal(spikes.sum(0), torch.ones(31))
    time = spikes.argmax(0)
    assert (time[:15].diff() > 0).all()
    assert (time[15:30].diff() < 0).all()
    assert time[30] == 40
    want = [math.ceil(40 * k / 16) for k in range(1, 16)]
    assert time[:15].tolist() == want


def test_without_the_peak_there_are_two_neurons_a_level():
    x_seq = torch.rand(5, 2, 3)
    assert threshold_crossing(x_seq, 4, peak=False).shape == (5, 2, 3, 8)
    assert torch.equal(
        threshold_crossing(x_seq, 4)[..., :8], threshold_crossing(x_seq, 4, peak=False)
    )


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: mel_bank(0, 360, 8000, 8000, 512), "filters must be >= 1"),
        (lambda: mel_bank(4, 4000, 8000, 8000, 512), "low below high and half the rate"),
        (lambda: mel_bank(100, 0, 4000, 8000, 64), "lie between two frequencies"),
        (lambda: mel_power(torch.zeros(9), 8000.0), r"expected float \[L, N\]"),
        (lambda: mel_power(torch.zeros(9, 1), 8000.0, hop=0.01), "a hop of 0.01 ms is 0"),
        (lambda: band_levels(torch.zeros(2, 1), 1.0), "floor is a share"),
        (lambda: threshold_crossing(torch.zeros(2, 1), 0), "thresholds must be >= 1"),
    ],
)
def test_what_is_out_of_range_is_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()
