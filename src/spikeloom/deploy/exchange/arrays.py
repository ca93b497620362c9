"""Values of neurons as arrays in files, and back."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spikeloom.functional import Value

Array = NDArray[Any]
Meta = dict[str, Any]
OURS = "spikeloom"  # the key of our metadata


def stored(value: Value) -> Any:
    """As it goes into metadata: a number stays a number, float32 stays float32."""
    if isinstance(value, Tensor):
        return value.detach().cpu().numpy()[()]  # a scalar without axes: h5py packs no such array
    return float(value)


def loaded(value: Any) -> Value:
    """What :func:`stored` made of it."""
    array = np.asarray(value)
    if array.ndim == 0 and array.dtype == np.float64:
        return float(array)
    return torch.from_numpy(array.copy())


def full(value: Value | Array, shape: tuple[int, ...]) -> Array:
    """An array of the shape, in float64."""
    array = stored(value) if isinstance(value, Tensor) else value
    return np.broadcast_to(np.asarray(array, dtype=np.float64), shape).copy()


def fewest(array: Array) -> Value:
    """One number where all are equal, else a float32 tensor."""
    values = np.asarray(array, dtype=np.float64)
    first = float(values.reshape(-1)[0])
    return first if (values == first).all() else torch.from_numpy(values.astype(np.float32))


def as_tensor(array: Array) -> Tensor:
    """In float32.

    Raises:
        ValueError: something in it is no number.
    """
    values = np.array(array, dtype=np.float32)
    if np.isnan(values).any():
        raise ValueError("it holds NaN")
    return torch.from_numpy(values)
