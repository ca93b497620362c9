"""A model that starts from the values of another one."""

from typing import Any

import torch
from torch import Tensor, nn

from spikeloom.layers import transform_of

RAW = "parametrizations.weight.original"


def shared(model: nn.Module, other: nn.Module) -> list[str]:
    """Names of weights and other parameters that have the same name and shape in both."""
    ours, theirs = (_sizes(net) for net in (model, other))
    return [name for name, size in ours.items() if theirs.get(name) == size]


@torch.no_grad()
def start_from(model: nn.Module, other: nn.Module) -> None:
    """Copy parameters and buffers whose names and shapes agree, in place.

    Where the model trains a weight through a transform, the raw weight starts from that of the
    other, which is the weight itself if that has no transform; where it has none, from the weight
    that the other computes with.
    """
    layers: dict[str, Any] = dict(other.named_modules())
    for name, layer in model.named_modules():
        own: Any = layer
        twin = layers.get(name)
        if twin is None or not (transform_of(layer) or transform_of(twin)):
            continue
        raw = transform_of(layer) and transform_of(twin)
        value: Tensor = twin.get_parameter(RAW) if raw else twin.weight
        if value.shape != own.weight.shape:
            continue
        if transform_of(layer):
            own.weight = value.clone().to(own.weight)
        else:
            own.weight.copy_(value)
    values = {**dict(other.named_parameters()), **dict(other.named_buffers())}
    for name, value in (*model.named_parameters(), *model.named_buffers()):
        if name in values and values[name].shape == value.shape:
            value.copy_(values[name])


def _sizes(net: nn.Module) -> dict[str, torch.Size]:
    return {name.replace(RAW, "weight"): value.shape for name, value in net.named_parameters()}
