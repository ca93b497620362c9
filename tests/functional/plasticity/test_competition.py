"""Neurons that keep one another quiet. Numbered items are those of the specification."""

import torch

from spikeloom.functional import exponential
from spikeloom.functional.plasticity import adapted, first_winners, inhibited, one_spike


def test_inhibition_spares_the_neuron_that_fired():
    v, spike = torch.zeros(2, 3), torch.tensor([[1.0, 0, 0], [0, 1, 1]])
    assert inhibited(v, spike, 2.0).tolist() == [[0, -2, -2], [-4, -2, -2]]


def test_item_8_at_most_one_neuron_fires_and_it_is_the_highest():
    v = torch.randn(40, 10)
    ready = torch.rand(40, 10) < 0.2
    spike = one_spike(v, ready)
    assert (spike.sum(1) == ready.any(1)).all()
    assert (spike.bool() <= ready).all()
    highest = torch.where(ready, v, -9.0).max(1).values
    assert torch.equal((spike * v).sum(1)[ready.any(1)], highest[ready.any(1)])
    assert one_spike(torch.ones(1, 3), torch.tensor([[False, True, True]])).tolist() == [[0, 1, 0]]


def test_item_8_without_inhibition_more_neurons_fire():
    drive = torch.rand(200, 1, 20) * 2
    counts = []
    for strength in (0.0, 3.0):
        v, spike, total = torch.zeros(1, 20), torch.zeros(1, 20), 0.0
        for x in drive:
            v = inhibited(0.9 * v + x, spike, strength)
            spike = (v > 5).float()
            v, total = v * (1 - spike), total + float(spike.sum())
        counts.append(total)
    assert counts[0] > 2 * counts[1] > 0


def test_first_winners_break_ties_by_potential_and_leave_out_the_silent():
    times = torch.tensor([[0.5, 0.2, 0.2, 1.0]])
    v = torch.tensor([[9.0, 1.0, 2.0, 9.0]])
    assert first_winners(times, v, 1, silent=1.0).tolist() == [[False, False, True, False]]
    assert first_winners(times, v, 4, silent=1.0).tolist() == [[True, True, True, False]]


def test_thresholds_rise_with_firing_and_fade():
    theta = adapted(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 0.0]), 0.05, exponential(10.0))
    torch.testing.assert_close(theta, torch.tensor([0.05, 0.904837]))
