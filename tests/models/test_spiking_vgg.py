"""Plans, poolings and names of spiking VGG networks."""

from functools import partial

import pytest
import torch

from spikeloom.layers import LIF, BatchNorm, Dropout
from spikeloom.models import SpikingVGG
from tests.small import small


def tiny(channels=(4, "P", 6, 8, "P"), hidden=(10,), *, side=8, **arguments):
    return SpikingVGG(
        channels, hidden, in_shape=(1, side, side), num_classes=3,
        neuron=partial(LIF, per="neuron"), norm=BatchNorm, **arguments,
    )  # fmt: skip


def test_names_of_weights_stay():
    names = [name for name, _ in small("spiking_vgg5", dropout=0.1).named_parameters()]
    conv = [f"features.{i}.{part}" for i in (0, 4, 7) for part in ("module.weight",)]
    assert [name for name in names if name.endswith("features.0.module.weight")]
    assert [name for name in names if "features" in name and "module" in name] == conv
    assert [name for name in names if "classifier" in name] == [
        "classifier.2.module.weight",
        "classifier.3.weight",
        "classifier.3.bias",
        "classifier.5.module.weight",
        "classifier.5.module.bias",
    ]


@pytest.mark.parametrize("pool", ["average", "max", "strided"])
@pytest.mark.parametrize("side", [4, 8, 9, 11])
def test_every_pooling_halves_images_of_any_size(pool, side):
    assert tiny(side=side, pool=pool)(torch.rand(2, 3, 1, side, side)).shape == (2, 3, 3)


def test_strided_networks_have_no_pooling_and_stride_where_it_was():
    model = tiny(pool="strided")
    strides = [layer.module.stride for layer in model.features if hasattr(layer, "module")]
    assert strides == [(2, 2), (1, 1), (2, 2)]


@pytest.mark.parametrize("pool", ["average", "strided"])
def test_stages_end_with_the_poolings_and_make_up_the_features(pool):
    model = tiny((4, "P", 6, 8, "P", 5), pool=pool).eval()
    assert model.stage_channels == (4, 8, 5)
    x_seq = y_seq = torch.rand(2, 3, 1, 8, 8)
    for stage in model.stages:
        y_seq = stage(y_seq)
    assert torch.equal(y_seq, model.features(x_seq))


@pytest.mark.parametrize("pool", ["average", "max", "strided"])
def test_images_too_small_for_the_poolings_are_refused(pool):
    with pytest.raises(ValueError, match="3 x 3 is too small"):
        tiny(side=3, pool=pool)


def test_unknown_poolings_are_refused_with_the_nearest():
    with pytest.raises(ValueError, match=r"unknown pool 'avarage'\. Did you mean 'average'"):
        tiny(pool="avarage")


def test_dropout_stands_before_every_hidden_layer():
    model = tiny(hidden=(10, 12), dropout=0.3)
    assert [i for i, m in enumerate(model.classifier) if isinstance(m, Dropout)] == [1, 5]


def test_width_scales_every_layer_but_the_last():
    model = tiny((8, "P", 12, "P"), (20,), width=0.5)
    shapes = [tuple(p.shape) for p in model.parameters() if p.dim() > 1]
    assert shapes == [(4, 1, 3, 3), (6, 4, 3, 3), (10, 24), (3, 10)]


def test_weights_start_with_the_spread_of_kaiming():
    model = small("spiking_vgg9", width=1.0)
    conv, linear = model.features[3].module.weight, model.classifier[1].module.weight
    assert conv.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.02)
    assert linear.std().item() == pytest.approx((2 / linear.shape[1]) ** 0.5, rel=0.02)


def test_a_plan_gives_the_published_strides_and_widths():
    plan = (64, 128, "P", 256, 256, "P", 512, 512, "P", 512, 512, "P")
    model = small("spiking_vgg", plan=plan, hidden=(512, 512), pool="strided", width=1)
    maps = [layer.module for layer in model.features if hasattr(layer, "module")]
    assert [(conv.out_channels, conv.stride[0]) for conv in maps] == [
        (64, 1), (128, 2), (256, 1), (256, 2), (512, 1), (512, 2), (512, 1), (512, 2)
    ]  # fmt: skip
    assert model.classifier[1].module.in_features == 2048
