"""Images of another size, made once when they are read."""

import torch
from torch.nn import functional as F

from spikeloom.data.source import TensorImages


def resized(part: TensorImages, side: int) -> TensorImages:
    """The same images with so many pixels along each side, bilinear with anti-aliasing.

    Shape:
        images uint8 [M, C, H, W] -> uint8 [M, C, side, side]
    Raises:
        ValueError: side < 1.
    """
    if side < 1:
        raise ValueError(f"side is in pixels, >= 1, got {side}")
    if part.images.shape[2:] == (side, side):
        return part
    small = [
        F.interpolate(images.float(), (side, side), mode="bilinear", antialias=True)
        .round()
        .clamp(0, 255)
        .to(torch.uint8)
        for images in part.images.split(4096)  # so that no float copy of all is made
    ]
    return TensorImages(torch.cat(small), part.labels)
