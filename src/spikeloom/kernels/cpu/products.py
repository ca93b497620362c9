"""Products of spikes and numbers, with the spikes as bits: rows are chosen and added up.

Bits are the rows of an int64 matrix, 64 columns a word, the first in the lowest bit; those beyond
the last column are 0.
"""

import ctypes
from ctypes import c_int32, c_int64, c_void_p

import torch
from torch import Tensor

from spikeloom.kernels.cpu import native
from spikeloom.kernels.cpu.pool import empty

WORD = 64
NO_MEMORY, NOT_FINITE = 1, 2


class Gather(ctypes.Structure):
    """Mirrors ``Gather`` in products.hpp."""

    _fields_ = (
        ("bits", c_void_p),
        *((name, c_int64) for name in ("rows", "words", "depth", "columns")),
        ("source", c_void_p),
        *((name, c_int64) for name in ("source_row", "source_column")),
        *((name, c_void_p) for name in ("bias", "out")),
        *((name, c_int64) for name in ("out_row", "out_column")),
        ("threads", c_int32),
    )


class Pack(ctypes.Structure):
    """Mirrors ``Pack`` in products.hpp."""

    _fields_ = (
        ("source", c_void_p),
        *((name, c_int64) for name in ("rows", "columns", "stride", "words")),
        ("bits", c_void_p),
        ("threads", c_int32),
    )


def words(columns: int) -> int:
    """Words of a row of so many bits."""
    return (columns + WORD - 1) // WORD


def pack(x: Tensor) -> tuple[Tensor, int] | None:
    """The bits of a matrix and how many are 1; None if it holds anything but 0 and 1.

    Shape:
        x [R, K], float32 -> [R, K / 64]
    """
    rows, columns = x.shape
    x = x if x.stride(1) == 1 or columns == 1 else x.contiguous()
    bits = torch.empty(rows, words(columns), dtype=torch.int64, device="cpu")
    if not x.numel():
        return bits.zero_(), 0
    call = Pack(
        x.data_ptr(), rows, columns, x.stride(0), words(columns), bits.data_ptr(),
        torch.get_num_threads(),
    )  # fmt: skip
    ones = int(native.opened().spikeloom_pack_rows(ctypes.byref(call)))
    return None if ones < 0 else (bits, ones)


def unpack(bits: Tensor, columns: int) -> Tensor:
    """The matrix of 0 and 1 that the bits stand for.

    Shape:
        bits [R, K / 64] -> [R, K], float32
    """
    places = torch.arange(WORD, device="cpu")
    numbers = (bits.unsqueeze(-1) >> places & 1).flatten(1)
    return numbers[:, :columns].float()


def transposed(bits: Tensor, columns: int) -> Tensor:
    """The bits of the transpose.

    Shape:
        bits [R, K / 64] -> [K, R / 64]
    """
    turned = torch.empty(columns, words(bits.shape[0]), dtype=torch.int64, device="cpu")
    native.opened().spikeloom_transpose_bits(
        bits.data_ptr(), turned.data_ptr(), bits.shape[0], columns, torch.get_num_threads()
    )
    return turned


def multiply(bits: Tensor, source: Tensor, out: Tensor, bias: Tensor | None = None) -> bool:
    """Write ``unpack(bits) @ source + bias`` into ``out``; rows or columns may lie side by side.

    Sums of the same numbers for any number of threads: each is added up by one.

    Shape:
        bits [R, K / 64], source [K, M], bias [M], out [R, M]

    Returns:
        Whether the source is finite. If it is not, ``out`` lacks the terms 0 times infinity.

    Raises:
        MemoryError: no memory for the working rows.
    """
    if not _by_line(source):
        source = source.contiguous()
    call = Gather(
        bits.data_ptr(), *bits.shape, *source.shape, source.data_ptr(), *_strides(source),
        0 if bias is None else bias.data_ptr(), out.data_ptr(), *_strides(out),
        torch.get_num_threads(),
    )  # fmt: skip
    found = native.opened().spikeloom_gather(ctypes.byref(call)) if out.numel() else 0
    if found == NO_MEMORY:
        raise MemoryError("spikeloom_gather: no memory for its working rows")
    return bool(found != NOT_FINITE)


def weight_gradient(grad: Tensor, bits: Tensor, columns: int) -> Tensor:
    """``grad.T @ unpack(bits)``: each spike adds its row of the gradient.

    Shape:
        grad [R, M], bits [R, K / 64] -> [M, K]
    """
    found = empty((grad.shape[1], columns), (columns, 1), torch.float32)
    if multiply(transposed(bits, columns), grad, found.t()):
        return found
    return grad.t() @ unpack(bits, columns)  # autograd's own sums have 0 times infinity


def _by_line(matrix: Tensor) -> bool:
    return any(matrix.stride(axis) == 1 or matrix.shape[axis] == 1 for axis in (0, 1))


def _strides(matrix: Tensor) -> tuple[int, int]:
    """Of rows and columns; one of the two is 1."""
    if matrix.stride(1) == 1 or matrix.shape[1] == 1:
        return matrix.stride(0), 1
    return 1, matrix.stride(1)
