"""Reads how a function was fitted, ``fit.safetensors``."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from spikeloom.report.error import RunFolderError

Array = NDArray[Any]


@dataclass(frozen=True)
class Fit:
    """A function and its predictions, by the number of grades that take part.

    Shape:
        of a curve target and predictions [M, D], along [M]; of a picture uint8 [H, W, 3]
    """

    target: Array
    predictions: Mapping[str, Array]
    along: Array | None = None


def read_fit(path: Path) -> Fit | None:
    """The fit in a file of tensors ``target``, ``prediction/<grade>`` and, of a curve, ``along``.

    Raises:
        RunFolderError: not a safetensors file, or tensors are missing or of other shapes.
    """
    if not path.exists():
        return None
    try:
        tensors: dict[str, Array] = load_file(path)
        target, along = tensors["target"], tensors.get("along")
    except (SafetensorError, OSError, KeyError) as error:
        raise RunFolderError(f"{path} does not hold a fit: {error!r}; remove it") from error
    names = sorted((n for n in tensors if n.startswith("prediction/")), key=lambda n: (len(n), n))
    predictions = {name.partition("/")[2]: tensors[name] for name in names}
    axes = 3 if along is None else 2
    same = all(each.shape == target.shape for each in predictions.values())
    fits = along is None or along.shape == target.shape[:1]
    if target.ndim != axes or not predictions or not same or not fits or not target.size:
        shapes = {name: list(tensor.shape) for name, tensor in tensors.items()}
        raise RunFolderError(f"{path} does not hold a fit: its tensors are {shapes}; remove it")
    return Fit(target, predictions, along)


def same_picture(fits: Mapping[str, Fit | None]) -> dict[str, Array]:
    """One picture, and what each fit of it comes to; nothing unless all are fits of that one."""
    known = {name: fit for name, fit in fits.items() if fit is not None and fit.along is None}
    targets = [fit.target for fit in known.values()]
    if not known or len(known) < len(fits):
        return {}
    if not all(np.array_equal(target, targets[0]) for target in targets):
        return {}
    last = {name: [*fit.predictions.values()][-1] for name, fit in known.items()}
    return {"target": targets[0], **last}
