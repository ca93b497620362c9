"""What predictions are scored by: accuracy for classes, errors for numbers.

A data set names its measure. Sums of one are over samples, so that those of batches and of
processes add up.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from spikeloom.registry import find, register
from spikeloom.report.wording import NARROW, quantity

Sums = tuple[float, ...]


class Measure(ABC):
    """Adds up what a score is made of.

    ``key`` is the name of its headline number in results, ``higher`` says whether more is better.

    Args:
        outputs: width of the network's output.
        T: time steps.
    """

    key: ClassVar[str]
    higher: ClassVar[bool]

    def __init__(self, *, outputs: int, T: int) -> None:
        self.outputs, self.T = outputs, T
        self.sums: dict[str, Tensor] = {}  # float64, to be summed over processes

    @abstractmethod
    def add(self, logits_seq: Tensor, y: Tensor) -> None:
        """Take in a batch.

        Shape:
            logits_seq [T, N, K], or [1, N, K] of a model that answers once; y [N] or [N, K]
        """

    @abstractmethod
    def result(self) -> dict[str, Any]:
        """The headline number under ``key``, ``count``, and what else is known."""

    @staticmethod
    @abstractmethod
    def quick(logits_seq: Tensor, y: Tensor) -> Sums:
        """What the headline number needs of a batch in training; targets may be mixed."""

    @staticmethod
    @abstractmethod
    def headline(sums: Sequence[float], count: float) -> float:
        """The headline number from sums of :meth:`quick` over ``count`` samples."""

    @classmethod
    def rank(cls, value: float) -> float:
        """The number as one of which more is better."""
        return value if cls.higher else -value

    @classmethod
    def text(cls, value: float) -> str:
        """The headline number for people."""
        return quantity(cls.key, value).replace(NARROW, " ")


@register("measure", "accuracy")
class Accuracy(Measure):
    """Share of samples whose class has the greatest mean output; the confusion of classes."""

    key, higher = "accuracy", True

    def __init__(self, *, outputs: int, T: int) -> None:
        super().__init__(outputs=outputs, T=T)
        self.sums["right"] = torch.zeros(T, dtype=torch.float64)
        self.sums["confusion"] = torch.zeros(outputs, outputs, dtype=torch.float64)

    def add(self, logits_seq: Tensor, y: Tensor) -> None:
        steps = torch.arange(1, len(logits_seq) + 1, device=logits_seq.device).view(-1, 1, 1)
        chosen = (logits_seq.float().cumsum(0) / steps).argmax(-1).cpu()
        y = y.cpu()
        self.sums["right"] += (chosen == y).double().sum(1)
        ones = torch.ones(len(y), dtype=torch.float64)
        self.sums["confusion"].index_put_((y, chosen[-1]), ones, accumulate=True)

    def result(self) -> dict[str, Any]:
        confusion, right = self.sums["confusion"], self.sums["right"]
        count = float(confusion.sum())
        return {
            "accuracy": float(right[-1]) / max(count, 1),
            "count": int(count),
            "accuracy_by_step": (right / max(count, 1)).tolist(),
            "confusion": confusion.long().tolist(),
        }

    @staticmethod
    def quick(logits_seq: Tensor, y: Tensor) -> Sums:
        target = y.argmax(-1) if y.dim() == 2 else y
        return (float((logits_seq.float().mean(0).argmax(-1) == target).sum()),)

    @staticmethod
    def headline(sums: Sequence[float], count: float) -> float:
        return sums[0] / max(count, 1)


class Errors(Measure):
    """Squared errors of the mean output, in all the words that are used for them.

    mse = Σ (ŷ - y)² / (M K), rse = Σ (ŷ - y)² / Σ y², psnr = -10 log10 mse [dB] for targets in
    0..1. All sums are in float64.
    """

    def __init__(self, *, outputs: int, T: int) -> None:
        super().__init__(outputs=outputs, T=T)
        names = ("error", "power", "count")
        self.sums |= {name: torch.zeros(1, dtype=torch.float64) for name in names}

    def add(self, logits_seq: Tensor, y: Tensor) -> None:
        error, power = _squares(logits_seq, y)
        self.sums["error"] += error
        self.sums["power"] += power
        self.sums["count"] += len(y)

    def result(self) -> dict[str, Any]:
        error, power, count = (float(self.sums[name]) for name in ("error", "power", "count"))
        mse = error / max(count * self.outputs, 1)
        return {"rse": _ratio(error, power), "mse": mse, "psnr": _decibel(mse), "count": int(count)}


@register("measure", "rse")
class RelativeSquaredError(Errors):
    """Relative squared error Σ (ŷ - y)² / Σ y²: 1 for a network that always answers 0."""

    key, higher = "rse", False

    @staticmethod
    def quick(logits_seq: Tensor, y: Tensor) -> Sums:
        return _squares(logits_seq, y)

    @staticmethod
    def headline(sums: Sequence[float], count: float) -> float:
        return _ratio(*sums)


@register("measure", "psnr")
class PeakSignalToNoise(Errors):
    """Peak signal-to-noise ratio -10 log10 of the mean squared error [dB], of values in 0..1."""

    key, higher = "psnr", True

    @staticmethod
    def quick(logits_seq: Tensor, y: Tensor) -> Sums:
        return (_squares(logits_seq, y)[0] / y.shape[1],)

    @staticmethod
    def headline(sums: Sequence[float], count: float) -> float:
        return _decibel(sums[0] / max(count, 1))


def measure(name: str) -> type[Measure]:
    """The measure of that name."""
    found: type[Measure] = find("measure", name).build  # type: ignore[assignment]
    return found


def _squares(logits_seq: Tensor, y: Tensor) -> tuple[float, float]:
    """Sums of squared errors and of squared targets."""
    target = y.double()
    error = logits_seq.detach().double().mean(0) - target
    return float(error.square().sum()), float(target.square().sum())


def _ratio(error: float, power: float) -> float:
    return error / power if power else (math.inf if error else 0.0)


def _decibel(mse: float) -> float:
    return -10 * math.log10(mse) if mse else math.inf


__all__ = ["Accuracy", "Errors", "Measure", "PeakSignalToNoise", "RelativeSquaredError", "measure"]
