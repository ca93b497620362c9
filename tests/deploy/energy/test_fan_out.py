"""The fan-out of layers against all of their weights, one by one."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from spikeloom.deploy.energy.fan_out import fan_out, windows
from spikeloom.layers import Conv2d, Linear, TokenMixing, transform_weights
from spikeloom.layers.weights import Standardised


def one_by_one(layer: nn.Module, shape: tuple[int, ...]) -> Tensor:
    """How many outputs change with each input."""
    x = torch.zeros(1, *shape)
    jacobian: Any = torch.autograd.functional.jacobian(layer, x)  # type: ignore[no-untyped-call]
    outputs = jacobian.dim() - x.dim()
    return (jacobian != 0).flatten(0, outputs - 1).sum(0)[0].double()


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (Linear(5, 3), (5,)),
        (Conv2d(2, 4, 3, padding=1), (2, 5, 6)),
        (Conv2d(2, 4, 3, stride=2, padding=1), (2, 6, 5)),
        (Conv2d(4, 4, 3, padding=2, dilation=2, groups=2), (4, 5, 5)),
        (nn.Conv2d(2, 3, 3, padding="same"), (2, 4, 4)),
        (nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"), (2, 4, 4)),
        (nn.Conv1d(1, 1, 5, padding=2), (1, 7)),
        (nn.Conv3d(1, 2, 2), (1, 3, 3, 3)),
        (TokenMixing(4, 6, heads=2), (4, 2, 3)),
    ],
)
@pytest.mark.parametrize("pruned", [False, True])
def test_fan_out_is_the_number_of_outputs_that_an_input_moves(
    layer: nn.Module, shape: tuple[int, ...], pruned: bool
) -> None:
    if pruned:
        with torch.no_grad():
            weight = layer.get_parameter("weight")
            weight.mul_(torch.rand_like(weight) > 0.5)
    assert torch.equal(fan_out(layer, shape), one_by_one(layer, shape))


def test_weights_that_are_zero_count_if_every_one_does() -> None:
    layer = Conv2d(2, 4, 3, padding=1)
    full = fan_out(layer, (2, 5, 5))
    nn.init.zeros_(layer.weight)
    assert not fan_out(layer, (2, 5, 5)).any()
    assert torch.equal(fan_out(layer, (2, 5, 5), every=True), full)


def test_transformed_weights_are_those_that_count() -> None:
    layer = transform_weights(nn.Sequential(Conv2d(1, 2, 2)), Standardised)[0]  # type: ignore[index]
    assert torch.equal(fan_out(layer, (1, 3, 3)), one_by_one(layer, (1, 3, 3)))
    assert hasattr(layer, "parametrizations")
    assert layer.weight.shape == (2, 1, 2, 2)


@pytest.mark.parametrize(
    "layer",
    [
        nn.AvgPool2d(2),
        nn.AvgPool2d(3, 2, 1),
        nn.AvgPool2d(2, ceil_mode=True),
        nn.AvgPool2d(3, 2, 1, ceil_mode=True),
        nn.AvgPool2d((1, 2)),
        nn.AdaptiveAvgPool2d(1),
        nn.AdaptiveAvgPool2d((2, 3)),
        nn.AdaptiveAvgPool2d((None, 2)),
    ],
)
@pytest.mark.parametrize("size", [(5, 5), (4, 7)])
def test_a_place_counts_once_for_each_window(layer: nn.Module, size: tuple[int, int]) -> None:
    shape = (1, *size)
    assert torch.equal(windows(layer, shape), one_by_one(layer, shape))


def test_windows_of_maxima_are_those_of_averages() -> None:
    for arguments in ((2,), (3, 2, 1)):
        pools = nn.MaxPool2d(*arguments), nn.AvgPool2d(*arguments)
        assert torch.equal(*(windows(pool, (2, 5, 6)) for pool in pools))
    assert windows(nn.MaxPool2d(2, 1, dilation=2), (1, 3, 3)).tolist() == [
        [[1, 0, 1], [0, 0, 0], [1, 0, 1]]
    ]
