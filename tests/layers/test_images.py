"""The image layers are torch's, with other things kept for the backward."""

import pytest
import torch
from torch import nn

from spikeloom.layers import Conv2d, MaxPool2d


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 3, "padding": 1},
        {"kernel_size": (3, 1), "stride": 2, "dilation": (1, 2), "groups": 2, "bias": False},
        {"kernel_size": 3, "padding": "same"},
        {"kernel_size": 3, "padding": 1, "padding_mode": "circular"},
    ],
)
def test_a_convolution_is_torchs(options):
    x = (torch.rand(2, 4, 33, 33) < 0.3).float()
    plain, ours = nn.Conv2d(4, 6, **options), Conv2d(4, 6, **options)
    ours.load_state_dict(plain.state_dict())
    assert torch.equal(ours(x), plain(x))
    assert torch.equal(ours(x[0]), plain(x[0]))
    ours(x).sum().backward()
    plain(x).sum().backward()
    assert torch.equal(ours.weight.grad, plain.weight.grad)


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 2},
        {"kernel_size": (3, 2), "stride": 2, "padding": 1},
        {"kernel_size": 2, "stride": 3, "ceil_mode": True},
        {"kernel_size": 2, "dilation": 2},
    ],
)
def test_a_pooling_is_torchs(options):
    x = torch.randn(2, 4, 9, 11)
    for given in (x, x.contiguous(memory_format=torch.channels_last), x[0]):
        assert torch.equal(MaxPool2d(**options)(given), nn.MaxPool2d(**options)(given))
    pooled, indices = MaxPool2d(**options, return_indices=True)(x)
    assert pooled.shape == indices.shape
