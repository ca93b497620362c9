"""Networks of 8-bit weights and numbers."""

import pytest
import torch
from torch import nn

from spikeloom.deploy.energy import quantised
from spikeloom.deploy.energy.quantise import rounded_weight
from spikeloom.layers import (
    LIF,
    BatchNorm,
    Linear,
    OverTime,
    RecurrentLIF,
    TokenMixing,
    transform_weights,
)
from spikeloom.layers.weights import Standardised
from tests.small import small


def test_a_weight_has_at_most_255_values_for_each_output() -> None:
    weight = torch.randn(4, 1000)
    rounded = rounded_weight(weight)
    for row, exact in zip(rounded, weight, strict=True):
        assert len(row.unique()) <= 255
        assert (row - exact).abs().max() <= exact.abs().max() / 254 * 1.0001
    assert torch.equal(rounded_weight(rounded), rounded)
    assert not rounded_weight(torch.zeros(2, 3)).any()


def test_folding_a_norm_first_rounds_the_same() -> None:
    weight, factor = torch.randn(4, 9), torch.tensor([0.5, -2.0, 4.0, 1.0])[:, None]
    assert torch.equal(rounded_weight(weight * factor), rounded_weight(weight) * factor)


def test_every_head_and_token_has_a_scale() -> None:
    weight = TokenMixing(4, 5, heads=2).weight.detach()
    rounded = rounded_weight(weight, 2)
    assert torch.equal(rounded.amax(2).maximum(-rounded.amin(2)), weight.abs().amax(2))


def test_numbers_are_rounded_and_clipped_and_spikes_are_not() -> None:
    model = nn.Sequential(OverTime(Linear(1, 1, bias=False)))
    nn.init.ones_(model.get_parameter("0.module.weight"))
    numbers = torch.tensor([0.1, 1.0]).view(1, 2, 1)
    found = quantised(model, [numbers])
    out = found(torch.tensor([0.499, 3.0]).view(1, 2, 1)).flatten().tolist()
    assert out == pytest.approx([127 / 255, 1.0], abs=1e-6)
    spikes = torch.tensor([0.0, 0.7]).view(1, 2, 1)
    out = quantised(model, [spikes])(spikes)
    assert torch.equal(out, spikes)


def test_the_network_itself_stays_and_its_answers_stay_close() -> None:
    model = small("spiking_vgg5", neurons="relu").eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    x_seq = torch.rand(1, 8, 3, 32, 32)
    twin = quantised(model, [x_seq])
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    with torch.no_grad():
        exact, rounded = model(x_seq), twin(x_seq)
    assert not torch.equal(exact, rounded)
    assert (exact - rounded).abs().max() < 0.05 * exact.abs().max()


def test_recurrent_and_transformed_weights_are_rounded_too() -> None:
    model = nn.Sequential(OverTime(Linear(6, 3)), BatchNorm(3), RecurrentLIF((3,)), LIF())
    transform_weights(model, Standardised)
    twin = quantised(model.eval(), [torch.rand(2, 2, 6)])
    for name in ("0.module.weight", "2.weight"):
        weight = twin.get_parameter(name)
        assert torch.equal(rounded_weight(weight), weight)
    assert not torch.equal(model[0].module.weight, twin[0].module.weight)  # type: ignore[index]
