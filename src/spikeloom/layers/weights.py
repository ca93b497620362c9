"""Transforms of weights: what a layer computes with, from what is trained.

A transform is registered as ``weight`` and made for a :class:`Place`, a map of a network; it maps
the raw weight to one of the same shape. :func:`transform_weights` puts one on the convolutions and
linear maps of a model, by ``torch.nn.utils.parametrize``: ``layer.weight`` is then the transformed
weight, wherever it is read, and ``layer.parametrizations.weight.original`` the trained one. A
builder that answers None leaves a map as it is.
"""

import copy
import fnmatch
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from spikeloom.layers.double_exponential import PAPER
from spikeloom.registry import register

EPS = 1e-5
KEEP = ("first", "last", "shortcut")


class Place(NamedTuple):
    """A map of a network, for which a transform is to be made.

    Args:
        layer: a convolution or linear map.
        name: of the layer in the network.
        names: of all maps of the network, in order.
    """

    layer: nn.Conv2d | nn.Linear
    name: str = ""
    names: tuple[str, ...] = ("",)


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
        place: where the weights are.
    Shape:
        raw [C, *] -> [C, *]
    Source:
        As in the code of Zhu et al., NeurIPS 2023. Inferred: the deviation of raw weights, which is
        that of PyTorch's own layers.
    """

    replaces_bias: ClassVar[bool] = True

    def __init__(self, place: Place) -> None:
        super().__init__()
        channels = len(place.layer.weight)
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
def untransformed(place: Place) -> None:
    """Weights as they are trained.

    Args:
        place: where the weights are.
    """


def transform_weights(model: nn.Module, make: Callable[[Place], nn.Module | None]) -> nn.Module:
    """Put transforms on the weights of convolutions and linear maps of ``model``, in place.

    Args:
        model: its weights keep their values as raw ones; biases stay as they are, but for
            transforms that replace them.
        make: makes the transform of a map, or answers None to leave it alone.
    Raises:
        ValueError: every map is left alone, or a weight does not suit its transform.
    """
    maps = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    }
    made = {name: make(Place(layer, name, tuple(maps))) for name, layer in maps.items()}
    if maps and not any(made.values()):
        raise ValueError(
            f"none of the network's {len(maps)} maps gets a transform of its weight; let it keep "
            "fewer of them as they are"
        )
    for name, transform in made.items():
        if transform is not None:
            layer = maps[name]
            transform = transform.to(layer.weight.device, layer.weight.dtype)
            parametrize.register_parametrization(layer, "weight", transform)
            if getattr(transform, "replaces_bias", False):
                layer.bias = None
    return model


def transform_of(layer: nn.Module) -> nn.Module | None:
    """The transform of a layer's weight; None if the weight itself is trained."""
    if not parametrize.is_parametrized(layer, "weight"):
        return None
    found: nn.Module = layer.parametrizations.weight[0]  # type: ignore[union-attr, index, assignment]  # any module's
    return found


def plain_weights(model: nn.Module) -> nn.Module:
    """A copy whose layers hold the weights that they compute with now; transforms do nothing."""
    model = copy.deepcopy(model)
    for layer in model.modules():
        if parametrize.is_parametrized(layer, "weight"):
            weight: Tensor = layer.weight  # type: ignore[assignment]  # any module's attribute
            # Removing the transforms would take them from the original too: both have one class.
            transforms: Any = layer.get_submodule("parametrizations.weight")
            transforms.original = nn.Parameter(weight.detach().clone())
            for index in range(len(transforms)):
                transforms[index] = nn.Identity()
    return model


def kept(place: Place, keep: Sequence[str]) -> bool:
    """Whether a map is among those to be left alone.

    Args:
        place: of the map.
        keep: ``first``, ``last``, ``shortcut`` (1x1 convolutions in shortcuts), or patterns as in a
            shell of names in the network.
    Raises:
        ValueError: a pattern that matches no map.
    """
    found = False
    for word in keep:
        if word in ("first", "last"):
            found |= place.name == place.names[0 if word == "first" else -1]
        elif word == "shortcut":
            found |= "shortcut" in place.name.split(".") and _pointwise(place.layer)
        elif not fnmatch.filter(place.names, word):
            raise ValueError(
                f"keep holds {word!r}, which is none of {', '.join(KEEP)} and matches no map; "
                f"there are {', '.join(place.names)}"
            )
        else:
            found |= fnmatch.fnmatchcase(place.name, word)
    return found


def _pointwise(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1)
