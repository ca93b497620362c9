"""Transforms of weights: what a layer computes with, from what is trained.

A transform is registered as ``weight`` and made from a layer's number of outputs; it maps the raw
weight to one of the same shape. :func:`transform_weights` puts one on every convolution and linear
map of a model, by ``torch.nn.utils.parametrize``: ``layer.weight`` is then the transformed weight,
wherever it is read, and ``layer.parametrizations.weight.original`` the trained one.
"""

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from spikeloom.layers.double_exponential import PAPER
from spikeloom.registry import register

EPS = 1e-5


@register("weight", "standardised", paper=PAPER, status="exact")
class Standardised(nn.Module):
    """Weights of mean 0 and deviation 1 for each output, with a learnt scale and shift.

    w = gamma (raw - mean(raw)) / sqrt(var(raw) + 1e-5) + beta, mean and (unbiased) variance over
    all inputs of an output. ``beta`` is part of the weights and stands in for a bias: layers lose
    theirs. A weight that is assigned is scaled to the deviation that raw weights of that many
    inputs start with, 1/sqrt(3 inputs). How far a step of the optimizer turns it depends on that;
    the result does so through the 1e-5 alone, which makes it smaller by 1/sqrt(1 + 3e-5 inputs):
    1.5 % at 1,000 inputs, 13 % at 10,000.

    Args:
        channels: outputs of the layer.
    Shape:
        raw [C, *] -> [C, *]
    Source:
        As in the code of Zhu et al., NeurIPS 2023. Inferred: the deviation of raw weights, which is
        that of PyTorch's own layers.
    """

    replaces_bias: ClassVar[bool] = True

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(channels))
        self.beta = nn.Parameter(torch.zeros(channels))

    def right_inverse(self, weight: Tensor) -> Tensor:
        """Raw weights for a given weight, but for its mean and scale."""
        var, mean = torch.var_mean(self._rows(weight), 1)
        each = (-1, *[1] * (weight.dim() - 1))
        scale = torch.rsqrt(3 * weight[0].numel() * (var + EPS * var.mean()))
        return (weight - mean.view(each)) * scale.view(each)

    def forward(self, raw: Tensor) -> Tensor:
        var, mean = torch.var_mean(self._rows(raw), 1)
        each = (-1, *[1] * (raw.dim() - 1))
        scale = self.gamma * torch.rsqrt(var + EPS)
        return raw * scale.view(each) + (self.beta - mean * scale).view(each)

    @staticmethod
    def _rows(raw: Tensor) -> Tensor:
        rows = raw.flatten(1)
        if rows.shape[1] < 2:
            raise ValueError(
                f"standardised weights need two inputs for each output, got weights of shape "
                f"{tuple(raw.shape)}"
            )
        return rows


@register("weight", "none")
def untransformed(channels: int) -> None:
    """Weights as they are trained.

    Args:
        channels: outputs of the layer.
    """


def transform_weights(model: nn.Module, make: Callable[[int], nn.Module]) -> nn.Module:
    """Put a transform on the weight of every convolution and linear map of ``model``, in place.

    Args:
        model: its weights keep their values as raw ones; biases stay as they are, but for
            transforms that replace them.
        make: makes a transform from a layer's number of outputs.
    """
    maps = [module for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    for layer in maps:
        transform = make(layer.weight.shape[0]).to(layer.weight.device, layer.weight.dtype)
        parametrize.register_parametrization(layer, "weight", transform)
        if getattr(transform, "replaces_bias", False):
            layer.bias = None
    return model


def transform_of(layer: nn.Module) -> nn.Module | None:
    """The transform of a layer's weight; None if the weight itself is trained."""
    if not parametrize.is_parametrized(layer, "weight"):
        return None
    found: nn.Module = layer.parametrizations.weight[0]  # type: ignore[union-attr, index, assignment]
    return found
