"""Fully connected spiking networks."""

import torch
from torch import nn

from spikeloom.layers import LIF, Dropout, NoNorm
from spikeloom.models import SpikingMLP


def tiny(**arguments):
    return SpikingMLP(num_classes=3, neuron=LIF, norm=NoNorm, **arguments)


def test_samples_of_any_rank_are_flattened():
    for in_shape in [(12,), (3, 4), (1, 3, 2, 2)]:
        assert tiny(in_shape=in_shape)(torch.rand(4, 2, *in_shape)).shape == (4, 2, 3)


def test_equals_its_layers_by_hand():
    model, x_seq = tiny(in_shape=(2, 3), hidden=(5,)), torch.rand(4, 2, 2, 3)
    first, last = (m for m in model.modules() if isinstance(m, nn.Linear))
    expected = last(LIF()(first(x_seq.flatten(2))))
    torch.testing.assert_close(model(x_seq), expected)


def test_hidden_widths_are_scaled():
    assert tiny(in_shape=(4,), hidden=(10, 20), width=0.5).stage_channels == (5, 10)


def test_without_hidden_layers_it_is_linear():
    model = tiny(in_shape=(4,), hidden=())
    assert [tuple(p.shape) for p in model.parameters()] == [(3, 4), (3,)]
    assert model(torch.rand(2, 2, 4)).shape == (2, 2, 3)


def test_dropout_stands_before_every_hidden_layer():
    model = tiny(in_shape=(4,), hidden=(5, 6), dropout=0.2)
    assert all(isinstance(stage[0], Dropout) for stage in model.stages)
