"""The thresholds of a model's neurons, noted epoch by epoch."""

from collections.abc import Callable

import torch
from torch import nn

from spikeloom.callbacks.base import Callback
from spikeloom.callbacks.spiking import neurons_of
from spikeloom.layers import Membrane
from spikeloom.learning.base import Batch, Loss, Progress
from spikeloom.registry import register


@register("callback", "thresholds")
class Thresholds(Callback):
    """Notes the least, mean and greatest threshold of the neurons before every epoch.

    For thresholds that are learnt: one that has become negative fires at rest.

    Raises:
        Unsupported: the model has no spiking neurons.
    """

    def apply(self, model: nn.Module) -> None:
        self._neurons(model)

    def _neurons(self, model: nn.Module) -> list[Membrane]:
        return neurons_of(model, "thresholds notes the threshold of neurons")

    def epoch(
        self, model: nn.Module, probe: Callable[[int], Batch], loss: Loss, progress: Progress
    ) -> dict[str, float]:
        found = [
            torch.as_tensor(module.arguments()["v_threshold"]).detach().float().flatten().cpu()
            for module in self._neurons(model)
        ]
        every = torch.cat(found)
        notes = {"least": every.min(), "mean": every.mean(), "greatest": every.max()}
        return {f"threshold {key}": float(value) for key, value in notes.items()}
