"""Convolution and pooling of images, as the fast twins of ``spikeloom.kernels`` have them.

They take images without a time axis; ``layers.OverTime`` folds T into N.
"""

from torch import Tensor
from torch.nn import functional as F

Pair = tuple[int, int]


def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> Tensor:
    """Two-dimensional convolution: ``torch.nn.functional.conv2d``.

    Shape:
        x [N, C, H, W], weight [C', C / groups, h, w], bias [C'] -> [N, C', H', W']
    """
    return F.conv2d(x, weight, bias, stride, padding, dilation, groups)


def max_pool2d(
    x: Tensor,
    kernel_size: Pair,
    *,
    stride: Pair,
    padding: Pair = (0, 0),
    dilation: Pair = (1, 1),
) -> Tensor:
    """Largest value of every window: ``torch.nn.functional.max_pool2d``.

    The gradient goes to the first of equal values, in rows from left to right.

    Shape:
        x [N, C, H, W] -> [N, C, H', W']
    """
    y: Tensor = F.max_pool2d(x, kernel_size, stride, padding, dilation)
    return y
