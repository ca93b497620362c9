"""STDP awake and asleep, sample after sample, in a recurrent excitatory-inhibitory network."""

import torch
from torch import Tensor, nn

from spikeloom.functional import (
    AgeSTDP,
    EIState,
    Lived,
    Sleep,
    Totals,
    ei_live,
    ei_rest,
    sources_of,
    totals,
)
from spikeloom.functional.ei_network import Sign
from spikeloom.functional.sleep import PAPER, Mode
from spikeloom.kernels import door
from spikeloom.layers import EINetwork
from spikeloom.layers.ei_network import ei_network_of, seed
from spikeloom.learning.base import Batch, Loss, Metrics, Progress, bare, to_scale
from spikeloom.registry import register


class Living(nn.Module):
    """A model, the state that its network goes on from, and what there is to tell of its life."""

    v: Tensor
    i_syn: Tensor
    adaptation: Tensor
    age: Tensor
    fired: Tensor
    by_group: Tensor
    by_row: Tensor
    step: Tensor
    spikes: Tensor
    sleeps: Tensor

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        weight, cell = self.network.weight, self.network.cell
        for name, part in ei_rest(weight.float().cpu(), cell)._asdict().items():
            self.register_buffer(name, part)
        start = totals(weight.float(), sources_of(weight, cell))
        self.register_buffer("by_group", start.groups)
        self.register_buffer("by_row", start.rows)
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))  # awake, in all
        self.register_buffer("spikes", torch.zeros(2, dtype=torch.int64))  # of E and of I, awake
        self.register_buffer("sleeps", torch.zeros(2, dtype=torch.int64))  # how many, and steps

    @property
    def network(self) -> EINetwork:
        """The one that learns."""
        return ei_network_of(self.model, "sleep_stdp trains")

    @property
    def state(self) -> EIState:
        """Of neurons and sources, on the CPU."""
        parts = self.v, self.i_syn, self.adaptation, self.age, self.fired
        return EIState(*(part.cpu() for part in parts))

    @property
    def start(self) -> Totals:
        """Sums of the weights before any learning."""
        return Totals(self.by_group.cpu(), self.by_row.cpu())

    def remember(self, lived: Lived, steps: int) -> None:
        """Go on from there next time.

        Args:
            lived: what the network went through.
            steps: awake.
        """
        self.network.weight.copy_(lived.weight)
        for name, part in lived.state._asdict().items():
            self.get_buffer(name).copy_(part)
        first = self.network.cell.excitatory
        counts = lived.counts.sum(0)
        self.step += steps
        self.spikes[0] += counts[:first].sum()
        self.spikes[1] += counts[first:].sum()
        self.sleeps[0] += lived.sleeps
        self.sleeps[1] += lived.slept

    def forward(self, x_seq: Tensor) -> Tensor:
        logits: Tensor = self.model(x_seq)
        return logits


@register("learner", "sleep_stdp", paper=PAPER, status="exact")
class SleepSTDP:
    """STDP by the age of spikes on all synapses, sample after sample, with sleep in between.

    Samples follow one another without a pause; membranes begin each batch at rest, all other state
    goes on. Equations: :class:`AgeSTDP` and :class:`Sleep` in ``spikeloom.functional``. Labels are
    not used: a phase with learner ``readout`` comes after.

    Args:
        eta, tau_plus, tau_minus, floor, ceiling, sign: of STDP.
        ratio, period, decay, target, mode, noise, most, tolerance: of sleep; a ratio of 0 is plain
            STDP.
    Raises:
        ValueError: a number out of range.
        Unsupported: the model is no recurrent network of excitatory and inhibitory neurons.
    Source:
        Massey, Hubin, Nichele and Sæbø, arXiv 2601.08447, from the authors' code. With the
        textbook ``sign`` and these constants the network falls silent; ``code`` is the
        sign of the published results.
    """

    online = True

    def __init__(
        self,
        *,
        eta: float = 8e-4,
        tau_plus: float = 10.0,
        tau_minus: float = 7.5,
        floor: float = 0.01,
        ceiling: float = 25.0,
        sign: Sign = "causal",
        ratio: float = 0.1,
        period: int = 35_000,
        decay: float = 0.99997,
        target: float = 0.01,
        mode: Mode = "static",
        noise: float = 2.0,
        most: int = 10_000,
        tolerance: float | None = 1e-3,
    ) -> None:
        self.rule = AgeSTDP(eta, tau_plus, tau_minus, floor, ceiling, sign)
        self.sleep = Sleep(period, ratio, decay, target, mode, noise, most, tolerance)

    def prepare(self, model: nn.Module) -> nn.Module:
        ei_network_of(model, "sleep_stdp trains")
        return Living(model)

    @torch.no_grad()
    def step(self, model: nn.Module, batch: Batch, loss: Loss, progress: Progress) -> Metrics:
        assert isinstance(model, Living)
        network, weight = model.network, model.network.weight
        model.v.fill_(network.cell.v_rest)
        lived = ei_live(
            network.probabilities(batch.x_seq), weight.detach().float().cpu(), model.state,
            cell=network.cell, rule=self.rule, sleep=self.sleep, start=model.start,
            seed=seed(), step=int(model.step), wake=door("ei_wake"), rest=door("ei_sleep"),
        )  # fmt: skip
        T, N = batch.x_seq.shape[:2]
        model.remember(lived, T * N)
        logits = model.model.readout(lived.counts.to(weight) / T)[None]  # type: ignore[operator]
        inner = bare(loss)
        return Metrics(to_scale(loss, inner(logits, batch.y)), logits)

    def finish(self, model: nn.Module) -> nn.Module:
        assert isinstance(model, Living)
        return model.model

    def notes(self, model: nn.Module) -> dict[str, float]:
        """Weights, their share at the ceiling, and rates in spikes a step since the beginning."""
        assert isinstance(model, Living)
        network = model.network
        exciting, inhibiting = sources_of(network.weight, network.cell)
        sizes = {
            "excitatory": network.weight[:, exciting].abs(),
            "inhibitory": network.weight[:, inhibiting].abs(),
        }
        found = {f"weight {name}": _mean(size) for name, size in sizes.items()}
        found |= {
            f"ceiling {name}": float((size >= self.rule.ceiling)[size > 0].float().mean())
            for name, size in sizes.items()
        }
        first, count = network.cell.excitatory, len(network.weight)
        steps, (sleeps, slept) = max(1, int(model.step)), model.sleeps.tolist()
        fired = model.spikes.tolist()
        found |= {"rate excitatory": fired[0] / first / steps}
        found |= {"rate inhibitory": fired[1] / (count - first) / steps}
        return found | {"sleeps": sleeps, "slept share": slept / steps}


def _mean(size: Tensor) -> float:
    return float(size.sum(dtype=torch.float64) / size.count_nonzero().clamp(min=1))
