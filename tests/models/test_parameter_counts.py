"""Numbers of parameters at full width, derived layer by layer."""

from itertools import pairwise

import pytest
import torch

from tests.small import small


def conv(c, out, kernel=3):
    """A convolution without bias and its norm's weight and bias."""
    return c * out * kernel**2 + 2 * out


def hidden(n, out):
    """A hidden linear layer without bias, and its norm."""
    return n * out + 2 * out


def readout(n, classes):
    return n * classes + classes


def resnet(channels, blocks, first, last):
    """First convolution, blocks of two with a 1x1 projection where the width grows, last layers."""
    count, c = first, channels[0]
    for out, number in zip(channels, blocks, strict=True):
        count += conv(c, out) + (2 * number - 1) * conv(out, out)
        count += conv(c, out, kernel=1) if c != out else 0
        c = out
    return count + last


def vgg(channels, side, classes):
    convs = sum(conv(c, out) for c, out in pairwise((3, *channels)))
    return convs + hidden(512 * side**2, 512) + hidden(512, 512) + readout(512, classes)


CIFAR18 = resnet((64, 128, 256, 512), (2, 2, 2, 2), conv(3, 64), readout(512, 10))
IMAGENET18 = resnet((64, 128, 256, 512), (2, 2, 2, 2), conv(3, 64, 7), readout(512, 1000))
IMAGENET34 = resnet((64, 128, 256, 512), (3, 4, 6, 3), conv(3, 64, 7), readout(512, 1000))
VGG16 = (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("spiking_vgg11", {}, vgg((64, 128, 256, 256, 512, 512, 512, 512), 1, 10)),
        ("spiking_vgg16", {}, vgg(VGG16, 1, 10)),
        ("spiking_vgg16", {"in_shape": (3, 64, 64)}, vgg(VGG16, 2, 10)),
        ("spiking_resnet18", {}, CIFAR18),
        (
            "spiking_resnet19",
            {},
            resnet((128, 256, 512), (3, 3, 2), conv(3, 128), hidden(512, 256) + readout(256, 10)),
        ),
        (
            "spiking_resnet20",
            {},
            resnet((16, 32, 64), (3, 3, 3), conv(3, 16), readout(64, 10)),
        ),
        (
            "spiking_resnet34",
            {"stem": "imagenet", "in_shape": (3, 224, 224), "num_classes": 1000},
            IMAGENET34,
        ),
        ("spiking_mlp", {}, hidden(3072, 256) + readout(256, 10)),
    ],
)
@pytest.mark.parametrize("neurons", ["lif", "relu"])
def test_full_width_counts_follow_from_the_layers(name, arguments, expected, neurons):
    arguments = {"num_classes": 10, "width": 1.0} | arguments
    with torch.device("meta"):
        model = small(name, neurons=neurons, **arguments)
    assert sum(p.numel() for p in model.parameters()) == expected


@pytest.mark.parametrize("residual", ["standard", "sew", "membrane"])
def test_the_residual_kinds_have_the_same_parameters(residual):
    arguments = {"num_classes": 10, "width": 1.0, "residual": residual}
    with torch.device("meta"):
        model = small("spiking_resnet18", **arguments)
    assert sum(p.numel() for p in model.parameters()) == CIFAR18


def test_counts_agree_with_the_published_residual_networks():
    assert (IMAGENET18, IMAGENET34) == (11_689_512, 21_797_672)  # as torchvision lists them
