"""Levels 0, 1, 2 sent as -1, 0, 1: the same network, with the sums of weights in its biases."""

import pytest
import torch
from torch import nn

from spikeloom.deploy import signed
from spikeloom.functional import factor
from spikeloom.layers import (
    BatchNorm,
    Conv2d,
    Linear,
    MaxPool2d,
    NoNorm,
    OverTime,
    ShiftedTernaryLIF,
    TernaryLIF,
    transform_weights,
)
from spikeloom.layers.binary import binary
from spikeloom.models import SpikingMLP, SpikingResNet, SpikingVGG
from spikeloom.registry import Unsupported


def neuron(shape=None):
    return TernaryLIF(decay=factor(0.25), v_threshold=0.5)


def same(model, x_seq):
    """The network and its shifted twin, checked to compute the same."""
    twin = signed(model, x_seq)
    with torch.no_grad():
        want, got = model.eval()(x_seq), twin(x_seq)
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5 * float(want.abs().max()))
    return twin


def test_fully_connected_networks_compute_the_same():
    model = SpikingMLP((40, 30), in_shape=(1, 5, 5), num_classes=3, neuron=neuron, norm=NoNorm)
    x_seq = 2 * torch.randn(4, 20, 1, 5, 5)
    twin = same(model, x_seq)
    with torch.no_grad():
        spikes = twin.stages[0](twin.flatten(x_seq))
    assert spikes.unique().tolist() == [-1, 0, 1]


def test_the_added_bias_is_the_row_sums_over_spikes():
    model = SpikingMLP((40, 30), in_shape=(25,), num_classes=3, neuron=neuron, norm=NoNorm)
    twin = signed(model, torch.randn(4, 2, 25))
    own = {n: m for n, m in model.named_modules() if isinstance(m, nn.Linear)}
    for (name, before), place in zip(own.items(), (0, 1, 2), strict=True):
        after = twin.get_submodule(name)
        if place == 0:  # reads the real input
            assert after.bias is None
            continue
        bias = 0 if before.bias is None else before.bias
        torch.testing.assert_close(after.bias, bias + before.weight.sum(1))


@pytest.mark.parametrize("stride", [1, 2])
def test_zero_padding_becomes_what_a_silent_neuron_sends(stride):
    model = nn.Sequential(
        OverTime(Conv2d(2, 6, 3, padding=1)), neuron(), OverTime(MaxPool2d(2)),
        OverTime(Conv2d(6, 5, 3, stride, padding=(2, 1), bias=False)), BatchNorm(5), neuron(),
        OverTime(nn.Flatten()), OverTime(Linear({1: 120, 2: 30}[stride], 3)),
    )  # fmt: skip
    x_seq = 3 * torch.randn(3, 4, 2, 8, 8)
    twin = same(model, x_seq)
    pad, conv = twin[3].module
    assert (pad.value, conv.padding) == (-1.0, (0, 0))


def test_networks_of_convolutions_compute_the_same():
    model = SpikingVGG(
        (8, "P", 12, "P"), (16,), in_shape=(2, 8, 8), num_classes=3, neuron=neuron,
        norm=BatchNorm, pool="max",
    )  # fmt: skip
    x_seq = torch.randn(4, 8, 2, 8, 8)
    model.train()(x_seq)  # statistics that are not those of a new norm
    same(model, x_seq)


def test_weights_that_are_transformed_become_what_they_are():
    model = SpikingMLP((40, 30), in_shape=(25,), num_classes=3, neuron=neuron, norm=NoNorm)
    transform_weights(model, lambda place: binary(place, keep=()))
    same(model, 3 * torch.randn(4, 2, 25))


def test_the_model_stays_as_it_is():
    model = SpikingMLP((40,), in_shape=(25,), num_classes=3, neuron=neuron, norm=NoNorm)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    twin = signed(model, torch.randn(2, 2, 25))
    assert not any(isinstance(module, ShiftedTernaryLIF) for module in model.modules())
    assert any(isinstance(module, ShiftedTernaryLIF) for module in twin.modules())
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())


def average(channels=6):
    return nn.Sequential(OverTime(Conv2d(2, channels, 3)), neuron(), OverTime(nn.AvgPool2d(2)))


class Added(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.neuron = OverTime(Linear(5, 5)), neuron()

    def forward(self, x_seq):
        return self.neuron(self.first(x_seq)) + 1.0


@pytest.mark.parametrize(
    ("model", "shape", "message"),
    [
        (nn.Sequential(OverTime(Linear(5, 5)), nn.ReLU()), (5,), "no neurons with levels"),
        (nn.Sequential(OverTime(Linear(5, 5)), neuron()), (5,), "puts out spikes"),
        (average(), (2, 8, 8), "AvgPool2d"),
        (Added(), (5,), "add"),
        (
            nn.Sequential(
                OverTime(Conv2d(2, 2, 3)), neuron(),
                OverTime(Conv2d(2, 2, 3, padding=1, padding_mode="reflect")),
            ),
            (2, 8, 8),
            "pads with reflect",
        ),
    ],
)  # fmt: skip
def test_what_has_no_exact_twin_is_refused(model, shape, message):
    with pytest.raises(Unsupported, match=message):
        signed(model, torch.randn(2, 3, *shape))


def test_a_map_that_also_reads_numbers_is_refused():
    shared = OverTime(Linear(5, 5))
    with pytest.raises(Unsupported, match="one bias for both"):
        signed(nn.Sequential(shared, neuron(), shared), torch.randn(2, 3, 5))


def test_sums_of_spikes_behind_shortcuts_are_refused():
    model = SpikingResNet(
        (8, 8), (1, 1), in_shape=(2, 8, 8), num_classes=3, neuron=neuron, norm=BatchNorm
    )
    with pytest.raises(Unsupported):
        signed(model, torch.randn(2, 3, 2, 8, 8))
