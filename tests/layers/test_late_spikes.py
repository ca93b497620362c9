"""Spikes that are sent a step late."""

import pytest
import torch
from torch import nn

from spikeloom.layers import LIF, BatchNorm, OverTime, Stack, late_spikes, ruled
from spikeloom.layers.base import dynamics
from spikeloom.layers.late_spikes import arrivals


def fired():
    neuron, x_seq = LIF(tau=2.0), 3 * torch.rand(6, 4, 200)
    return neuron, x_seq, neuron(x_seq)


def test_nobody_is_late_without_delay():
    neuron, x_seq, spike_seq = fired()
    with ruled(neuron, late_spikes(0.0)):
        assert torch.equal(neuron(x_seq), spike_seq)


def test_with_certainty_everything_is_one_step_late():
    neuron, x_seq, spike_seq = fired()
    with ruled(neuron, late_spikes(1.0)):
        late = neuron(x_seq)
    assert torch.equal(late[1:], spike_seq[:-1])
    assert not late[0].any()
    assert neuron.rule is dynamics


def test_spikes_are_late_with_probability_p_and_none_is_lost_before_the_end():
    neuron, x_seq, spike_seq = fired()
    x_seq[-1] = -9.0  # silent in the last step, where late spikes would be lost
    spike_seq = neuron(x_seq)
    with ruled(neuron, late_spikes(0.3, generator=torch.Generator().manual_seed(0))):
        late = neuron(x_seq)
    torch.testing.assert_close(late.sum(0), spike_seq.sum(0))
    share = 1 - late[0].sum() / spike_seq[0].sum()
    assert share.item() == pytest.approx(0.3, abs=0.05)
    assert set(late.unique().tolist()) == {0.0, 1.0, 2.0}


def test_neurons_behind_a_norm_are_late_too():
    net, x_seq = Stack(BatchNorm(3), LIF(), OverTime(nn.Flatten())), torch.randn(4, 5, 3, 2, 2)
    net.eval()
    on_time = net(3 * x_seq)
    with ruled(net, late_spikes(1.0)):
        torch.testing.assert_close(net(3 * x_seq)[1:], on_time[:-1])


def test_the_same_generator_gives_the_same_delays():
    neuron, x_seq, _ = fired()
    runs = []
    for _ in range(2):
        with ruled(neuron, late_spikes(0.5, generator=torch.Generator().manual_seed(1))):
            runs.append(neuron(x_seq))
    assert torch.equal(*runs)


def test_p_is_a_probability():
    with pytest.raises(ValueError, match="probability"):
        late_spikes(1.5)


def test_what_arrives_and_what_is_lost_are_what_was_sent():
    spike_seq = (torch.rand(7, 3, 50) < 0.4).float()
    for p in (0.0, 0.3, 1.0):
        arriving, lost = arrivals(spike_seq, torch.rand(7, 3, 50) < p)
        torch.testing.assert_close(arriving.sum(0) + lost, spike_seq.sum(0))
        assert lost.sum() == {0.0: 0, 1.0: spike_seq[-1].sum()}.get(p, lost.sum())
