"""Densely connected networks: sizes, order, and the count that LTMD's specification gives."""

import pytest
import torch
from torch import nn

from spikeloom.layers import LTMD, LTMDHead, Neuron, OverTime
from tests.small import CLASSES, small

SHORT = {"blocks": (2, 1, 2), "width": 1 / 8}


def full(neurons, **arguments):
    with torch.device("meta"):
        return small("spiking_densenet_bc", neurons=neurons, width=1.0, num_classes=10, **arguments)


def test_the_published_network_has_its_parameters_and_thresholds():
    model = full("ltmd", head=LTMDHead)
    named = dict(model.named_parameters())
    thresholds = [p for name, p in named.items() if name.endswith("v_threshold.raw")]
    assert len(thresholds) == sum(p.numel() for p in thresholds) == 102
    assert sum(p.numel() for p in named.values()) - 102 == 6_820_180
    assert sum(isinstance(module, LTMD) for module in model.modules()) == 100
    assert sum(p.requires_grad for p in thresholds) == 100


def test_the_published_network_has_these_channels():
    model = full("lif")
    assert model.stage_channels == (640, 704, 1120)
    assert [len(stage) for stage in model.stages] == [12, 4 + 12, 4 + 24]
    twin = full("relu")
    shapes = [{key: p.shape for key, p in net.state_dict().items()} for net in (model, twin)]
    assert shapes[0] == shapes[1]
    assert not any(isinstance(module, Neuron) for module in twin.modules())


def test_every_convolution_but_the_first_comes_after_neurons():
    model = small("spiking_densenet_bc", **SHORT)
    leaves = [
        m
        for m in model.modules()
        if isinstance(m, Neuron) or (isinstance(m, OverTime) and isinstance(m.module, nn.Conv2d))
    ]
    first, *rest = leaves
    assert isinstance(first, OverTime)
    assert [isinstance(m, Neuron) for m in rest] == [True, False] * (len(rest) // 2) + [True]


def test_a_dense_layer_keeps_what_it_read():
    model, seen = small("spiking_densenet_bc", **SHORT), []
    layer = model.stages[0][1]
    layer.register_forward_hook(lambda module, x, y: seen.append((x[0], y)))
    model(torch.rand(2, 3, 3, 32, 32))
    ((x_seq, y_seq),) = seen
    c = x_seq.shape[2]
    assert y_seq.shape[2] == c + 4
    assert torch.equal(y_seq[:, :, :c], x_seq)
    assert torch.equal(y_seq[:, :, c:], layer.body(x_seq))


def test_options_set_the_widths():
    model = small(
        "spiking_densenet_bc", width=0.5, blocks=(1, 2), growth=8, bottleneck=2, compression=0.25,
        stem=32,
    )  # fmt: skip
    assert model.stage_channels == (16 + 4, 5 + 8)
    between = model.stages[0][0].body[2].module
    assert between.out_channels == 2 * 4


def test_odd_images_pass():
    model = small("spiking_densenet_bc", in_shape=(1, 19, 27), **SHORT)
    assert model(torch.rand(2, 2, 1, 19, 27)).shape == (2, 2, CLASSES)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"in_shape": (3, 6, 32)}, "too small for the 2 transitions"),
        ({"blocks": ()}, "must be >= 1"),
        ({"blocks": (1, 0)}, "must be >= 1"),
        ({"growth": 0}, "must be >= 1"),
        ({"compression": 0.0}, r"compression must be in \(0, 1\]"),
    ],
)
def test_impossible_networks_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        small("spiking_densenet_bc", **arguments)
