"""Standardised weights: statistics, gradients, and models that are built with them."""

import copy

import pytest
import torch
from torch import nn

from spikeloom.deploy import infer
from spikeloom.layers import Place, Standardised, transform_of, transform_weights
from spikeloom.run.config import ConfigError, load
from spikeloom.run.task import network
from tests.small import IMAGE, small


def test_every_output_has_mean_beta_and_deviation_gamma():
    transform = Standardised(Place(nn.Linear(2, 4))).double()
    with torch.no_grad():
        transform.gamma.copy_(torch.tensor([1.0, 2.0, 0.5, 3.0]))
        transform.beta.copy_(torch.tensor([0.0, 1.0, -1.0, 0.2]))
    w = transform(3 * torch.randn(4, 5, 3, 3, dtype=torch.float64) + 7).flatten(1)
    torch.testing.assert_close(w.mean(1), transform.beta.detach())
    torch.testing.assert_close(w.std(1), transform.gamma.detach(), rtol=1e-5, atol=0)


def test_gradients_are_those_of_the_formula():
    transform = Standardised(Place(nn.Linear(2, 3))).double()
    raw = torch.randn(3, 4, 2, 2, dtype=torch.float64, requires_grad=True)
    values = (transform.gamma, transform.beta)
    assert torch.autograd.gradcheck(lambda raw, *_: transform(raw), (raw, *values))


def test_an_assigned_weight_gives_small_raw_ones_and_the_same_result():
    weight = 20 * torch.randn(6, 12)
    layer = nn.Linear(12, 6)
    with torch.no_grad():
        layer.weight.copy_(weight)
    transform_weights(layer, Standardised)
    raw = layer.parametrizations.weight.original
    torch.testing.assert_close(raw.std(1), torch.full((6,), 1 / 6.0), rtol=1e-3, atol=0)
    torch.testing.assert_close(
        layer.weight, Standardised(Place(layer))(weight), rtol=1e-3, atol=1e-3
    )


def test_all_convolutions_and_linear_maps_of_a_model_are_transformed():
    model = transform_weights(small("spiking_vgg5"), Standardised)
    maps = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(maps) == 5
    assert all(isinstance(transform_of(layer), Standardised) for layer in maps)
    assert transform_of(nn.Linear(2, 2)) is None


def test_a_transformed_model_is_copied_saved_and_packed():
    torch.manual_seed(0)
    model = transform_weights(small("spiking_vgg5"), Standardised).eval()
    x_seq = torch.rand(2, 3, *IMAGE)
    want = model(x_seq)
    other = transform_weights(small("spiking_vgg5"), Standardised).eval()
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(x_seq), want)
    assert torch.equal(copy.deepcopy(model)(x_seq), want)
    torch.testing.assert_close(infer(model, x_seq)(x_seq), want, rtol=1e-4, atol=1e-4)


def test_one_input_has_no_deviation():
    with pytest.raises(ValueError, match="two inputs for each output"):
        transform_weights(nn.Linear(1, 3), Standardised)


def test_beta_takes_the_place_of_a_bias():
    model = transform_weights(small("spiking_vgg5"), Standardised)
    maps = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert all(layer.bias is None for layer in maps)
    assert not [name for name in model.state_dict() if name.endswith("module.bias")]
    plain = small("spiking_vgg5").modules()
    assert any(isinstance(m, nn.Linear) and m.bias is not None for m in plain)


@pytest.mark.parametrize("inputs", [100, 1000, 10000])
def test_many_inputs_meet_the_small_number_in_the_root(inputs):
    torch.manual_seed(0)
    layer = transform_weights(nn.Linear(inputs, 4), Standardised)
    want = torch.full((4,), (1 + 3e-5 * inputs) ** -0.5)
    torch.testing.assert_close(layer.weight.std(1), want, rtol=1e-3, atol=0)


def test_none_leaves_a_network_as_it_is():
    plain, none = (
        network(load("digits_vgg", overrides), (1, 8, 8), 10)
        for overrides in ([], ["model.weight=none"])
    )
    assert plain.state_dict().keys() == none.state_dict().keys()
    with pytest.raises(ConfigError, match="deviation"):
        network(load("digits_vgg", ["model.weight={name='none',deviation=1}"]), (1, 8, 8), 10)
