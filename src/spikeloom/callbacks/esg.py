"""Evolutionary surrogate gradients: a tanh whose sharpness grows with the epoch."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from spikeloom.callbacks.im_loss import PAPER
from spikeloom.callbacks.potentials import potentials
from spikeloom.callbacks.slope import Slope
from spikeloom.functional import Sigmoid, Surrogate
from spikeloom.learning.base import Batch, Loss, Progress
from spikeloom.registry import register


@register("callback", "esg", paper=PAPER, status="exact")
class EvolutionarySurrogate(Slope):
    """Surrogate 1/2 tanh(K u) + 1/2 on every neuron, K growing from ``lowest`` to ``highest``.

    K_i = ((10^(i/N) - 1) K_max + (10 - 10^(i/N)) K_min) / 9 in epoch i = 0 ... N - 1 of N, so that
    the last K lies a little below K_max. The tanh of sharpness K is the sigmoid of sharpness 2K.

    The metrics note K and the share of potentials within 1 / K of the threshold: where it is small,
    few neurons get a gradient.

    Args:
        lowest: K_min.
        highest: K_max.
        samples: of the training set that the share is measured on; 0 for none.
    Raises:
        ValueError: not 0 < lowest <= highest, or samples < 0.
    Source:
        Guo et al. (IM-Loss), NeurIPS 2022. The form between the ends is inferred from a garbled
        transcription; for K from 1 to 10 it is 10^(i/N) in any reading. The authors' released code
        has no such schedule.
    """

    def __init__(self, *, lowest: float = 1.0, highest: float = 10.0, samples: int = 32) -> None:
        if not 0 < lowest <= highest:
            raise ValueError(f"esg needs 0 < lowest <= highest, got {lowest} and {highest}")
        if samples < 0:
            raise ValueError(f"esg needs samples >= 0, got {samples}")
        self.lowest, self.highest, self.samples = lowest, highest, samples
        self.sharpness = lowest

    def at(self, share: float) -> float:
        """K when a share of the epochs, from 0 to 1, is done."""
        power: float = 10.0**share
        return ((power - 1) * self.highest + (10 - power) * self.lowest) / 9

    def state(self) -> dict[str, Any]:
        return {"sharpness": self.sharpness}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.sharpness = state["sharpness"]

    def surrogate_now(self) -> Surrogate:
        return Sigmoid(alpha=2 * self.sharpness)

    def epoch(
        self, model: nn.Module, probe: Callable[[int], Batch], loss: Loss, progress: Progress
    ) -> dict[str, float]:
        self.sharpness = self.at(progress.epoch / progress.epochs)
        notes = {"sharpness": self.sharpness}
        if self.samples:
            with torch.no_grad(), potentials(model) as seen:
                model(probe(self.samples).x_seq)
            near = [
                float(((layer.h_seq - layer.threshold).abs() < 1 / self.sharpness).float().mean())
                for layer in seen()
            ]
            notes["near threshold"] = sum(near) / max(1, len(near))
        return notes
