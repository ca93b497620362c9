"""AutoAugment: a drawn pair of picture operations for each image."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikeloom.papers import Paper
from spikeloom.registry import register

GREY = 128 / 255
Operation = Callable[[Tensor, Tensor], Tensor]


@register(
    "augment",
    "autoaugment",
    paper=Paper(
        key="cubuk2019autoaugment",
        title="AutoAugment: Learning Augmentation Strategies from Data",
        authors=("Ekin D. Cubuk", "Barret Zoph", "Dandelion Mané", "Vijay Vasudevan", "Quoc V. Le"),
        venue="CVPR",
        year=2019,
        url="https://arxiv.org/abs/1805.09501",
    ),
)
class AutoAugment(nn.Module):
    """Two operations in a row per image, each done with its own probability and strength.

    Every image draws its own pair of operations. kornia's ``AutoAugment`` draws one pair for the
    whole batch, moves in one direction only, and its shear, solarize and posterize differ from the
    paper's; so only kornia's tables of pairs and its colour operations are used here.

    Strength 0..9 goes evenly from nothing to: rotate 30 degrees, shear 0.3, translate 150/331 of
    the side; colour, contrast, brightness and sharpness times 1 +- 0.9; solarize from white to
    black; posterize from 8 to 4 bits. Directions have a random sign. Pixels from outside are grey.
    About 6.5 ms of processor time for 128 images of 3 x 32 x 32.

    Args:
        policy: the pairs found for ``cifar10``, ``svhn`` or ``imagenet``.
    Shape:
        x float [B, C, H, W] in 0..1 with C = 1 or 3, H and W >= 3 -> the same
    Raises:
        ValueError: an unknown policy; other than 1 or 3 channels.
    Source:
        Cubuk et al. (2019), appendix A. As in most published code, but not the authors', the
        four enhancements also have a random sign.
    """

    def __init__(self, policy: str = "cifar10") -> None:
        super().__init__()
        from kornia.augmentation.auto.autoaugment import autoaugment as tables

        known = {name: f"{name}_policy" for name in ("cifar10", "svhn", "imagenet")}
        if policy not in known:
            raise ValueError(f"policy is {policy!r}; use one of {', '.join(known)}")
        pairs = getattr(tables, known[policy])
        self.names = sorted({name for pair in pairs for name, _, _ in pair})
        self.operations = [_operation(name) for name in self.names]
        of = {name: at for at, name in enumerate(self.names)}
        # [pairs, 2]: which operation, how likely, how strong. Plain tensors, not buffers: they
        # stay on the CPU, where everything is drawn.
        self.which = torch.tensor([[of[name] for name, _, _ in pair] for pair in pairs])
        self.likely = torch.tensor([[p for _, p, _ in pair] for pair in pairs])
        self.strong = torch.tensor([[(level or 0) / 9 for *_, level in pair] for pair in pairs])

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Apply to each image the pair it draws."""
        if x.shape[1] not in (1, 3):
            raise ValueError(
                f"autoaugment is about the colours of pictures, 1 or 3 channels, got {x.shape[1]} "
                "(of all steps together, for sequences); leave it out of data.augment"
            )
        count = len(x)
        pair = torch.randint(len(self.which), (count,))
        done = torch.rand(count, 2) < self.likely[pair]
        sign = torch.randint(2, (count, 2)) * 2.0 - 1.0
        strength = self.strong[pair] * sign
        x = x.clone()
        for turn in (0, 1):
            for at, operation in enumerate(self.operations):
                mine = (done[:, turn] & (self.which[pair, turn] == at)).nonzero()[:, 0]
                if len(mine):
                    rows = mine.to(x.device)
                    x[rows] = operation(x[rows], strength[mine, turn].to(x))
        return x, y


def _operation(name: str) -> Operation:
    """The operation of that name, of images and their strengths in -1..1.

    Shape:
        x [B, C, H, W], strength [B] -> [B, C, H, W]
    """
    import kornia.enhance as enhance

    operations: dict[str, Operation] = {
        "invert": lambda x, _: 1 - x,
        "auto_contrast": lambda x, _: _stretch(x),
        "equalize": lambda x, _: enhance.equalize(x),
        "solarize": lambda x, s: enhance.solarize(x, 1 - s.abs()),
        "posterize": lambda x, s: enhance.posterize(x, (8 - (4 * s.abs()).round()).long()),
        "contrast": lambda x, s: enhance.adjust_contrast_with_mean_subtraction(x, 1 + 0.9 * s),
        "brightness": lambda x, s: enhance.adjust_brightness_accumulative(x, 1 + 0.9 * s),
        "color": lambda x, s: enhance.adjust_saturation_with_gray_subtraction(x, 1 + 0.9 * s),
        "sharpness": lambda x, s: enhance.sharpness(x, 1 + 0.9 * s),
        "rotate": _rotate,
        "shear_x": lambda x, s: _move(x, slant=0.3 * s),
        "shear_y": lambda x, s: _move(x.mT, slant=0.3 * s).mT,
        "translate_x": lambda x, s: _move(x, shift=150 / 331 * s),
        "translate_y": lambda x, s: _move(x.mT, shift=150 / 331 * s).mT,
    }
    return operations[name]


def _stretch(x: Tensor) -> Tensor:
    # As Pillow does, a channel of one value stays as it is.
    low, high = x.amin((-2, -1), keepdim=True), x.amax((-2, -1), keepdim=True)
    return torch.where(high > low, (x - low) / (high - low), x)


def _move(x: Tensor, *, slant: Tensor | float = 0.0, shift: Tensor | float = 0.0) -> Tensor:
    """Each row moved by ``shift`` of the width plus ``slant`` pixels per row, from the top row."""
    height, width = x.shape[-2:]
    zero = x.new_zeros(len(x))
    slope = zero + slant * (height / width)  # grid coordinates: each side is 2 long
    return _warp(x, [zero + 1, slope, slope + 2 * shift, zero, zero + 1, zero])


def _rotate(x: Tensor, strength: Tensor) -> Tensor:
    height, width = x.shape[-2:]
    angle = math.radians(30) * strength
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    return _warp(x, [cos, -sin * (height / width), zero, sin * (width / height), cos, zero])


def _warp(x: Tensor, rows: list[Tensor]) -> Tensor:
    to_input = torch.stack(rows, -1).reshape(-1, 2, 3)
    grid = F.affine_grid(to_input, list(x.shape), align_corners=False)
    # Outside is zero to grid_sample, so that grey must be zero while it works.
    return F.grid_sample(x - GREY, grid, mode="nearest", align_corners=False) + GREY
