"""A recurrent network of excitatory and inhibitory neurons and a linear read-out of its rates."""

from math import prod

import torch
from torch import Tensor, nn

from spikeloom.functional.sleep import PAPER
from spikeloom.layers import EINetwork
from spikeloom.models.parts import check_input, scaled
from spikeloom.registry import register


@register("model", "ei_network", paper=PAPER, status="exact")
class RecurrentEI(nn.Module):
    """Excitatory and inhibitory neurons driven by random spikes; classes are read from their rates.

    No weight has a gradient. Learner ``sleep_stdp`` changes those of the network, ``readout`` those
    of the read-out, which is 0 at first. With ``readout`` alone the network is a frozen random one.

    Args:
        excitatory, inhibitory: numbers of neurons.
        density: mean probability that an input fires at a step; see :class:`EINetwork`.
        settle: steps before each sample, with its first input, that do not count when weights rest.
        in_shape: (C, *) of one sample; each value is an input.
        num_classes: K.
        width: multiplies both numbers of neurons.
    Shape:
        x_seq [T, N, *in_shape] of values >= 0 -> logits [1, N, K], one answer for all steps
    Raises:
        ValueError: an option out of range; when called, an input that does not fit ``in_shape``.
    Source:
        Massey et al., arXiv 2601.08447, and the authors' code. Different: each sample begins at
        rest when weights are not learnt; all samples count, each once.
    """

    def __init__(
        self,
        excitatory: int = 200,
        inhibitory: int = 50,
        *,
        in_shape: tuple[int, ...],
        num_classes: int,
        density: float = 0.1,
        settle: int = 0,
        width: float = 1.0,
    ) -> None:
        super().__init__()
        self.in_shape = tuple(in_shape)
        if min(excitatory, inhibitory) < 1:
            raise ValueError(
                f"there is at least one neuron of each kind, got excitatory = {excitatory} and "
                f"inhibitory = {inhibitory}"
            )
        sizes = scaled(excitatory, width), scaled(inhibitory, width)
        self.network = EINetwork(prod(in_shape), *sizes, density=density, settle=settle)
        self.readout = nn.Linear(sum(sizes), num_classes).requires_grad_(requires_grad=False)
        nn.init.zeros_(self.readout.weight)
        nn.init.zeros_(self.readout.bias)

    @torch.no_grad()
    def features(self, x_seq: Tensor) -> Tensor:
        """Firing rates, spikes a step.

        Shape:
            x_seq [T, N, *in_shape] -> [N, E + I]
        """
        check_input(self, x_seq, self.in_shape)
        rates: Tensor = self.network(x_seq)[0]
        return rates

    def forward(self, x_seq: Tensor) -> Tensor:
        logits: Tensor = self.readout(self.features(x_seq))
        return logits[None]
