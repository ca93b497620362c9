"""Weights of +1 and -1 as they are stored: one bit each, or one index for a whole kernel.

    w[o, g] = scale[o] * codebook[index[o, g]]     sub-bit: K kernels, log2(K) bits for each index
    w[o, c] = scale[o] * sign[o, c]                binary: one bit for each weight

A kernel is as many consecutive weights of an output as a row of the codebook has: with rows of nine
the 3x3 kernel of an input channel. The last one may reach beyond the weights.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

BYTE = 8


@dataclass(frozen=True, eq=False)
class Coded:
    """Weights [O, C, kh, kw] of one size an output; made by :func:`of_signs`, :func:`of_index`.

    Args:
        shape: (O, C, kh, kw).
        scale: size of each output's weights, may be negative.
        bits: binary: the signs in the order of the weights, 8 a byte, the first one lowest.
        index: sub-bit: row of the codebook for each kernel.
        codebook: sub-bit: the kernels, of +1 and -1.
    Shape:
        scale [O], bits uint8 [ceil(O C kh kw / 8)], index [O, G] uint8 or int16, codebook int8
        [K, R], G = ceil(C kh kw / R)
    """

    shape: tuple[int, int, int, int]
    scale: Tensor
    bits: Tensor | None = None
    index: Tensor | None = None
    codebook: Tensor | None = None

    @property
    def fan_in(self) -> int:
        """Weights of one output."""
        return self.shape[1] * self.shape[2] * self.shape[3]

    def signs(self) -> Tensor:
        """The weights without their scale, int8 [O, C, kh, kw] of +1 and -1."""
        if self.index is not None:
            assert self.codebook is not None
            rows = self.codebook[self.index.long()].flatten(1)
            return rows[:, : self.fan_in].reshape(self.shape)
        assert self.bits is not None
        count = self.shape[0] * self.fan_in
        return (2 * unpacked(self.bits, 1, count).to(torch.int8) - 1).view(self.shape)

    def weight(self) -> Tensor:
        """The weights as floats, scale included."""
        return self.signs().float() * self.scale.view(-1, 1, 1, 1)


def of_signs(signs: Tensor, scale: Tensor) -> Coded:
    """Binary weights.

    Shape:
        signs [O, C, kh, kw] or [O, C], scale [O]
    Raises:
        ValueError: something other than +1 and -1, or shapes that do not fit.
    """
    if signs.dim() == 2:
        signs = signs[:, :, None, None]
    if signs.dim() != 4 or not bool((signs.abs() == 1).all()):
        raise ValueError(f"signs must be +1 or -1 [O, C, kh, kw], got {tuple(signs.shape)}")
    outputs, C, kh, kw = signs.shape
    bits = packed(signs.flatten() > 0, 1)
    return Coded((outputs, C, kh, kw), _scale(scale, outputs), bits=bits)


def of_index(
    index: Tensor, codebook: Tensor, scale: Tensor, shape: tuple[int, int, int, int]
) -> Coded:
    """Weights [O, C, kh, kw] that are rows of a codebook.

    Shape:
        index [O, G], codebook [K, R], scale [O], G = ceil(C kh kw / R)
    Raises:
        ValueError: an index beyond the codebook, something other than +1 and -1 in it, or shapes
            that do not fit.
    """
    outputs, (K, row) = shape[0], codebook.shape
    kernels = -(-shape[1] * shape[2] * shape[3] // row)
    if tuple(index.shape) != (outputs, kernels):
        raise ValueError(
            f"weights {shape} are {outputs} x {kernels} kernels of {row}, got indices "
            f"{tuple(index.shape)}"
        )
    if int(index.min()) < 0 or int(index.max()) >= K:
        raise ValueError(
            f"an index names one of {K} kernels, got {int(index.min())} to {int(index.max())}"
        )
    if not bool((codebook.abs() == 1).all()):
        raise ValueError("a codebook holds +1 and -1 only")
    small = index.to(torch.uint8 if K <= 256 else torch.int16)
    book = codebook.to(torch.int8).clone()
    return Coded(shape, _scale(scale, outputs), index=small, codebook=book)


def _scale(scale: Tensor, outputs: int) -> Tensor:
    if scale.numel() != outputs:
        raise ValueError(f"{outputs} outputs need as many scales, got {tuple(scale.shape)}")
    return scale.detach().float().reshape(outputs).clone()


def packed(values: Tensor, bits: int) -> Tensor:
    """Numbers below 2^bits one after the other, lowest bit first, as bytes.

    Shape:
        values [*] -> uint8 [ceil(numel bits / 8)]
    """
    digits = values.flatten().to(torch.int32)[:, None] >> torch.arange(bits, dtype=torch.int32)
    stream = (digits & 1).to(torch.uint8).flatten()
    stream = F.pad(stream, (0, -len(stream) % BYTE)).view(-1, BYTE)
    return (stream << torch.arange(BYTE, dtype=torch.uint8)).sum(1, dtype=torch.uint8)


def unpacked(stream: Tensor, bits: int, count: int) -> Tensor:
    """The numbers that :func:`packed` put there, int32 [count].

    Raises:
        ValueError: the stream has another length.
    """
    if stream.numel() != -(-count * bits // BYTE):
        raise ValueError(
            f"{count} numbers of {bits} bits take {-(-count * bits // BYTE)} bytes, got "
            f"{stream.numel()}"
        )
    digits = (stream[:, None] >> torch.arange(BYTE, dtype=torch.uint8)) & 1
    digits = digits.flatten()[: count * bits].view(count, bits).to(torch.int32)
    return (digits << torch.arange(bits, dtype=torch.int32)).sum(1, dtype=torch.int32)
