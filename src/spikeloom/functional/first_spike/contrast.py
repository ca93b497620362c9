"""What images look like to first-spike networks: contrasts, whitened colours, and their signs."""

import torch
from torch import Tensor
from torch.nn import functional as F


def dog_filter(size: int = 7, centre: float = 1.0, surround: float = 2.0) -> Tensor:
    """Difference of two Gaussians, each of sum 1: what is brighter than around it.

    Args:
        size: width, odd.
        centre, surround: standard deviations [pixels].
    Shape:
        -> [1, 1, size, size]
    """
    axis = torch.arange(size, dtype=torch.float64) - size // 2
    square = axis[:, None] ** 2 + axis**2
    bells = [torch.exp(-square / (2 * sd**2)) for sd in (centre, surround)]
    inner, outer = (bell / bell.sum() for bell in bells)
    return (inner - outer).float()[None, None]


def whitening_filters(
    images: Tensor, *, size: int = 9, stride: int = 2, most: int = 1_000_000, eps: float = 0.01
) -> tuple[Tensor, Tensor]:
    """Filters that make pixels uncorrelated and of like variance, learnt from patches.

    With the covariance U S U^T of patches: rows of U (S + eps)^(-1/2) U^T for the pixels in the
    middle, one for each channel; the bias takes the mean patch off.

    Args:
        images: intensities.
        size: of patches, odd.
        stride: between patches.
        most: patches are taken from the first images, so many in all.
        eps: keeps what hardly varies from being blown up.
    Shape:
        images [M, C, H, W] -> filters [C, C, size, size], bias [C]
    """
    C = images.shape[1]
    wide = C * size * size
    total = torch.zeros(wide, dtype=torch.float64)
    squares, count = torch.zeros(wide, wide, dtype=torch.float64), 0
    for part in images.split(256):
        patches = F.unfold(part, size, stride=stride).transpose(1, 2).flatten(0, 1)
        patches = patches[: most - count].double()
        total += patches.sum(0)
        squares += patches.T @ patches
        count += len(patches)
        if count >= most:
            break
    mean = total / count
    covariance = squares / count - mean[:, None] * mean
    values, vectors = torch.linalg.eigh(covariance)
    zca = vectors * (values.clamp(min=0) + eps).rsqrt() @ vectors.T
    middle = torch.arange(C) * size * size + size * size // 2
    filters = zca[middle]
    return filters.view(C, C, size, size).float(), (-(filters @ mean)).float()


def signed_parts(x: Tensor, filters: Tensor, bias: Tensor | None = None) -> Tensor:
    """What filters answer, positive and negative parts as channels of their own.

    Borders are repeated outwards, so that maps keep their size.

    Shape:
        x [B, C, H, W], filters [K, C, n, n], bias [K] -> [B, 2 K, H, W], all >= 0
    """
    side = filters.shape[-1] // 2
    found = F.conv2d(F.pad(x, [side] * 4, mode="replicate"), filters, bias)
    return torch.cat((found.relu(), (-found).relu()), dim=1)


def spread(x: Tensor, least: Tensor, most: Tensor) -> Tensor:
    """Values from least..most to 0..1; where these are equal, 0.

    Shape:
        x [B, *], least and most [*] -> [B, *]
    """
    width = most - least
    return torch.where(width > 0, (x - least) / width.where(width > 0, 1.0), 0.0).clamp(0, 1)
