"""A convolutional network of soft winners, as an extractor of features: no spikes, no labels."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.grad import conv2d_weight

from spikeloom.layers.extractors.base import Extractor
from spikeloom.papers import Paper
from spikeloom.registry import Unsupported, register

PAPER = Paper(
    key="journe2023hebbian",
    title="Hebbian Deep Learning Without Feedback",
    authors=("Adrien Journé", "Hector Garcia Rodriguez", "Qinghai Guo", "Timoleon Moraitis"),
    venue="International Conference on Learning Representations",
    year=2023,
    url="https://arxiv.org/abs/2209.11883",
)
GAIN = 25.0  # of initial weights, over the root of the fan-in


@dataclass(frozen=True)
class Level:
    """A convolution: its width, the softmax it learns by, its power, and what follows.

    ``pool`` is kernel, stride and padding.
    """

    kernel: int
    temperature: float
    power: float
    pool: tuple[int, int, int]
    average: bool = False


LEVELS = (
    Level(5, 1.0, 0.7, (4, 2, 1)),
    Level(3, 0.65, 1.4, (4, 2, 1)),
    Level(3, 0.25, 1.0, (2, 2, 0), average=True),
)


@register("extractor", "softhebb_cnn", paper=PAPER, status="reconstruction")
class SoftHebb(Extractor):
    """SoftHebb-CNN: three convolutions with batch norms; the learner ``softhebb`` trains it.

    Of each: norm without scale and shift, u = w * x with reflected borders, then
    max(0, u - mean over channels)^p and pooling. The features are divided by their largest.

    Args:
        in_shape: (C, H, W) of an image.
        width: multiplies the channels 96, 384 and 1536.
        keep: keep features on disk: true, or the folder.
    Shape:
        x [N, C, H, W] -> [N, D] in 0..1
    Raises:
        Unsupported: samples that are no images, or too small.
    Source:
        Journé et al., ICLR 2023; constants as paired with first-spike classifiers by Goupy, Tirilly
        and Bilasco, NeurIPS 2024.
    """

    def __init__(
        self, *, in_shape: tuple[int, ...], width: float = 1.0, keep: bool | str = False
    ) -> None:
        super().__init__(in_shape, keep)
        if len(in_shape) != 3 or min(in_shape[1:]) < 8:
            raise Unsupported(
                f"softhebb_cnn sees images [C, H, W] of 8 pixels and more, got samples "
                f"{tuple(in_shape)}; take other data or another extractor"
            )
        channels = [in_shape[0], *(max(1, round(n * width)) for n in (96, 384, 1536))]
        self.norms = nn.ModuleList(nn.BatchNorm2d(n, affine=False) for n in channels[:-1])
        self.weights = nn.ParameterList(
            nn.Parameter(_start(out, into, level.kernel), requires_grad=False)
            for into, out, level in zip(channels[:-1], channels[1:], LEVELS, strict=True)
        )
        height, across = in_shape[1:]
        for level in LEVELS:
            kernel, stride, padding = level.pool
            height, across = (
                (size + 2 * padding - kernel) // stride + 1 for size in (height, across)
            )
        self.out_features = channels[-1] * height * across

    def features(self, x: Tensor) -> Tensor:
        for at in range(len(LEVELS)):
            x = self._onward(at, self._potential(at, self.norms[at](x)))
        x = x.flatten(1)
        largest = x.amax(1, keepdim=True)
        return x / largest.where(largest > 0, 1.0)

    @torch.no_grad()
    def learn(self, x: Tensor, rates: Sequence[float]) -> None:
        """One update of all convolutions; each sees what the ones before it made of the batch.

        With y = softmax(temperature u) over channels, -y but for the winner of a place:
        Δw = sum over places of y (x - u w), divided by its largest magnitude, times
        rate √|‖w‖ - 1| of each filter.

        Args:
            x: images; the norms take their statistics from them in training mode.
            rates: of each convolution.
        Shape:
            x [N, C, H, W]
        """
        for at, (level, rate) in enumerate(zip(LEVELS, rates, strict=True)):
            x = self.norms[at](x)
            u, w = self._potential(at, x), self.weights[at]
            y = (level.temperature * u).softmax(1)
            y = torch.where(u == u.amax(1, keepdim=True), y, -y)
            pulled = conv2d_weight(_padded(x, level.kernel), w.shape, y)
            change = pulled - (y * u).sum((0, 2, 3))[:, None, None, None] * w
            length = w.flatten(1).norm(dim=1)
            x = self._onward(at, u)
            scale = rate * (length - 1).abs().sqrt() / change.abs().amax().clamp(min=1e-30)
            w += scale[:, None, None, None] * change
        self.learnt += 1

    def _potential(self, at: int, x: Tensor) -> Tensor:
        return F.conv2d(_padded(x, LEVELS[at].kernel), self.weights[at])

    def _onward(self, at: int, u: Tensor) -> Tensor:
        level = LEVELS[at]
        h: Tensor = (u - u.mean(1, keepdim=True)).relu() ** level.power
        pooled: Tensor = (F.avg_pool2d if level.average else F.max_pool2d)(h, *level.pool)
        return pooled


def _start(out: int, into: int, kernel: int) -> Tensor:
    fan = into * kernel * kernel
    start: Tensor = torch.randn(out, into, kernel, kernel) * (GAIN / fan**0.5)
    return start


def _padded(x: Tensor, kernel: int) -> Tensor:
    return F.pad(x, [kernel // 2] * 4, mode="reflect")
