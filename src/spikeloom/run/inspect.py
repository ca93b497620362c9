"""What a recipe would build: every layer with its output shape and parameters."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from spikeloom.data.cifar import CIFAR10, CIFAR100
from spikeloom.data.cifar import SHAPE as CIFAR_SHAPE
from spikeloom.data.idx import FASHION_MNIST, KMNIST, MNIST, SIDE
from spikeloom.kernels import explain, operator_of
from spikeloom.layers import Neuron, OverTime, Temporal
from spikeloom.run.build import bind, build
from spikeloom.run.config import Config
from spikeloom.run.rehearse import check
from spikeloom.run.task import network, read

# What is known of a data set without its files: (C, H, W) and the number of classes.
KNOWN: dict[str, tuple[tuple[int, ...], int]] = {
    **{spec.name: (CIFAR_SHAPE, len(spec.class_names)) for spec in (CIFAR10, CIFAR100)},
    **{
        spec.name: ((1, SIDE, SIDE), len(spec.class_names))
        for spec in (MNIST, FASHION_MNIST, KMNIST)
    },
    "mnist_radial": ((1, SIDE, SIDE), len(MNIST.class_names)),
    "photo": ((2,), 3),
}


@dataclass(frozen=True)
class Layer:
    """One layer as a sequence meets it.

    ``shape`` is its output for one sample and step, None if the sequence does not pass through it;
    ``neurons`` is 0 unless it spikes; ``kernel`` is what computes them.
    """

    name: str
    kind: str
    shape: tuple[int, ...] | None
    neurons: int
    parameters: int
    kernel: str = ""


@dataclass(frozen=True)
class Description:
    """A resolved configuration and the network it stands for."""

    config: dict[str, Any]
    in_shape: tuple[int, ...]
    num_classes: int
    T: int
    layers: tuple[Layer, ...]
    neurons: int
    parameters: int

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain values."""
        return asdict(self)


def describe(config: Config, root: Path | None = None) -> Description:
    """Build the network of a configuration and push one blank image through it.

    The data set is read only where its shape is not known beforehand.

    Args:
        config: what would be run.
        root: where the data sets are, as in :func:`~spikeloom.run.session.train`.

    Raises:
        ConfigError: something is unknown, out of range, or does not fit together.
    """
    model, in_shape, num_classes = built(config, root)
    layers = tuple(layers_of(model, torch.zeros(config.model.T, 1, *in_shape)))
    return Description(
        config.model_dump(mode="json", exclude_none=True),
        in_shape,
        num_classes,
        config.model.T,
        layers,
        sum(layer.neurons for layer in layers),
        sum(p.numel() for p in model.parameters()),
    )


def built(config: Config, root: Path | None = None) -> tuple[nn.Module, tuple[int, ...], int]:
    """The network of a configuration, the shape of its images and the number of classes.

    Whatever else can be built without the data set is built and let go of.

    Raises:
        ConfigError: something is unknown, out of range, or does not fit together.
    """
    bind(config.data, "dataset", root=root, T=config.model.T)
    in_shape: tuple[int, ...]
    if config.data.name in KNOWN:
        in_shape, num_classes = KNOWN[config.data.name]
    else:
        source = read(config, root)
        in_shape, num_classes = source.shape, source.outputs
    for part in config.data.augment:
        build(part, "augment", num_classes=num_classes)
    for phase in config.phase:
        check(phase)
    return network(config, in_shape, num_classes), in_shape, num_classes


def layers_of(model: nn.Module, x_seq: Tensor) -> list[Layer]:
    """The layers in the order in which ``x_seq`` passes them; those it passes by come last.

    Shape:
        x_seq [T, N, *]
    """
    shapes: dict[str, tuple[int, ...]] = {}
    kernels: dict[str, str] = {}

    def note(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            y_seq = output if isinstance(output, Tensor) else output[0]
            shapes.setdefault(name, tuple(y_seq.shape[2:]))
            if isinstance(module, Temporal):
                kernels.setdefault(name, _kernel(module, inputs[0]))

        return hook

    found = dict(_units(model))
    hooks = [module.register_forward_hook(note(name)) for name, module in found.items()]
    try:
        with torch.no_grad():
            model.eval()(x_seq)
    finally:
        for hook in hooks:
            hook.remove()
    order = [*shapes, *(name for name in found if name not in shapes)]
    return [_layer(name, found[name], shapes.get(name), kernels.get(name, "")) for name in order]


def _units(module: nn.Module, name: str = "") -> Iterator[tuple[str, nn.Module]]:
    """What counts as one layer, and modules that hold parameters of their own beside layers."""
    children = dict(module.named_children())
    whole = isinstance(module, OverTime | Temporal) or not children
    if whole or next(module.parameters(recurse=False), None) is not None:
        yield name, module
    if not whole:
        for child, inner in children.items():
            yield from _units(inner, f"{name}.{child}".lstrip("."))


def _layer(name: str, module: nn.Module, shape: tuple[int, ...] | None, kernel: str) -> Layer:
    whole = isinstance(module, OverTime | Temporal)
    spiking = isinstance(module, Neuron) and shape is not None
    return Layer(
        name or type(module).__name__,
        _kind(module.module if isinstance(module, OverTime) else module),
        shape,
        prod(shape or ()) if spiking else 0,
        sum(p.numel() for p in module.parameters(recurse=whole)),
        kernel,
    )


def _kernel(layer: Temporal, x_seq: Tensor) -> str:
    """The implementation behind the door that serves this input."""
    operator = operator_of(layer.function)
    if operator is None:
        return ""
    chosen = explain(operator, x_seq, None, **layer.arguments()).splitlines()[0]
    return chosen.partition(": ")[2]


def _kind(module: nn.Module) -> str:
    kind = type(module).__name__
    if isinstance(module, nn.Conv2d):
        kind += " " + "x".join(map(str, module.kernel_size))
        kind += f" / {module.stride[0]}" if module.stride[0] > 1 else ""
        kind += f", {module.groups} groups" if module.groups > 1 else ""
    return kind


__all__ = ["Description", "Layer", "built", "describe", "layers_of"]
