"""Neurons are pulled to a firing rate."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from spikeloom.callbacks.base import Callback, Term
from spikeloom.layers import Neuron
from spikeloom.layers.hetsyn import PAPER
from spikeloom.registry import Unsupported, register


@register("callback", "firing", paper=PAPER, status="exact")
class Firing(Callback):
    """Adds the squared relative distance of each neuron's firing rate from a target to the loss.

    L = L_task + weight mean_j ((f_j - rate) / rate)², f_j the mean spikes a step of neuron j over
    steps and batch; the mean is over all neurons of the model.

    Args:
        rate: target [spikes per step]: 10 Hz in steps of 5 ms are 0.05.
        weight: of the term.
    Raises:
        ValueError: rate not in (0, 1], or weight <= 0.
        Unsupported: the model has no spiking neurons.
    Source:
        Deng et al., NeurIPS 2025 (arXiv 2508.11644), pattern generation and delayed match.
    """

    def __init__(self, *, rate: float, weight: float = 0.01) -> None:
        if not 0 < rate <= 1 or not weight > 0:
            raise ValueError(
                f"rate is spikes per step, in (0, 1], and weight > 0, got {rate} and {weight}"
            )
        self.rate, self.weight = rate, weight

    @contextmanager
    def term(self, model: nn.Module) -> Iterator[Term]:
        neurons = [module for module in model.modules() if isinstance(module, Neuron)]
        if not neurons:
            raise Unsupported(
                "firing pulls spiking neurons to a rate, and the model has none; leave it out"
            )
        seen: list[Tensor] = []

        def note(layer: nn.Module, given: object, spike_seq: Tensor) -> None:
            distance = spike_seq.float().mean((0, 1)) / self.rate - 1
            seen.append(distance.flatten())

        handles = [module.register_forward_hook(note) for module in neurons]

        def value(batch: object, logits_seq: Tensor) -> Tensor:
            parts = seen[-len(neurons) :]  # of the last pass through the model
            total = sum(part.square().sum() for part in parts)
            return self.weight * total / sum(part.numel() for part in parts)  # type: ignore[return-value]

        try:
            yield value
        finally:
            for handle in handles:
                handle.remove()
