"""Augmentation of a rectangle of each image, by kornia: cutmix and random erasing."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikeloom.papers import Paper
from spikeloom.registry import register


@register(
    "augment",
    "cutmix",
    paper=Paper(
        key="yun2019cutmix",
        title="CutMix: Regularization Strategy to Train Strong Classifiers with Localizable "
        "Features",
        authors=(
            "Sangdoo Yun",
            "Dongyoon Han",
            "Seong Joon Oh",
            "Sanghyuk Chun",
            "Junsuk Choe",
            "Youngjoon Yoo",
        ),
        venue="ICCV",
        year=2019,
        url="https://arxiv.org/abs/1905.04899",
    ),
)
class CutMix(nn.Module):
    """Put a rectangle of another image of the batch into each, and mix targets by its area.

    y <- λ y + (1 - λ) y', λ the share of the image that is left; before clipping λ ~ Beta(α, α).
    A thin wrapper of kornia's ``RandomCutMixV2``.

    Args:
        num_classes: length of the targets.
        alpha: 1 for any size, towards 0 for tiny and nearly whole rectangles; > 0.
        p: probability with which a batch is mixed.
    Shape:
        x float [B, C, H, W], y int64 [B] or float [B, K] -> x, y float [B, K]
    Raises:
        ValueError: alpha <= 0, p outside [0, 1], num_classes < 1, or soft targets of another
            length.
    Source:
        Yun et al. (2019).
    """

    def __init__(self, num_classes: int, alpha: float = 1.0, p: float = 1.0) -> None:
        super().__init__()
        if num_classes < 1 or not alpha > 0 or not 0 <= p <= 1:
            raise ValueError(
                "cutmix needs num_classes >= 1, alpha > 0 and p in [0, 1], got "
                f"{num_classes}, {alpha} and {p}"
            )
        from kornia.augmentation import RandomCutMixV2

        self.num_classes = num_classes
        self.mix = RandomCutMixV2(
            beta=alpha, p=p, data_keys=["input", "class"], use_correct_lambda=True
        )

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Mix images and targets."""
        soft = F.one_hot(y, self.num_classes).to(x.dtype) if y.dim() == 1 else y
        if soft.shape != (len(x), self.num_classes):
            raise ValueError(
                f"expected targets [{len(x)}] or [{len(x)}, {self.num_classes}], "
                f"got {tuple(y.shape)}"
            )
        if len(x) < 2:
            return x, soft
        x, found = self.mix(x, torch.arange(len(x), device=x.device))
        if not self.mix._params["batch_prob"].any():
            return x, soft
        other, share = found[0, :, 1].long(), found[0, :, 2:].to(soft.dtype)
        return x, share * soft + (1 - share) * soft[other]


@register(
    "augment",
    "erase",
    paper=Paper(
        key="zhong2020random",
        title="Random Erasing Data Augmentation",
        authors=("Zhun Zhong", "Liang Zheng", "Guoliang Kang", "Shaozi Li", "Yi Yang"),
        venue="AAAI Conference on Artificial Intelligence",
        year=2020,
        url="https://arxiv.org/abs/1708.04896",
    ),
)
class Erase(nn.Module):
    """Blank a rectangle inside some of the images.

    A thin wrapper of kornia's ``RandomErasing``.

    Args:
        p: probability for each image.
        scale: least and greatest share of the image.
        ratio: least and greatest height over width.
        fill: value put there, in 0..1.
    Shape:
        x float [B, C, H, W] -> the same
    Raises:
        ValueError: p outside [0, 1], or scale or ratio out of order.
    Source:
        Zhong et al. (2020).
    """

    def __init__(
        self,
        p: float = 0.25,
        scale: tuple[float, float] = (0.02, 0.33),
        ratio: tuple[float, float] = (0.3, 3.3),
        fill: float = 0.0,
    ) -> None:
        super().__init__()
        if not 0 <= p <= 1 or not 0 < scale[0] <= scale[1] <= 1 or not 0 < ratio[0] <= ratio[1]:
            raise ValueError(
                "erase needs p in [0, 1], 0 < scale <= 1 and ratio > 0, each the least first, got "
                f"p={p}, scale={scale}, ratio={ratio}"
            )
        from kornia.augmentation import RandomErasing

        self.erase = RandomErasing(scale=scale, ratio=ratio, value=fill, p=p)

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Blank a rectangle of some images."""
        out: Tensor = self.erase(x)
        return out, y
