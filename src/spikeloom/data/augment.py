"""From stored pixels to what a network sees: scale, augment, normalise.

``unit`` scales, :class:`Augment` changes, :func:`normalise` shifts; in that order, on the device.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Augment(nn.Module):
    """Augmentation steps, one after another; none changes nothing.

    All randomness comes from torch's global generator on the CPU, so that restoring it with
    ``torch.set_rng_state`` repeats the images exactly, on any device. A step sees a sequence as one
    image with the channels of all its steps, so that these stay aligned; one that says ``in_time``
    sees its time axis.

    Shape:
        x float [B, C, H, W] or [B, T, C, H, W] in 0..1, y int64 [B] or float [B, K] -> the same; a
        step may make targets soft, from [B] to [B, K]

    Raises:
        TypeError: x is not floating point; scale it with ``unit`` first.
    """

    def __init__(self, steps: Sequence[nn.Module] = ()) -> None:
        super().__init__()
        self.steps = nn.ModuleList(steps)

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Apply every step to the images and their targets."""
        if not x.is_floating_point():
            raise TypeError(f"expected float images in 0..1, got {x.dtype}; scale with unit(x)")
        for step in self.steps:
            if x.dim() == 5 and not getattr(step, "in_time", False):
                whole, y = step(x.flatten(1, 2), y)
                x = whole.unflatten(1, x.shape[1:3])
            else:
                x, y = step(x, y)
        return x, y


def unit(x: Tensor) -> Tensor:
    """Pixels 0..255 as float 0..1.

    Raises:
        TypeError: x is not uint8.
    """
    if x.dtype != torch.uint8:
        raise TypeError(f"expected uint8 pixels 0..255, got {x.dtype}")
    return x.float() / 255


def normalise(x: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Images with zero mean and unit variance per channel.

    (x - mean) / std, after uint8 pixels 0..255 are scaled to 0..1; a float x is taken to be so.

    Shape:
        x [B, C, H, W] or [B, T, C, H, W], mean [C], std [C] -> float, the same

    Raises:
        ValueError: as many means and stds as channels are needed.
    """
    if not x.shape[-3] == len(mean) == len(std):
        raise ValueError(
            f"x has {x.shape[-3]} channels, but there are {len(mean)} means and {len(std)} stds"
        )
    x = unit(x) if x.dtype == torch.uint8 else x
    shift, scale = x.new_tensor((tuple(mean), tuple(std)))[:, :, None, None].unbind()
    return (x - shift) / scale
