"""The one hook of a training method: a rule for all neurons, for the length of a ``with``."""

import pytest
import torch
from torch import nn

from spikeloom.layers import IF, LIF, OverTime, ruled
from spikeloom.layers.base import dynamics


def network():
    return nn.Sequential(OverTime(nn.Linear(3, 4)), LIF(), OverTime(nn.Linear(4, 2)), IF())


def silent(neuron, x_seq, state):
    return torch.zeros_like(x_seq), state


def test_a_rule_replaces_the_dynamics_of_every_neuron_inside_the_block():
    model, x_seq = network(), torch.full((3, 2, 3), 9.0)
    with ruled(model, silent) as neurons:
        assert neurons == [model[1], model[3]]
        assert not model(x_seq).any()
    assert all(neuron.rule is dynamics for neuron in neurons)


def test_forward_and_scan_follow_the_rule_and_trace_does_not():
    neuron, x_seq = LIF(), torch.full((3, 2, 3), 9.0)
    with ruled(neuron, silent):
        assert not neuron(x_seq).any()
        assert not neuron.scan(x_seq)[0].any()
        assert neuron.trace(x_seq).spike_seq.all()


def test_rules_are_restored_after_an_exception():
    model = network()
    with pytest.raises(RuntimeError, match="inside"), ruled(model, silent):
        raise RuntimeError("inside")
    assert all(neuron.rule is dynamics for neuron in (model[1], model[3]))


def test_blocks_nest_and_restore_what_was_there():
    model = network()

    def other(neuron, x_seq, state):
        return x_seq, state

    with ruled(model, silent):
        with ruled(model[1], other):
            assert model[1].rule is other
            assert model[3].rule is silent
        assert model[1].rule is silent


def test_a_rule_may_use_the_dynamics():
    model, x_seq = network(), torch.randn(3, 2, 3)
    seen = []

    def noting(neuron, x_seq, state):
        seen.append(neuron)
        return dynamics(neuron, x_seq, state)

    with ruled(model, noting):
        noted = model(x_seq)
    assert torch.equal(noted, model(x_seq))
    assert seen == [model[1], model[3]]
