"""Spiking residual networks; with ``neuron=relu`` the same definition is the ReLU twin."""

from collections.abc import Sequence
from functools import partial
from typing import ClassVar, Literal

from torch import Tensor, nn

from spikeloom.layers import MaxPool2d, OverTime, Stack
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
    linear_layer,
    scaled,
    strided,
)
from spikeloom.models.residual import BLOCKS
from spikeloom.registry import register, unknown

STEMS = {"cifar": (3, 1), "imagenet": (7, 2)}  # kernel and stride of the first convolution


class SpikingResNet(nn.Module):
    """A first convolution, stages of residual blocks, and a linear read-out of every step.

    Every stage but the first halves the image. ``stages[i]`` is a row of blocks that puts out
    ``stage_channels[i]`` channels.

    Args:
        channels: width of every stage; the first convolution has that of the first.
        blocks: number of blocks in every stage, of two convolutions each.
        hidden: widths of the hidden linear layers.
        in_shape: (C, H, W) of one image.
        num_classes: K.
        neuron: makes the neurons of a layer from the shape (C, *) of one sample.
        norm: makes the norm of a layer from its number of channels.
        readout: makes what follows the last linear map from the shape (K,): leaky integrators
            (``li``), spiking neurons (``spikes``), or nothing.
        head: makes what stands in place of the linear layers,
            from the number of features and K; instead of ``readout``.
        width: multiplies all widths.
        residual: ``standard`` (neurons after the addition), ``sew`` (before it, spikes are added)
            or ``membrane`` (neurons first, real values are added).
        stem: ``cifar`` (3x3, no pooling) or ``imagenet`` (7x7 of stride 2, max-pooling by 2).
    Shape:
        x_seq [T, N, C, H, W] -> logits_seq [T, N, K], spikes with ``readout=spikes``
    Raises:
        ValueError: unknown residual or stem; when called, an input that does not fit ``in_shape``.
    Source:
        He et al., CVPR 2016 (18, 20 and 34 layers); Zheng et al., AAAI 2021 (19 layers); for the
        blocks see :mod:`spikeloom.models.residual`. Projections, where shapes change, are 1x1
        convolutions with a norm. Hidden linear layers have a norm and no bias, and the membrane
        kind keeps the max-pooling of the ``imagenet`` stem; both differ from the authors' code.
    """

    step_by_step: ClassVar[bool] = True  # time passes only inside the layers

    def __init__(
        self,
        channels: Sequence[int],
        blocks: Sequence[int],
        hidden: Sequence[int] = (),
        *,
        in_shape: tuple[int, int, int],
        num_classes: int,
        neuron: MakeNeuron,
        norm: MakeNorm,
        readout: MakeReadout | None = None,
        head: MakeHead | None = None,
        width: float = 1.0,
        residual: Literal["standard", "sew", "membrane"] = "standard",
        stem: Literal["cifar", "imagenet"] = "cifar",
    ) -> None:
        super().__init__()
        if residual not in BLOCKS:
            raise ValueError(unknown("residual", residual, BLOCKS))
        if stem not in STEMS:
            raise ValueError(unknown("stem", stem, STEMS))
        self.in_shape = tuple(in_shape)
        self.stage_channels = tuple(scaled(item, width) for item in channels)
        spiking = residual != "membrane"
        c, size = self.stage_channels[0], (in_shape[1], in_shape[2])
        layers, size = first_layers(stem, in_shape[0], c, size, neuron if spiking else None, norm)
        self.stem = Stack(*layers)
        self.stages = Stack()
        for i, (out, count) in enumerate(zip(self.stage_channels, blocks, strict=True)):
            stride = 1 if i == 0 else 2
            self.stages.append(stage(residual, count, c, out, stride, size, neuron, norm))
            c, size = out, strided(size, stride)
        last = [] if spiking else [neuron((c, *size))]
        self.head = Stack(*last, OverTime(nn.AdaptiveAvgPool2d(1)), OverTime(nn.Flatten()))
        for item in () if head else hidden:
            out = scaled(item, width)
            self.head.extend(linear_layer(c, out, neuron=neuron, norm=norm))
            c = out
        self.head.extend(last_layer(c, num_classes, readout, head))
        initialise(self)

    def forward(self, x_seq: Tensor) -> Tensor:
        check_input(self, x_seq, self.in_shape)
        logits_seq: Tensor = self.head(self.stages(self.stem(x_seq)))
        return logits_seq


def first_layers(
    stem: str, c: int, out: int, size: Size, neuron: MakeNeuron | None, norm: MakeNorm
) -> tuple[list[nn.Module], Size]:
    """The first convolution with its norm, neurons and pooling if any; and the size they leave."""
    kernel, stride = STEMS[stem]
    layers, size = [*conv_norm(c, out, kernel, stride, norm)], strided(size, stride)
    if neuron is not None:
        layers.append(neuron((out, *size)))
    if stem == "imagenet":
        layers.append(OverTime(MaxPool2d(3, 2, 1)))
        size = strided(size, 2)
    return layers, size


def stage(
    residual: str,
    count: int,
    c: int,
    out: int,
    stride: int,
    size: Size,
    neuron: MakeNeuron,
    norm: MakeNorm,
) -> Stack:
    """A row of blocks, the first of which has the stride."""
    block = BLOCKS[residual]
    first = block(c, out, stride, size, neuron, norm)
    size = strided(size, stride)
    return Stack(first, *(block(out, out, 1, size, neuron, norm) for _ in range(count - 1)))


for _layers, _channels, _blocks, _hidden in (
    (18, (64, 128, 256, 512), (2, 2, 2, 2), ()),
    (19, (128, 256, 512), (3, 3, 2), (256,)),
    (20, (16, 32, 64), (3, 3, 3), ()),
    (34, (64, 128, 256, 512), (3, 4, 6, 3), ()),
):
    register(
        "model",
        f"spiking_resnet{_layers}",
        summary=f"Spiking ResNet: stages of {_channels} channels, {_blocks} blocks.",
    )(partial(SpikingResNet, _channels, _blocks, _hidden))
