"""Reads what a network did with one input, ``sample.safetensors``."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from spikeloom.report.error import RunFolderError

Array = NDArray[Any]


@dataclass(frozen=True)
class Sample:
    """The input and, by layer, some neurons' spikes, potentials and the layer's threshold.

    Shape:
        input [C, H, W], spikes [T, neurons], potential [T, neurons]
    """

    input: Array | None = None
    spikes: Mapping[str, Array] = field(default_factory=dict)
    potential: Mapping[str, Array] = field(default_factory=dict)
    threshold: Mapping[str, float] = field(default_factory=dict)


def read_sample(path: Path, order: Iterable[str] = ()) -> Sample | None:
    """The sample in a file of tensors ``input`` and ``{spikes,potential,threshold}/<layer>``.

    Args:
        path: the file; None is returned if there is none.
        order: layer names in the order of the network; others follow, layer 2 before layer 10.

    Raises:
        RunFolderError: not a safetensors file, or a tensor with the wrong number of dimensions.
    """
    if not path.exists():
        return None
    try:
        tensors: dict[str, Array] = load_file(path)
    except (SafetensorError, OSError, KeyError) as error:
        raise RunFolderError(f"{path} is not a safetensors file: {error!r}; remove it") from error
    place = {layer: at for at, layer in enumerate(order)}
    names = sorted(tensors, key=lambda name: (place.get(_layer(name), math.inf), _natural(name)))

    def group(kind: str, dims: int) -> dict[str, Array]:
        return {
            _layer(name): _checked(path, name, tensors[name], dims)
            for name in names
            if name.startswith(f"{kind}/")
        }

    return Sample(
        input=_checked(path, "input", tensors["input"], 3) if "input" in tensors else None,
        spikes=group("spikes", 2),
        potential=group("potential", 2),
        threshold={layer: float(value) for layer, value in group("threshold", 0).items()},
    )


def _checked(path: Path, name: str, tensor: Array, dims: int) -> Array:
    if tensor.ndim != dims or 0 in tensor.shape:
        raise RunFolderError(
            f"{path}: {name} has the shape {list(tensor.shape)}, expected {dims} filled dimensions"
        )
    return tensor


def _layer(name: str) -> str:
    return name.partition("/")[2]


def _natural(name: str) -> list[tuple[str, int]]:
    return [(text, int(digits or 0)) for text, digits in re.findall(r"(\D*)(\d*)", name)]
