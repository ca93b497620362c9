"""A head stands in place of the last linear layers of any model."""

from functools import partial

import pytest
import torch
from torch import nn

from spikeloom.layers import LI, Dropout, LTMDHead
from spikeloom.models.parts import last_layer
from spikeloom.registry import entries, find
from tests.small import CLASSES, IMAGE, STEPS, small

# A file is no family; fits of functions, per-synapse decays and networks without gradients have no
# layers that heads replace.
OTHERS = ("nir", "graded_mlp", "nerf", "hetsyn_mlp", "first_spike", "ei_network", "diehl_cook")
MODELS = [e.name for e in entries("model") if e.name not in OTHERS]
HEADS = [entry.name for entry in entries("head")]


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("name", MODELS)
def test_every_model_takes_every_head(name, head):
    blocks = {"blocks": (1, 1, 1)} if "densenet" in name else {}
    model = small(name, head=find("head", head).build, **blocks)
    x_seq = torch.rand(STEPS, 3, *IMAGE)
    logits_seq = model.eval()(x_seq)
    assert logits_seq.shape == (STEPS, 3, CLASSES)
    assert logits_seq.isfinite().all()
    assert model.train()(x_seq).shape[1] % 3 == 0


@pytest.mark.parametrize("name", ["spiking_vgg9", "spiking_vgg16", "spiking_resnet19"])
def test_it_replaces_the_hidden_linear_layers(name):
    model = small(name, head=partial(LTMDHead, hidden=11))
    linear = [m.out_features for m in model.modules() if isinstance(m, nn.Linear)]
    assert linear == [11, CLASSES]


def test_a_network_of_linear_layers_keeps_them():
    model = small("spiking_mlp", hidden=(32, 16), width=1.0, head=partial(LTMDHead, hidden=11))
    linear = [m.out_features for m in model.modules() if isinstance(m, nn.Linear)]
    assert linear == [32, 16, 11, CLASSES]


@pytest.mark.parametrize("name", ["spiking_vgg5", "spiking_mlp"])
def test_heads_keep_the_weights_they_start_with(name):
    model = small(name, width=1.0, head=partial(LTMDHead, hidden=400))
    *_, first, last = (m for m in model.modules() if isinstance(m, nn.Linear))
    for linear in (first, last):
        bound = linear.in_features**-0.5
        assert linear.weight.abs().max() <= bound
        assert linear.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.1)
        assert not linear.bias.any()
    if name == "spiking_mlp":
        hidden = next(m for m in model.modules() if isinstance(m, nn.Linear))
        assert hidden.weight.std().item() == pytest.approx((2 / 3072) ** 0.5, rel=0.02)


def test_what_a_head_replaces_cannot_be_given_with_it():
    with pytest.raises(ValueError, match="readout or head, not both"):
        last_layer(4, 2, LI, LTMDHead)
    with pytest.raises(ValueError, match="head replaces them"):
        small("spiking_vgg5", head=LTMDHead, dropout=0.5)
    assert any(isinstance(m, Dropout) for m in small("spiking_vgg5", dropout=0.5).modules())
