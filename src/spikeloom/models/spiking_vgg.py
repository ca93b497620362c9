"""Spiking VGG networks; with ``neuron=relu`` the same definition is the ReLU twin."""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import pairwise
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
from spikeloom.registry import register, unknown

# Channels of the convolutions; P halves the image; what follows the bar are hidden linear layers.
PLANS: dict[str, tuple[tuple[int | str, ...], tuple[int, ...]]] = {
    "spiking_vgg5": ((64, "P", 128, 128, "P"), (1024,)),
    "spiking_vgg9": ((64, 64, "P", 128, 128, "P", 256, 256, 256, "P"), (1024,)),
    "spiking_vgg11": ((64, "P", 128, "P", 256, 256, "P", 512, 512, "P", 512, 512, "P"), (512, 512)),
    "spiking_vgg16": (
        (64, 64, "P", 128, 128, "P", 256, 256, 256, "P", 512, 512, 512, "P", 512, 512, 512, "P"),
        (512, 512),
    ),
}

POOLINGS = {"average": nn.AvgPool2d, "max": MaxPool2d, "strided": nn.Identity}


class SpikingVGG(nn.Module):
    """Convolutions, norms and neurons in a row, then a linear read-out of every step.

    Args:
        plan: widths of the convolutions, ``"P"`` for a pooling by 2.
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
        pool: ``average``, ``max`` or ``strided`` (the convolution before it has stride 2).
        dropout: share of the hidden linear layers' inputs left out, the same at all steps.
        kernel: side of the convolutions, odd; images are padded by half of it.
    Shape:
        x_seq [T, N, C, H, W] -> logits_seq [T, N, K], spikes with ``readout=spikes``
    Raises:
        ValueError: the image is too small for the poolings, or an argument is out of range; when
            called, an input that does not fit ``in_shape``.
    """

    step_by_step: ClassVar[bool] = True  # time passes only inside the layers

    def __init__(
        self,
        plan: Sequence[int | str] = PLANS["spiking_vgg5"][0],
        hidden: Sequence[int] = PLANS["spiking_vgg5"][1],
        *,
        in_shape: tuple[int, int, int],
        num_classes: int,
        neuron: MakeNeuron,
        norm: MakeNorm,
        readout: MakeReadout | None = None,
        head: MakeHead | None = None,
        width: float = 1.0,
        pool: Literal["average", "max", "strided"] = "average",
        dropout: float = 0.0,
        kernel: int = 3,
    ) -> None:
        super().__init__()
        if kernel < 1 or kernel % 2 == 0:
            raise ValueError(f"kernel must be odd, got {kernel}; images are padded by half of it")
        if pool not in POOLINGS:
            raise ValueError(unknown("pool", pool, POOLINGS))
        if head and dropout:
            raise ValueError(
                f"dropout = {dropout} is for the hidden linear layers, and the head replaces them; "
                "leave it out"
            )
        if min(in_shape[1:]) < 2 ** list(plan).count("P"):
            raise ValueError(
                f"an image of {in_shape[1]} x {in_shape[2]} is too small for the poolings of this "
                "network; take a network with fewer or larger images"
            )
        self.in_shape = tuple(in_shape)
        self.features = Stack()
        c, size = in_shape[0], (in_shape[1], in_shape[2])
        ends: list[tuple[int, int]] = []
        for own, halve in stage_plans(plan):
            widths = [c, *(scaled(item, width) for item in own)]
            halving = pool if halve else None
            layers, size = stage(widths, size, halving, neuron, norm, kernel)
            self.features.extend(layers)
            c = widths[-1]
            ends.append((len(self.features), c))
        self._ends, self.stage_channels = zip(*ends, strict=True)
        self.classifier = Stack(OverTime(nn.Flatten()))
        n = c * size[0] * size[1]
        for item in () if head else hidden:
            out = scaled(item, width)
            self.classifier.extend(linear_layer(n, out, neuron=neuron, norm=norm, dropout=dropout))
            n = out
        self.classifier.extend(last_layer(n, num_classes, readout, head))
        initialise(self)

    @property
    def stages(self) -> list[Stack]:
        """The slices of ``features`` up to and with each pooling; ``stage_channels`` come out.

        The slices share their layers with the model: hook or call those, not the slices.
        """
        layers = list(self.features)
        starts = (0, *self._ends[:-1])
        return [Stack(*layers[a:b]) for a, b in zip(starts, self._ends, strict=True)]

    def forward(self, x_seq: Tensor) -> Tensor:
        check_input(self, x_seq, self.in_shape)
        logits_seq: Tensor = self.classifier(self.features(x_seq))
        return logits_seq


def stage_plans(channels: Sequence[int | str]) -> Iterator[tuple[list[int], bool]]:
    """Widths of the convolutions up to each ``"P"``, and whether there is one."""
    plan: list[int] = []
    for item in channels:
        if item == "P":
            yield plan, True
            plan = []
        else:
            plan.append(int(item))
    if plan:
        yield plan, False


def stage(
    widths: Sequence[int],
    size: Size,
    pool: str | None,
    neuron: MakeNeuron,
    norm: MakeNorm,
    kernel: int = 3,
) -> tuple[list[nn.Module], Size]:
    """Convolutions from ``widths[0]`` channels on, a pooling if any, and the size they leave."""
    layers: list[nn.Module] = []
    for i, (c, out) in enumerate(pairwise(widths), start=2):
        stride = 2 if pool == "strided" and i == len(widths) else 1
        size = strided(size, stride)
        layers += [*conv_norm(c, out, kernel, stride, norm), neuron((out, *size))]
    if pool is not None and pool != "strided":
        layers.append(OverTime(POOLINGS[pool](2)))
        size = size[0] // 2, size[1] // 2
    return layers, size


register("model", "spiking_vgg")(SpikingVGG)
for _name, (_channels, _hidden) in PLANS.items():
    register("model", _name, summary=f"Spiking VGG: {_channels}, {_hidden}.")(
        partial(SpikingVGG, _channels, _hidden)
    )

# A network of one's own: everything is an argument.
register("model", "spiking_cnn", summary="Spiking convolutional network of a given plan.")(
    partial(SpikingVGG, plan=(32, "P", 64, "P"), hidden=(128,))
)
