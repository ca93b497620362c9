"""Spiking VGG networks; with ``neuron=relu`` the same definition is the ReLU twin."""

from collections.abc import Sequence
from functools import partial

from torch import Tensor, nn

from spikeloom.layers import Dropout, OverTime
from spikeloom.models.parts import MakeNeuron, MakeNorm, initialise, scaled
from spikeloom.registry import register

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


class SpikingVGG(nn.Module):
    """Convolutions, norms and neurons in a row, then a linear read-out of every step.

    Args:
        channels: widths of the convolutions, ``"P"`` for a pooling by 2.
        hidden: widths of the hidden linear layers.
        in_shape: (C, H, W) of one image.
        num_classes: K.
        neuron: makes the neurons of a layer from the shape (C, *) of one sample.
        norm: makes the norm of a layer from its number of channels.
        width: multiplies all widths.
        pool: ``average``, ``max`` or ``strided`` (the convolution before it has stride 2).
        dropout: share of the hidden linear layers' inputs left out, the same at all steps.
    Shape:
        x_seq [T, N, C, H, W] -> logits_seq [T, N, K]

    Raises:
        ValueError: the image is too small for the poolings, or an argument is out of range.
    """

    def __init__(
        self,
        channels: Sequence[int | str],
        hidden: Sequence[int],
        *,
        in_shape: tuple[int, int, int],
        num_classes: int,
        neuron: MakeNeuron,
        norm: MakeNorm,
        width: float = 1.0,
        pool: str = "average",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.features = nn.Sequential()
        c, h, w = in_shape
        plan = list(channels)
        for i, item in enumerate(plan):
            if item == "P":
                h, w = halved(h, w, in_shape)
                if pool != "strided":
                    self.features.append(OverTime(pooling(pool)))
                continue
            out = scaled(int(item), width)
            stride = 2 if pool == "strided" and plan[i + 1 : i + 2] == ["P"] else 1
            size = ((h + 1) // 2, (w + 1) // 2) if stride == 2 else (h, w)
            self.features.append(OverTime(nn.Conv2d(c, out, 3, stride, 1, bias=False)))
            self.features.append(norm(out))
            self.features.append(neuron((out, *size)))
            c = out
        self.classifier = nn.Sequential(OverTime(nn.Flatten()))
        n = c * h * w
        for item in hidden:
            out = scaled(item, width)
            if dropout:
                self.classifier.append(Dropout(dropout))
            self.classifier.append(OverTime(nn.Linear(n, out, bias=False)))
            self.classifier.append(norm(out))
            self.classifier.append(neuron((out,)))
            n = out
        self.classifier.append(OverTime(nn.Linear(n, num_classes)))
        initialise(self)

    def forward(self, x_seq: Tensor) -> Tensor:
        logits_seq: Tensor = self.classifier(self.features(x_seq))
        return logits_seq


def pooling(pool: str) -> nn.Module:
    """The pooling by 2 of that name."""
    if pool == "average":
        return nn.AvgPool2d(2)
    if pool == "max":
        return nn.MaxPool2d(2)
    raise ValueError(f"pool must be 'average', 'max' or 'strided', got {pool!r}")


def halved(h: int, w: int, in_shape: tuple[int, ...]) -> tuple[int, int]:
    """Image size after a pooling by 2."""
    if h < 2 or w < 2:
        raise ValueError(
            f"an image of {in_shape[1]} x {in_shape[2]} is too small for the poolings of this "
            "network; take a network with fewer or larger images"
        )
    return h // 2, w // 2


for _name, (_channels, _hidden) in PLANS.items():
    register("model", _name, summary=f"Spiking VGG: {_channels}, {_hidden}.")(
        partial(SpikingVGG, _channels, _hidden)
    )
