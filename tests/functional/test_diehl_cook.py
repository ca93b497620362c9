"""Presentations to competing neurons, by hand. Items are those of the specification."""

import math
from dataclasses import replace

import pytest
import torch

from spikeloom.functional.diehl_cook import Competing, Learning, normalised_in_order, shown
from spikeloom.functional.hashed import drawn, uniform
from spikeloom.functional.plasticity import Bounds, PairSTDP, normalised

STILL = Competing(rate=1000.0, inhibition=0.0, one_spike=False, theta_step=0.0)
ONE = torch.ones(1, 1)


def counts(x, w, T, cells=STILL, theta=None, learning=None):
    theta = torch.zeros(len(w)) if theta is None else theta
    return shown(x, w, theta, T, 3, cells, learning)


def test_a_neuron_charges_fires_and_rests():
    """At 1000 Hz and 1 ms an input of 1 fires at every step: v = -65 + 5 (1 - k^n) / (1 - k)."""
    keep, v, n = math.exp(-1 / 100), 0.0, 0
    while v < 13:
        v, n = keep * v + 5, n + 1
    w = torch.full((1, 1), 5.0)
    assert counts(ONE, w, n - 1).counts.tolist() == [[0]]
    assert counts(ONE, w, n).counts.tolist() == [[1]]
    again = 0  # from the reset, five above rest, and five steps without input
    v = 5.0 * keep**5
    while v < 13:
        v, again = keep * v + 5, again + 1
    assert counts(ONE, w, n + 5 + again - 1).counts.tolist() == [[1]]
    assert counts(ONE, w, n + 5 + again).counts.tolist() == [[2]]


def test_a_threshold_that_has_risen_asks_for_more():
    w = torch.full((2, 1), 14.0)
    found = counts(ONE, w, 1, theta=torch.tensor([0.0, 2.0]))
    assert found.counts.tolist() == [[1, 0]]


def test_theta_rises_with_spikes_in_training_only():
    w, cells = torch.full((1, 1), 14.0), replace(STILL, theta_step=0.5)
    free = Learning(PairSTDP(a_plus=0.0, a_minus=0.0, bounds=Bounds(0, 99)), total=0)
    assert counts(ONE, w, 1, cells, learning=free).theta.tolist() == [0.5]
    assert counts(ONE, w, 1, cells).theta.tolist() == [0.0]


def test_item_8_inhibition_and_one_spike_a_step():
    w = torch.full((3, 1), 14.0)
    w[1] = 15.0
    alone = replace(STILL, one_spike=True, inhibition=120.0)
    assert counts(ONE, w, 1).counts.tolist() == [[1, 1, 1]]
    assert counts(ONE, w, 1, alone).counts.tolist() == [[0, 1, 0]]
    free, held = (
        counts(torch.rand(4, 20), 0.5 * torch.rand(10, 20), 60, replace(STILL, inhibition=g))
        for g in (0.0, 40.0)
    )
    assert free.counts.sum() > 2 * held.counts.sum() > 0


def test_item_9_inputs_fire_at_their_rate_and_zero_is_silent():
    T, place = 4000, torch.arange(3)
    p = torch.tensor([0.0, 0.05, 0.4])
    spikes = torch.stack([uniform(drawn(5, 0, 0, t, place)) < p for t in range(T)])
    rate = spikes.float().mean(0)
    assert rate[0] == 0
    for k in (1, 2):
        assert abs(rate[k] - p[k]) < 3 * math.sqrt(p[k] * (1 - p[k]) / T)


def test_item_7_weights_into_a_neuron_add_up_before_every_sample():
    w = normalised_in_order(torch.rand(30, 784), 78.4)
    torch.testing.assert_close(w.double().sum(1), torch.full((30,), 78.4).double())
    torch.testing.assert_close(w, normalised(w, 78.4))
    still = PairSTDP(a_plus=0.0, a_minus=0.0, bounds=Bounds(0, 99))
    found = counts(torch.zeros(2, 784), w * 3, 2, learning=Learning(still, 78.4))
    torch.testing.assert_close(found.w.double().sum(1), torch.full((30,), 78.4).double())


def test_learning_is_online_and_frozen_weights_stay():
    x, w = torch.rand(4, 30), torch.rand(5, 30)
    learning = Learning(total=5.0)
    cells = Competing(rate=300.0, inhibition=20.0)
    whole = counts(x, w, 40, cells, learning=learning)
    assert not torch.equal(whole.w, w)
    assert torch.equal(counts(x, w, 40, cells).w, w)
    first = shown(x[:1], w, torch.zeros(5), 40, 3, cells, learning)
    assert torch.equal(first.counts[0], whole.counts[0])
    assert not torch.equal(first.w, whole.w)


def test_dim_samples_are_shown_again_and_brighter():
    cells = replace(STILL, rate=100.0, least=3, most=8)
    x, w = torch.full((1, 40), 0.3), torch.full((2, 40), 0.6)
    assert counts(x, w, 30, replace(cells, least=0)).counts.sum() < 3
    bright = counts(x, w, 30, cells).counts.sum()
    assert bright >= 3
    assert counts(x, w, 30, replace(cells, least=1000)).counts.sum() >= bright


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"tau": 0.0}, "tau must be > 0"),
        ({"refractory": -1}, "must be >= 0"),
        ({"most": 0}, "most >= 1"),
        ({"v_threshold": -66.0}, "would fire at rest"),
    ],
)
def test_neurons_out_of_range_are_refused(options, reason):
    with pytest.raises(ValueError, match=reason):
        Competing(**options)


@pytest.mark.parametrize(
    ("x", "T", "reason"),
    [
        (torch.full((1, 3), 2.0), 1, 'encoder = "intensity"'),
        (torch.rand(1, 4), 1, "do not fit"),
        (torch.rand(1, 3), 0, "T >= 1"),
    ],
)
def test_samples_that_cannot_be_shown_are_refused(x, T, reason):
    with pytest.raises(ValueError, match=reason):
        counts(x, torch.rand(2, 3), T)
