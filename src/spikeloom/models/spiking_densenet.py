"""Spiking densely connected networks; with ``neuron=relu`` the same definition is the ReLU twin."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from spikeloom.layers import Conv2d, OverTime, Stack
from spikeloom.models.parts import (
    MakeHead,
    MakeNeuron,
    MakeNorm,
    MakeReadout,
    Size,
    check_input,
    conv_norm,
    initialise,
    last_layer,
    scaled,
    strided,
)
from spikeloom.registry import register


class DenseLayer(nn.Module):
    """Appends channels that it computes from all those before: y = [x, body(x)].

    The body is norm, neurons, 1x1 convolution, norm, neurons, 3x3 convolution: what is appended
    are real values, and every layer fires anew on all that it reads.

    Shape:
        x_seq [T, N, C, H, W] -> [T, N, C + growth, H, W]
    """

    step_by_step: ClassVar[bool] = True  # time passes only inside the layers

    def __init__(
        self, c: int, growth: int, bottleneck: int, size: Size, neuron: MakeNeuron, norm: MakeNorm
    ) -> None:
        super().__init__()
        between = bottleneck * growth
        self.body = Stack(
            *norm_fire_conv(c, between, 1, size, neuron, norm),
            *norm_fire_conv(between, growth, 3, size, neuron, norm),
        )

    def forward(self, x_seq: Tensor) -> Tensor:
        return torch.cat([x_seq, self.body(x_seq)], dim=2)


@register("model", "spiking_densenet_bc")
class SpikingDenseNet(nn.Module):
    """A stem, stages of dense layers with transitions between, and a linear read-out of every step.

    The stem is a 3x3 convolution, norm, neurons, and a 3x3 convolution of stride 2. A transition is
    norm, neurons, 1x1 convolution and average pooling by 2. Last come norm, neurons and the spatial
    mean. ``stages[i]`` is a row of dense layers, behind its transition if it has one, and puts out
    ``stage_channels[i]`` channels.

    Args:
        blocks: number of dense layers in every stage.
        growth: channels that each of them appends.
        bottleneck: width of its 1x1 convolution as a multiple of ``growth``.
        compression: share of the channels that a transition keeps.
        stem: width of the stem.
        in_shape: (C, H, W) of one image.
        num_classes: K.
        neuron: makes the neurons of a layer from the shape (C, *) of one sample.
        norm: makes the norm of a layer from its number of channels.
        readout: makes what follows the last linear map from the shape (K,): leaky integrators
            (``li``), spiking neurons (``spikes``), or nothing.
        head: makes what stands in place of the last linear map, from the number of features and K;
            instead of ``readout``.
        width: multiplies ``growth`` and ``stem``.
    Shape:
        x_seq [T, N, C, H, W] -> logits_seq [T, N, K], spikes with ``readout=spikes``
    Raises:
        ValueError: the image is too small for the transitions, or an argument is out of range; when
            called, an input that does not fit ``in_shape``.
    Source:
        Huang et al., CVPR 2017 (DenseNet-BC); stem, order and sizes as in the code of Wang, Cheng
        and Lim, NeurIPS 2022 (LTMD).
    """

    step_by_step: ClassVar[bool] = True  # time passes only inside the layers

    def __init__(
        self,
        blocks: Sequence[int] = (12, 12, 24),
        *,
        in_shape: tuple[int, int, int],
        num_classes: int,
        neuron: MakeNeuron,
        norm: MakeNorm,
        readout: MakeReadout | None = None,
        head: MakeHead | None = None,
        width: float = 1.0,
        growth: int = 32,
        bottleneck: int = 4,
        compression: float = 0.5,
        stem: int = 256,
    ) -> None:
        super().__init__()
        check_sizes(blocks, in_shape, growth, bottleneck, compression, stem)
        self.in_shape = tuple(in_shape)
        size, c, more = (in_shape[1], in_shape[2]), scaled(stem, width), scaled(growth, width)
        self.stem = Stack(
            *conv_norm(in_shape[0], c, 3, 1, norm),
            neuron((c, *size)),
            OverTime(Conv2d(c, c, 3, 2, 1, bias=False)),
        )
        size = strided(size, 2)
        self.stages = Stack()
        channels = []
        for i, count in enumerate(blocks):
            row = Stack()
            if i:
                kept = scaled(c, compression)
                row.extend(norm_fire_conv(c, kept, 1, size, neuron, norm))
                row.append(OverTime(nn.AvgPool2d(2)))
                c, size = kept, (size[0] // 2, size[1] // 2)
            for _ in range(count):
                row.append(DenseLayer(c, more, bottleneck, size, neuron, norm))
                c += more
            self.stages.append(row)
            channels.append(c)
        self.stage_channels = tuple(channels)
        self.head = Stack(
            norm(c),
            neuron((c, *size)),
            OverTime(nn.AdaptiveAvgPool2d(1)),
            OverTime(nn.Flatten()),
            *last_layer(c, num_classes, readout, head),
        )
        initialise(self)

    def forward(self, x_seq: Tensor) -> Tensor:
        check_input(self, x_seq, self.in_shape)
        logits_seq: Tensor = self.head(self.stages(self.stem(x_seq)))
        return logits_seq


def norm_fire_conv(
    c: int, out: int, kernel: int, size: Size, neuron: MakeNeuron, norm: MakeNorm
) -> list[nn.Module]:
    """Norm, neurons and a convolution without bias, padded by half its kernel."""
    conv = Conv2d(c, out, kernel, padding=kernel // 2, bias=False)
    return [norm(c), neuron((c, *size)), OverTime(conv)]


def check_sizes(
    blocks: Sequence[int],
    in_shape: Sequence[int],
    growth: int,
    bottleneck: int,
    compression: float,
    stem: int,
) -> None:
    """Raise ValueError unless such a network can be built."""
    if not blocks or min(blocks) < 1 or min(growth, bottleneck, stem) < 1:
        raise ValueError(
            "blocks, growth, bottleneck and stem must be >= 1, got "
            f"{tuple(blocks)}, {growth}, {bottleneck} and {stem}"
        )
    if not 0 < compression <= 1:
        raise ValueError(f"compression must be in (0, 1], got {compression}")
    if min(strided((in_shape[1], in_shape[2]), 2)) < 2 ** (len(blocks) - 1):
        raise ValueError(
            f"an image of {in_shape[1]} x {in_shape[2]} is too small for the {len(blocks) - 1} "
            "transitions of this network; take fewer blocks or larger images"
        )
