"""Augmentation of recorded sequences in time: events lost, added and moved; time warped, turned.

These steps see sequences with their time axis, as they say by ``in_time``; other steps see a
sequence as one image with the channels of all its steps. Those that move single events need counts
of them, and say so by ``of_events``.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from spikeloom.data import perturb
from spikeloom.registry import register


class InTime(nn.Module):
    """A step that sees the time axis.

    Shape:
        x float [B, T, C, H, W] -> the same
    """

    in_time: ClassVar[bool] = True
    of_events: ClassVar[bool] = False

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Change every sequence in its own way."""
        if x.dim() != 5:
            raise ValueError(
                f"{type(self).__name__} changes sequences [B, T, C, H, W] in time, got "
                f"{tuple(x.shape)}, which has no steps"
            )
        return self.change(x), y

    def change(self, x: Tensor) -> Tensor:
        """The sequences, changed."""
        raise NotImplementedError


class OfEvents(InTime):
    """A step that sees every event: numbers in 0..1 are taken for counts over 255.

    Where no place and step of a batch has more than one event, none has afterwards.

    Raises:
        ValueError: when called, numbers that are no such counts, as blended images.
    """

    of_events = True

    def change(self, x: Tensor) -> Tensor:
        scaled = 255 * x
        counts = scaled.round()
        if x.numel() and float((scaled - counts).abs().max()) > 1e-2:
            raise ValueError(
                f"{type(self).__name__} needs counts of events, and the values are none; put it "
                "before steps that blend or scale, as mixup"
            )
        return self.events(counts) / 255

    def events(self, counts: Tensor) -> Tensor:
        """The counts, changed."""
        raise NotImplementedError


@register("augment", "drop_events")
class DropEvents(OfEvents):
    """Lose each event with probability ``p``.

    Raises:
        ValueError: p outside [0, 1].
    """

    def __init__(self, p: float = 0.1) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"p is a probability, 0..1, got {p}")
        self.p = p

    def events(self, counts: Tensor) -> Tensor:
        return perturb.drop(counts, self.p)


@register("augment", "add_events")
class AddEvents(OfEvents):
    """Add noise: so many events per place and step on average.

    Raises:
        ValueError: a rate below 0 or above 255.
    """

    def __init__(self, rate: float = 0.001) -> None:
        super().__init__()
        if not 0 <= rate <= perturb.MOST:
            raise ValueError(f"rate is events per place and step, 0..{perturb.MOST}, got {rate}")
        self.rate = rate

    def events(self, counts: Tensor) -> Tensor:
        return perturb.add(counts, self.rate, most=perturb.fullest(counts))


@register("augment", "jitter")
class Jitter(OfEvents):
    """Move each event in time by a normal number of steps.

    Args:
        sd: standard deviation of the shift [steps], >= 0; at the ends events are mirrored.
    Raises:
        ValueError: sd < 0.
    """

    def __init__(self, sd: float = 1.0) -> None:
        super().__init__()
        if not 0 <= sd <= 1e6:
            raise ValueError(f"sd is the deviation of a shift [steps], 0..1e6, got {sd}")
        self.sd = sd

    def events(self, counts: Tensor) -> Tensor:
        return perturb.jitter(counts, self.sd, most=perturb.fullest(counts))


@register("augment", "time_warp")
class TimeWarp(OfEvents):
    """Let time run faster or slower, each sequence by its own factor; T stays.

    log2(factor) is uniform in -octaves..octaves. What comes after the last step is left out.

    Args:
        octaves: 0.5 for factors from 0.71 to 1.41; > 0, at most 4.
    Raises:
        ValueError: octaves out of range.
    """

    def __init__(self, octaves: float = 0.25) -> None:
        super().__init__()
        if not 0 < octaves <= 4:
            raise ValueError(f"octaves is the largest |log2(factor)|, > 0 and <= 4, got {octaves}")
        self.octaves = octaves

    def events(self, counts: Tensor) -> Tensor:
        factor = 2 ** (self.octaves * (2 * torch.rand(len(counts), dtype=torch.float64) - 1))
        return perturb.warp(counts, factor, most=perturb.fullest(counts))


@register("augment", "time_flip")
class TimeFlip(InTime):
    """Play each sequence backwards with probability ``p``.

    Raises:
        ValueError: p outside [0, 1].
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"p is a probability, 0..1, got {p}")
        self.p = p

    def change(self, x: Tensor) -> Tensor:
        chosen = (torch.rand(len(x)) < self.p).to(x.device)
        return torch.where(chosen[:, None, None, None, None], x.flip(1), x)


class Roll(InTime):
    """Shift each sequence along an axis by up to ``most``; what leaves comes in at the other end.

    Raises:
        ValueError: most < 1.
    """

    def __init__(self, most: int, axis: int) -> None:
        super().__init__()
        if most < 1:
            raise ValueError(f"the farthest shift must be >= 1, got {most}")
        self.most, self.axis = most, axis

    def change(self, x: Tensor) -> Tensor:
        shift = torch.randint(-self.most, self.most + 1, (len(x),))
        return perturb.roll(x, shift, self.axis)


@register("augment", "time_roll")
def time_roll(steps: int = 4) -> Roll:
    """Shift each sequence in time by up to ``steps``, round the end."""
    return Roll(steps, 1)


@register("augment", "unit_roll")
def unit_roll(units: int = 4) -> Roll:
    """Shift the channels of each sequence, as of a cochlea, by up to ``units``, round the end."""
    return Roll(units, 2)
