"""What tells the three kinds of residual networks apart."""

import math
from functools import partial

import pytest
import torch
from torch import nn

from spikeloom.layers import LIF, BatchNorm, Neuron, ThresholdBatchNorm
from spikeloom.models import SpikingResNet
from spikeloom.models.residual import BLOCKS
from tests.small import IMAGE, norm, small

X = (4, 2, 3, 6, 6)


def block(kind, out=3, stride=1, norms="bn"):
    return BLOCKS[kind](3, out, stride, X[-2:], partial(LIF, tau=1.5), norm(norms))


def silenced(made):
    """The block with its last norm at zero: its body then puts out zero current."""
    last = [module for module in made.body if isinstance(module, BatchNorm)][-1]
    nn.init.zeros_(last.weight)
    return made


def spikes():
    return (torch.rand(X) < 0.4).float()


def test_a_silent_sew_block_is_the_identity_on_spikes():
    x_seq = spikes()
    assert torch.equal(silenced(block("sew"))(x_seq), x_seq)


def test_a_silent_membrane_block_is_the_identity_on_real_values():
    x_seq = torch.randn(X)
    assert torch.equal(silenced(block("membrane"))(x_seq), x_seq)


def test_a_silent_standard_block_is_its_neurons():
    x_seq = spikes()
    y_seq = silenced(block("standard"))(x_seq)
    assert torch.equal(y_seq, LIF(tau=1.5)(x_seq))
    assert not torch.equal(y_seq, x_seq)


@pytest.mark.parametrize(("out", "stride"), [(3, 1), (5, 1), (3, 2), (5, 2)])
def test_standard_blocks_fire_after_the_addition(out, stride):
    made, x_seq = block("standard", out, stride), spikes()
    current = made.body(x_seq) + made.shortcut(x_seq)
    assert torch.equal(made(x_seq), made.after(current))
    assert isinstance(made.after, LIF)
    assert set(made(x_seq).unique().tolist()) == {0.0, 1.0}
    assert not any(isinstance(module, Neuron) for module in made.shortcut)


@pytest.mark.parametrize(("out", "stride"), [(3, 1), (5, 1), (3, 2), (5, 2)])
def test_sew_blocks_add_spikes(out, stride):
    made, x_seq = block("sew", out, stride), spikes()
    body, shortcut = made.body(x_seq), made.shortcut(x_seq)
    assert set(body.unique().tolist()) == {0.0, 1.0}
    assert set(shortcut.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(made(x_seq), body + shortcut)
    assert made(x_seq).max() == 2


@pytest.mark.parametrize(("out", "stride"), [(3, 1), (5, 1), (3, 2), (5, 2)])
def test_membrane_blocks_carry_real_values_past_their_neurons(out, stride):
    made, x_seq = block("membrane", out, stride), torch.randn(X)
    assert isinstance(made.body[0], LIF)
    assert not any(isinstance(module, Neuron) for module in (*made.shortcut, made.after))
    y_seq = made(x_seq)
    assert torch.equal(y_seq, made.body(x_seq) + made.shortcut(x_seq))
    assert (y_seq != y_seq.round()).any()


@pytest.mark.parametrize("kind", BLOCKS)
@pytest.mark.parametrize(("out", "stride"), [(3, 1), (5, 1), (3, 2)])
def test_shortcuts_project_only_where_shapes_change(kind, out, stride):
    made = block(kind, out, stride)
    assert len(made.shortcut) == (0 if (out, stride) == (3, 1) else 3 if kind == "sew" else 2)
    assert made(spikes()).shape == (4, 2, out, 6 // stride, 6 // stride)


def test_only_standard_blocks_halve_the_power_of_threshold_norms_that_add_up():
    def scales(kind):
        made = block(kind, out=5, norms="tdbn")
        return [m.scale for m in made.modules() if isinstance(m, ThresholdBatchNorm)]

    half = math.sqrt(0.5)
    assert scales("standard") == pytest.approx([1.0, half, half])
    assert scales("sew") == scales("membrane") == [1.0, 1.0, 1.0]


def test_stages_of_the_three_networks_carry_spikes_integers_and_real_values():
    for residual in ("standard", "sew", "membrane"):
        model, seen = small("spiking_resnet18", residual=residual, neurons="if"), []
        for stage in model.stages:
            stage.register_forward_hook(lambda module, x, y, seen=seen: seen.append(y))
        model(3 * torch.rand(4, 2, *IMAGE))
        first, last = seen[0], seen[-1]
        whole = all(torch.equal(y, y.round()) for y in seen)
        assert whole == (residual != "membrane")
        assert (first.max() == 1) == (residual == "standard")
        assert isinstance(model.head[0], Neuron) == (residual == "membrane")
        assert last.shape[-2:] == (4, 4)


@pytest.mark.parametrize("residual", BLOCKS)
@pytest.mark.parametrize(("stem", "side"), [("cifar", 16), ("imagenet", 4)])
def test_the_stem_sets_the_size_of_the_first_stage(residual, stem, side):
    model = small("spiking_resnet34", in_shape=(2, 16, 16), stem=stem, residual=residual)
    made = model.stem(torch.rand(2, 2, 2, 16, 16))
    assert made.shape[2:] == (4, side, side)
    assert model(torch.rand(2, 2, 2, 16, 16)).shape == (2, 2, 5)


@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
@pytest.mark.parametrize("residual", BLOCKS)
@pytest.mark.parametrize("side", [17, 30])
def test_neurons_with_values_of_their_own_fit_odd_images(side, residual, stem):
    model = SpikingResNet(
        (4, 6, 8), (1, 2, 1), in_shape=(1, side, side), num_classes=2, residual=residual, stem=stem,
        neuron=partial(LIF, per="neuron"), norm=BatchNorm,
    )  # fmt: skip
    assert model(torch.rand(2, 2, 1, side, side)).shape == (2, 2, 2)


def test_resnet19_has_a_hidden_layer_of_256():
    head = small("spiking_resnet19", width=1.0, residual="sew").head
    assert [m.out_features for m in head.modules() if isinstance(m, nn.Linear)] == [256, 5]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"residual": "swe"}, "unknown residual 'swe'. Did you mean 'sew'"),
        ({"stem": "cifar100"}, "unknown stem 'cifar100'. Did you mean 'cifar'"),
    ],
)
def test_unknown_kinds_are_refused_with_the_nearest(arguments, message):
    with pytest.raises(ValueError, match=message):
        small("spiking_resnet20", **arguments)
