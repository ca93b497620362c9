"""From images to tokens: the first convolutions of spiking networks that mix tokens."""

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from spikeloom.layers import Conv2d, MaxPool2d, OverTime, Stack
from spikeloom.models.parts import MakeNeuron, MakeNorm, Size, conv_norm, strided
from spikeloom.models.token_mixers import SPIKFORMER, STMIXER
from spikeloom.registry import register

# (channels in, channels out, size, halvings, neuron, norm)
MakePatches = Callable[[int, int, Size, int, MakeNeuron, MakeNorm], nn.Module]


@register("patch", "ipsps", paper=STMIXER, status="exact")
class ProtectedPatches(nn.Module):
    """Information-protecting patch splitting: strides in place of pooling, and a path past them.

    Five 3x3 convolutions of D/8, D/4, D/2, D and 7D/8 channels, the last ``halvings`` of stride 2,
    each with a norm, and neurons after all but the last. Beside them one convolution with a norm
    reads whole patches of the image; its D/8 channels come first.

    Args:
        c: channels of the image.
        out: D, a multiple of 8.
        size: (H, W) of the image, multiples of 2^halvings.
        halvings: d, from 1 to 5.
        neuron: makes the neurons of a layer from the shape (C, H, W) of one sample.
        norm: makes the norm of a layer from its number of channels.
    Shape:
        x_seq [T, N, C, H, W] -> [T, N, D, H / 2^d, W / 2^d], real values
    Source:
        Deng, Wu, Du and Gu, NeurIPS 2024; d = 2 for 32 x 32, 4 for 128 x 128 and 224 x 224.
    """

    step_by_step: ClassVar[bool] = True  # time passes only inside the layers

    def __init__(
        self, c: int, out: int, size: Size, halvings: int, neuron: MakeNeuron, norm: MakeNorm
    ) -> None:
        super().__init__()
        widths = (out // 8, out // 4, out // 2, out)
        self.main, left, side = Stack(), c, size
        for i, width in enumerate(widths):
            stride = 2 if i >= 5 - halvings else 1
            side = strided(side, stride)
            self.main.extend((*conv_norm(left, width, 3, stride, norm), neuron((width, *side))))
            left = width
        self.main.extend(conv_norm(left, out - out // 8, 3, 2, norm))
        patch = 2**halvings
        self.protect = Stack(
            OverTime(Conv2d(c, out // 8, patch, patch, bias=False)), norm(out // 8)
        )

    def forward(self, x_seq: Tensor) -> Tensor:
        return torch.cat([self.protect(x_seq), self.main(x_seq)], dim=2)


@register("patch", "sps", paper=SPIKFORMER, status="exact")
def sps(c: int, out: int, size: Size, halvings: int, neuron: MakeNeuron, norm: MakeNorm) -> Stack:
    """Plain spiking patch splitting: max-pooling of spikes, and no path past it.

    Five 3x3 convolutions of D/8, D/4, D/2, D and D channels with norms; neurons after all but the
    last, and max-pooling by 2 behind the last ``halvings`` of these.

    Source:
        Zhou et al., ICLR 2023 (arXiv 2209.15425), with real values at the end; there neurons follow
        the last convolution too, and its input is added.
    """
    layers, left = Stack(), c
    for i, width in enumerate((out // 8, out // 4, out // 2, out)):
        layers.extend((*conv_norm(left, width, 3, 1, norm), neuron((width, *size))))
        if i >= 4 - halvings:
            layers.append(OverTime(MaxPool2d(3, 2, 1)))
            size = strided(size, 2)
        left = width
    layers.extend(conv_norm(left, out, 3, 1, norm))
    return layers


PATCHES: dict[str, MakePatches] = {"ipsps": ProtectedPatches, "sps": sps}
DEEPEST = {"ipsps": 5, "sps": 4}  # halvings
