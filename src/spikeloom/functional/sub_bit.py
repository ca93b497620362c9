"""Weights of less than one bit: 3x3 kernels taken from a small codebook of binary ones."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

CELLS = 9  # of a 3x3 kernel
PATTERNS = 2**CELLS
SIDE = 3
FENCE = 1.5
TINY = 1e-12

Normalise = Literal["kernel_median", "none"]
Neighbours = Literal["adjacent", "all"]


def signs(x: Tensor) -> Tensor:
    """+1 where x >= 0, else -1: no zeros come out.

    Shape:
        x [*] -> [*]
    """
    return torch.where(x >= 0, 1.0, -1.0).to(x.dtype)


def pattern(number: Tensor) -> Tensor:
    """The binary kernel with a number from 0 to 511: cell i is +1 where bit i is set.

    Shape:
        number [*], integers -> [*, 9] of +-1
    """
    bits = number.unsqueeze(-1) >> torch.arange(CELLS, device=number.device) & 1
    return 2.0 * bits - 1.0


def pattern_number(kernels: Tensor) -> Tensor:
    """The number of each kernel's sign pattern, inverse of :func:`pattern`.

    Shape:
        kernels [*, 9] -> [*], int64
    """
    weight = 2 ** torch.arange(CELLS, device=kernels.device)
    return ((kernels >= 0) * weight).sum(-1)


def nearest_codeword(kernels: Tensor, codebook: Tensor) -> Tensor:
    """The index of the codeword nearest to each kernel; of equally near ones the lowest.

    idx = argmin_k |p_k - w|^2 = argmax_k <p_k, w>, as all |p_k|^2 = 9.

    Args:
        kernels: latent kernels.
        codebook: rows of +-1.
    Shape:
        kernels [*, 9], codebook [K, 9] -> [*], int64
    Source:
        Wang et al., ICCV 2021 (arXiv 2110.09195).
    Example:
        >>> book = pattern(torch.tensor([0, 511]))
        >>> nearest_codeword(torch.full((2, 9), 0.1), book).tolist()
        [1, 1]
    """
    wide = torch.promote_types(kernels.dtype, torch.float32)  # a choice must not hang on rounding
    with torch.autocast(kernels.device.type, enabled=False):
        scores = kernels.detach().to(wide) @ codebook.detach().to(wide).T
    return scores.argmax(-1)


def outliers(kernels: Tensor, *, fence: float = FENCE) -> Tensor:
    """Which cells lie outside of Tukey's fences of their kernel.

    w < Q1 - fence (Q3 - Q1)  or  w > Q3 + fence (Q3 - Q1), the quartiles with linear
    interpolation, which of nine values are the third and the seventh. At most two cells lie above
    and two below.

    Shape:
        kernels [*, 9] -> [*, 9], bool
    """
    ordered = kernels.sort(-1).values
    first, third = ordered[..., 2:3], ordered[..., 6:7]
    reach = fence * (third - first)
    return (kernels < first - reach) | (kernels > third + reach)


def tame_outliers(
    kernels: Tensor,
    *,
    normalise: Normalise = "kernel_median",
    neighbours: Neighbours = "adjacent",
    fence: float = FENCE,
) -> Tensor:
    """OS-Quant: outliers of a kernel divided by how far they are from their neighbours.

    w~ = w / Omega for outliers, Omega = mean over neighbours of |w - w'|, and w~ = w elsewhere.
    That changes with the scale of w: below 1, as latent weights are, it enlarges outliers. With
    ``kernel_median`` w is divided by the median of its nine |w| first, so that typical cells have
    size 1 and a scaled outlier has too; ``none`` is the text read literally.

    Args:
        kernels: latent kernels, row by row.
        normalise: ``kernel_median`` (inferred) or ``none``.
        neighbours: the up to eight ``adjacent`` cells (inferred), or ``all`` other eight.
        fence: of :func:`outliers`.
    Shape:
        kernels [*, 9] -> [*, 9]
    Source:
        Wei et al., NeurIPS 2025, as summaries tell it; marked parts inferred.
    """
    w = kernels
    if normalise == "kernel_median":
        w = w / w.abs().median(-1, keepdim=True).values.clamp(min=TINY)
    far = outliers(w, fence=fence)
    *kernel, cell = far.nonzero(as_tuple=True)  # few: all pairs of cells would be nine times w
    near = _near(neighbours, w)[cell]
    apart = (w[far].unsqueeze(-1) - w[tuple(kernel)]).abs()
    omega = (apart * near).sum(-1) / near.sum(-1)
    # An outlier always has a neighbour that it differs from: there is at most one like it.
    return w.masked_scatter(far, w[far] / omega.clamp(min=TINY))


def sub_bit_weight(latent: Tensor, codebook: Tensor, index: Tensor, scale: Tensor) -> Tensor:
    """alpha_o p_idx, with gradients to latent kernels and codewords as if there was no choice.

    Forward: alpha_o p_idx(o, c). Backward: dL/dw = alpha_o g where |w| <= 1, else 0;
    dL/dp_k = sum over all (o, c) with idx = k of alpha_o g. No gradient through alpha or idx.

    Args:
        latent: kernels that are trained.
        codebook: rows of +-1.
        index: row of each kernel.
        scale: alpha of each output.
    Shape:
        latent [Co, Ci, 9], codebook [K, 9], index [Co, Ci], scale [Co] -> [Co, Ci, 9]
    Source:
        Wang et al., ICCV 2021 (arXiv 2110.09195), and the authors' code.
    """
    return scale.view(-1, 1, 1) * passing(codebook[index], latent.clamp(-1, 1))


def binary_weight(latent: Tensor, scale: Tensor) -> Tensor:
    """alpha_o sign(w), straight through where |w| <= 1.

    Shape:
        latent [Co, *], scale [Co] -> [Co, *]
    """
    each = scale.view(-1, *[1] * (latent.dim() - 1))
    return each * passing(signs(latent.detach()), latent.clamp(-1, 1))


def passing(value: Tensor, through: Tensor) -> Tensor:
    """``value`` itself, bit by bit; a gradient reaches it and ``through`` alike."""
    return value + (through - through.detach())


def mean_size(latent: Tensor) -> Tensor:
    """alpha_o = mean |w| over all inputs of an output, a constant.

    Shape:
        latent [Co, *] -> [Co]
    """
    return latent.detach().abs().flatten(1).mean(1)


def codeword_conv2d(
    x: Tensor,
    index: Tensor,
    codebook: Tensor,
    scale: Tensor,
    *,
    stride: int = 1,
    padding: int = 1,
) -> Tensor:
    """A convolution that goes through each input channel once for each codeword.

    y_o = alpha_o sum_c (p_idx(o, c) * x_c): all K codewords are convolved with every input
    channel, and the outputs gather what they need. Pays off where Co > K.

    Shape:
        x [N, Ci, H, W], index [Co, Ci], codebook [K, 9], scale [Co] -> [N, Co, H', W']
    """
    K, Ci = len(codebook), x.shape[1]
    every = codebook.view(K, 1, SIDE, SIDE).repeat(Ci, 1, 1, 1).to(x.dtype)
    shared = F.conv2d(x, every, stride=stride, padding=padding, groups=Ci)  # [N, Ci K, H', W']
    rows = index.long() + K * torch.arange(Ci, device=x.device)
    sums = torch.stack([shared[:, row].sum(1) for row in rows], 1)
    return sums * scale.view(-1, 1, 1)


def index_bits(weights: int, bits: int) -> float:
    """Bits that the indices of so many weights of 3x3 kernels take: bits / 9 each."""
    return weights * bits / CELLS


def codebook_bits(bits: int) -> int:
    """Bits that one codebook takes."""
    return CELLS << bits


def operations(in_channels: int, channels: int, places: int, bits: int | None = None) -> float:
    """Multiply-adds of a 3x3 convolution, with a codebook where that takes fewer.

    Plain: Ci Co 9 HW. With 2^bits < Co codewords: Ci 2^bits 9 HW + Ci Co HW / 2, an addition as
    half of one.

    Args:
        in_channels: Ci.
        channels: Co.
        places: HW, of the output.
        bits: of an index; None for no codebook.
    Source:
        Worked out from the figures of Wang et al., ICCV 2021, which it meets to three digits.
    """
    if bits is None or channels <= 2**bits:
        return float(in_channels * channels * CELLS * places)
    return in_channels * places * (CELLS * float(2**bits) + channels / 2)


def _near(neighbours: Neighbours, like: Tensor) -> Tensor:
    """Which cells are neighbours of which: [9, 9] of 0 and 1."""
    cell = torch.arange(CELLS, device=like.device)
    row, column = cell // SIDE, cell % SIDE
    steps = torch.maximum((row[:, None] - row).abs(), (column[:, None] - column).abs())
    reach = 1 if neighbours == "adjacent" else SIDE
    return ((steps > 0) & (steps <= reach)).to(like.dtype)
