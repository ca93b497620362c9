"""Read pickles of plain data without running what a stranger's pickle may ask for.

A pickle can name any function and have it called while it loads. The official CIFAR batches need
only dictionaries, lists, strings, numbers and numpy arrays: nothing else is admitted.
"""

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np


def _latin1(text: str, encoding: str = "") -> bytes:
    # Python 3 writes bytes in old protocols as a call of _codecs.encode(text, "latin1").
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"encoding {encoding!r} is not admitted")
    return text.encode("latin1")


# numpy rebuilds every array with this function; its module has been renamed, so ask an array.
_reconstruct: Any = np.empty(0).__reduce__()[0]
_ADMITTED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _latin1,
}


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ADMITTED:
            raise pickle.UnpicklingError(
                f"it asks for {module}.{name}, which a file of plain data does not need"
            )
        return _ADMITTED[module, name]


def load_plain(content: bytes, path: Path) -> dict[bytes, Any]:
    """The dictionary in a pickle of plain data; Python 2's strings come as bytes.

    Raises:
        ValueError: the pickle is damaged, asks for anything but plain data, or is no dictionary.
    """
    try:
        value = _PlainUnpickler(io.BytesIO(content), encoding="bytes").load()
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise ValueError(
            f"{path} was not read: {error or type(error).__name__}. Use the official file"
        ) from error
    if not isinstance(value, dict):
        raise ValueError(f"{path} holds a {type(value).__name__}, expected a dictionary")
    return {k.encode() if isinstance(k, str) else k: v for k, v in value.items()}
