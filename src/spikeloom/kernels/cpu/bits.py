"""Spikes kept as bits: element i of a tensor's memory is bit i % 64 of word i / 64."""

from collections.abc import Sequence

import torch
from torch import Tensor

from spikeloom.kernels.cpu.layout import order
from spikeloom.kernels.cpu.native import opened
from spikeloom.kernels.cpu.pool import empty

DTYPES = {torch.float32: 0, torch.bfloat16: 1}
WORD = 64


def packable(x: Tensor) -> bool:
    """Whether :func:`pack` can read the tensor: its memory has no gaps and holds floats."""
    return x.dtype in DTYPES and order(x.shape, x.stride()) is not None


def pack(x: Tensor) -> Tensor | None:
    """The bits of a packable tensor in the order of its memory; None unless all are 0 or 1.

    Shape:
        x [*] -> [(numel + 63) // 64] of int64
    """
    count = x.numel()
    words = torch.empty((count + WORD - 1) // WORD, dtype=torch.int64, device="cpu")
    binary = opened().spikeloom_pack(
        x.data_ptr(), DTYPES[x.dtype], count, words.data_ptr(), torch.get_num_threads()
    )
    return words if binary else None


def unpack(
    words: Tensor, shape: Sequence[int], strides: Sequence[int], dtype: torch.dtype
) -> Tensor:
    """The tensor that was packed, with its shape, strides and dtype."""
    x = empty(shape, strides, dtype)
    opened().spikeloom_unpack(
        words.data_ptr(), DTYPES[dtype], x.numel(), x.data_ptr(), torch.get_num_threads()
    )
    return x
