"""Registered models, narrow enough for tests."""

from functools import partial
from inspect import signature
from typing import Any

from torch import nn

import spikeloom.layers
import spikeloom.models  # noqa: F401 they register
from spikeloom.registry import find

IMAGE = (3, 32, 32)
CLASSES = 5
STEPS = 2


def neuron(name: str, **arguments: Any) -> Any:
    """What makes the neurons of a layer from the shape of a sample; eager ones, as T is small."""
    if name != "relu":
        arguments.setdefault("v_threshold", 0.5)
    return partial(find("neuron", name).build, **arguments)


def norm(name: str, **arguments: Any) -> Any:
    """What makes a norm from its number of channels."""
    if name in ("bntt", "tebn"):
        arguments.setdefault("T", STEPS)
    return partial(find("norm", name).build, **arguments)


def small(model: str, *, neurons: str = "lif", norms: str = "bn", **arguments: Any) -> nn.Module:
    """A registered model for images, a sixteenth as wide as published unless ``width`` is given."""
    arguments = {"in_shape": IMAGE, "num_classes": CLASSES, "width": 1 / 16} | arguments
    build = find("model", model).build
    parts = {"neuron": neuron(neurons), "norm": norm(norms)}
    taken = signature(build).parameters  # a model may have neurons of its own
    return build(**{name: part for name, part in parts.items() if name in taken}, **arguments)
