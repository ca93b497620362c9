"""Recurrent excitatory and inhibitory neurons with sparse synapses: weights and one call."""

from math import prod

import torch
from torch import Tensor, nn

from spikeloom.functional import EICell
from spikeloom.kernels import door
from spikeloom.registry import Unsupported


class EINetwork(nn.Module):
    """Firing rates of excitatory (E) and inhibitory (I) neurons for inputs that fire at random.

    An input fires at a step with probability min(1, x density P / sum(x)), so that its image fires
    ``density`` P spikes a step if nothing is cut off. Synapses are there with fixed
    probabilities and start with one weight a pathway: input to E 0.1 and 0.15, E to E 0.15 and 0.3,
    E to I 0.2 and 0.4, I to E 0.25 and -0.5; no neuron drives itself, and none of I drives one of E
    that drives it.

    Args:
        inputs: P.
        excitatory, inhibitory: numbers of neurons.
        density: mean probability of the inputs.
        settle: steps of the first input that come before a sample and do not count: from rest it
            takes the neurons some time to fire.
    Shape:
        x_seq [T, N, *] of P values >= 0 (below 0 counts as 0) -> rates [1, N, O], spikes a step
    Raises:
        ValueError: a size below 1, or a density not in (0, 1].
    Source:
        The authors' code of January 2026, see :class:`spikeloom.functional.Sleep`.
    """

    def __init__(
        self,
        inputs: int,
        excitatory: int = 200,
        inhibitory: int = 50,
        *,
        density: float = 0.1,
        settle: int = 0,
        cell: EICell | None = None,
    ) -> None:
        super().__init__()
        if min(inputs, excitatory, inhibitory) < 1 or not 0 < density <= 1 or settle < 0:
            raise ValueError(
                "inputs, excitatory and inhibitory must be >= 1, density in (0, 1] and settle >= "
                f"0, got {inputs}, {excitatory}, {inhibitory}, {density} and {settle}"
            )
        self.inputs, self.density, self.settle = inputs, density, settle
        self.cell = cell or EICell(excitatory=excitatory)
        weight = wired(inputs, excitatory, inhibitory)
        self.weight = nn.Parameter(weight, requires_grad=False)

    def probabilities(self, x_seq: Tensor) -> Tensor:
        """How likely each input fires at each step; what is repeated stays so.

        Shape:
            x_seq [T, N, *] -> float32 [T, N, P], on the CPU
        Raises:
            ValueError: other than P values a sample.
        """
        if prod(x_seq.shape[2:]) != self.inputs:
            raise ValueError(
                f"expected [T, N, *] with {self.inputs} values a sample, got {tuple(x_seq.shape)}"
            )
        still = x_seq.stride(0) == 0 or len(x_seq) == 1
        x = x_seq[:1] if still else x_seq
        x = x.detach().flatten(2).float().cpu().clamp(min=0)
        total = x.sum(-1, keepdim=True)
        p = (x * (self.density * self.inputs / total.where(total > 0, 1))).clamp(max=1)
        return p.expand(len(x_seq), -1, -1)

    @torch.no_grad()
    def forward(self, x_seq: Tensor) -> Tensor:
        p_seq, weight = self.probabilities(x_seq), self.weight.float().cpu()
        if p_seq.stride(0) == 0:
            whole = p_seq[:1].expand(self.settle + len(p_seq), -1, -1)
        else:
            whole = torch.cat((p_seq[:1].expand(self.settle, -1, -1), p_seq))
        counts: Tensor = door("ei_rates")(
            whole, weight, cell=self.cell, seed=seed(), skip=self.settle
        )
        return (counts.to(self.weight) / len(x_seq))[None]


def seed() -> int:
    """Of hashed draws, drawn from torch's global generator."""
    return int(torch.randint(2**62, ()))


def ei_network_of(model: nn.Module, what: str) -> EINetwork:
    """The one network of excitatory and inhibitory neurons in a model.

    Raises:
        Unsupported: there is none, or more than one; says ``what`` wanted it.
    """
    found = [module for module in model.modules() if isinstance(module, EINetwork)]
    if len(found) != 1:
        raise Unsupported(
            f"{what} a recurrent network of excitatory and inhibitory neurons, and "
            f"{type(model).__name__} has {len(found) or 'none'}; take model 'ei_network'"
        )
    return found[0]


def wired(inputs: int, excitatory: int, inhibitory: int) -> Tensor:
    """Initial weights, signed; 0 where there is no synapse.

    Shape:
        -> [O, P + O]
    """

    def pathway(targets: int, sources: int, p: float, w: float) -> Tensor:
        return w * (torch.rand(targets, sources) < p)

    driven = pathway(excitatory, inputs, 0.1, 0.15)
    recurrent = pathway(excitatory, excitatory, 0.15, 0.3).fill_diagonal_(0)
    onward = pathway(inhibitory, excitatory, 0.2, 0.4)
    back = pathway(excitatory, inhibitory, 0.25, -0.5).where(onward.T == 0, 0)
    alone = torch.zeros(inhibitory, inputs), torch.zeros(inhibitory, inhibitory)
    return torch.cat(
        (torch.cat((driven, recurrent, back), 1), torch.cat((alone[0], onward, alone[1]), 1))
    )
