"""What a loss asks of the times of output spikes, noted epoch by epoch."""

from collections.abc import Callable

import torch
from torch import nn

from spikeloom.callbacks.base import Callback
from spikeloom.learning.base import Batch, Loss, Progress, Unsupported
from spikeloom.registry import register


@register("callback", "output_times")
class OutputTimes(Callback):
    """Notes whether the time gradients of output spikes add up, and which neurons are silent.

    With G = -(dL/ds) s for every spike that the output emits (no supervised ones),
    output balance = sum(G) / sum(|G|), 0 if there is none: 1 if the loss wants all spikes earlier;
    output silent = share of samples and classes without a spike, which event-driven learning
    does not reach.

    Args:
        samples: of the training set, before every epoch.
    Raises:
        ValueError: samples < 1.
        Unsupported: the network does not answer in spikes.
    """

    def __init__(self, *, samples: int = 500) -> None:
        if samples < 1:
            raise ValueError(f"samples must be >= 1, got {samples}")
        self.samples = samples

    def epoch(
        self, model: nn.Module, probe: Callable[[int], Batch], loss: Loss, progress: Progress
    ) -> dict[str, float]:
        x_seq, y, _ = probe(self.samples)
        with torch.no_grad():
            spike_seq = model(x_seq)
        if not ((spike_seq == 0) | (spike_seq == 1)).all():
            raise Unsupported(
                "output_times looks at output spikes, got other numbers than 0 and 1; give the "
                'model readout = "spikes" or "early_spikes", or leave the callback out'
            )
        spike_seq.requires_grad_()
        (slope,) = torch.autograd.grad(loss(spike_seq, y), spike_seq)
        G = -(slope * spike_seq.detach()).double()
        silent = (spike_seq.detach().sum(0) == 0).double().mean()
        balance = G.sum() / G.abs().sum().clamp(min=torch.finfo(G.dtype).tiny)
        return {"output balance": float(balance), "output silent": float(silent)}
