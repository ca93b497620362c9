"""How far firing rates still are from their targets under local tandem learning."""

from collections.abc import Callable

import torch
from torch import nn

from spikeloom.callbacks.base import Callback
from spikeloom.functional.neurons.inputs import wide
from spikeloom.functional.tandem import rate_mismatch
from spikeloom.learning.base import Batch, Loss, Progress
from spikeloom.learning.tandem import Tandem, outputs
from spikeloom.registry import register


@register("callback", "tandem_fit")
class TandemFit(Callback):
    """Notes, before every epoch, the root mean square of rate minus target of every layer.

    Beside learners without a teacher it notes nothing.

    Args:
        samples: of the training set that it looks at.
    Raises:
        ValueError: samples < 1.
    """

    def __init__(self, *, samples: int = 64) -> None:
        if samples < 1:
            raise ValueError(f"samples must be >= 1, got {samples}")
        self.samples = samples

    def epoch(
        self, model: nn.Module, probe: Callable[[int], Batch], loss: Loss, progress: Progress
    ) -> dict[str, float]:
        if not isinstance(model, Tandem):
            return {}
        found = mismatches(model, probe(self.samples))
        return {f"{at} {name}": value for at, (name, value) in enumerate(found.items(), start=1)}


@torch.no_grad()
def mismatches(model: Tandem, batch: Batch) -> dict[str, float]:
    """Root mean square of rate minus target, by the name of the layer."""
    targets = model.targets(batch.x_seq, learn=False)
    found = {}
    for layer, spike_seq in outputs(model.model, model.neurons, batch.x_seq).items():
        model.check(layer, spike_seq, targets[layer])
        square = rate_mismatch(wide(spike_seq).mean(0), targets[layer])
        found[model.neurons[layer]] = float(square.sqrt())
    return found
