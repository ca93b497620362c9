"""Memory for large tensors that is kept when they die and handed out again.

The system's allocator hands blocks above some 32 MB back at once, and touching fresh pages costs
several times what a kernel does with them.
"""

import ctypes
import math
import os
from collections.abc import Sequence

import torch
from torch import Tensor

from spikeloom.kernels.cpu.native import OPENED, opened

LARGE = 1 << 20  # bytes from which on tensors come from here
SHARE, MOST = 4, 2 << 30  # unused memory kept: a share of what the machine has, and a bound
DLPACK = {torch.float32: (2, 32), torch.bfloat16: (4, 16)}

_capsule = ctypes.pythonapi.PyCapsule_New
_capsule.restype, _capsule.argtypes = ctypes.py_object, (ctypes.c_void_p,) * 3
_name = ctypes.c_char_p(b"dltensor")  # kept alive: a capsule only points to its name


def empty(shape: Sequence[int], strides: Sequence[int], dtype: torch.dtype) -> Tensor:
    """An uninitialised tensor, from the pool if it is large.

    Raises:
        MemoryError: there is no memory.
    """
    count = math.prod(shape)
    if count * dtype.itemsize < LARGE or count == 0:
        return torch.empty_strided(shape, strides, dtype=dtype, device="cpu")
    integers = ctypes.c_int64 * len(shape)
    code, bits = DLPACK[dtype]
    managed = opened().spikeloom_tensor(
        integers(*shape), integers(*strides), len(shape), count * dtype.itemsize, code, bits
    )
    if not managed:
        raise MemoryError(f"no memory for a {dtype} tensor of shape {tuple(shape)}")
    tensor: Tensor = torch.utils.dlpack.from_dlpack(_capsule(managed, _name, None))
    return tensor


def pool_size() -> int:
    """Bytes of freed tensors that are kept for the next ones."""
    return int(OPENED.spikeloom_pool_size()) if OPENED else 0


def release() -> int:
    """Hand unused tensors' memory back to the system; returns the bytes.

    The working rows that a thread has used, some hundred bytes a step, stay with the thread.
    """
    return int(OPENED.spikeloom_pool_shrink(0)) if OPENED else 0


def limit_pool(size: int) -> None:
    """Keep at most this many bytes of freed tensors; 0 keeps none."""
    if size < 0:
        raise ValueError(f"the pool's limit must be >= 0 bytes, got {size}")
    if OPENED:
        OPENED.spikeloom_pool_limit(size)


def _default_limit() -> int:
    try:
        return min(MOST, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // SHARE)
    except (AttributeError, ValueError, OSError):
        return MOST


limit_pool(_default_limit())
