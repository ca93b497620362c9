"""EICIL: epochs of back-propagation and epochs of spike-timing plasticity in turn."""

from collections.abc import Sequence
from typing import Any, get_args

import torch
from torch import Tensor, nn

from spikeloom.functional.plasticity import Factor, Reduction, stdp_conv2d, stdp_linear
from spikeloom.learning.base import Batch, Loss, Metrics, Progress, of_batch
from spikeloom.learning.bptt import BPTT
from spikeloom.learning.plastic import Plastic, chosen_of, frozen, recorded
from spikeloom.papers import Paper
from spikeloom.registry import register, unknown

PAPER = Paper(
    key="shao2023eicil",
    title="EICIL: Joint Excitatory Inhibitory Cycle Iteration Learning for Deep Spiking Neural "
    "Networks",
    authors=(
        "Zihang Shao",
        "Xuanye Fang",
        "Yaxin Li",
        "Chaoran Feng",
        "Jiangrong Shen",
        "Qi Xu",
    ),
    venue="Advances in Neural Information Processing Systems",
    year=2023,
    url="https://openreview.net/forum?id=OMDgOjdqoZ",
)

# Cycles of a later method of the same university; none is confirmed for EICIL.
PRESETS = {
    "K2": "EI", "K3": "EIE", "K4": "EIEE", "K5": "IEEEE", "K6": "EEIEEJ", "K9": "EEIEEIEEJ",
    "K-3": "EII", "K-4": "EIII", "K-5": "EIIII",
    "J2": "EJ", "J3": "EJE", "J4": "EJEE", "J5": "EJEEE",
}  # fmt: skip


@register("learner", "eicil", paper=PAPER, status="reconstruction")
class EICIL:
    """Reconstruction of EICIL: epochs of BPTT, of STDP, and of both, in a fixed cycle.

    Epoch e of a phase, counted from 0, is of the kind ``cycle[e mod K]``:

    - E, excitatory: a step of BPTT.
    - I, inhibitory: no gradient; w grows by ``eta`` ΔW, the STDP of the spikes of a forward pass,
      in layers that drive spiking neurons. Optimizer, moments and all else stand still.
    - J, joint: a step of BPTT, and ``eta`` ΔW from the spikes of the same forward pass.

    Experimental: of the paper only the abstract was found. That E is BPTT and I is STDP, the
    cycles, the constants and the normalisation are all inferred, most of them from a later method
    of the same university. What is checked are the identities of this rule, no published number.

    Args:
        cycle: a word over E, I and J, or the name of a preset: K2 ... K9, K-3 ... K-5, J2 ... J5.
        eta: rate of the increments; with ``reduction="mean"`` a few thousandths to hundredths.
        tau_pre, tau_post: time constants of the traces [steps], >= 1; the longer one behind
            the layer makes weights shrink.
        factor: f(w) of :func:`spikeloom.functional.stdp_linear`.
        reduction: ``mean`` over steps, batch and positions, or their ``sum``, which is large. Where
            several batches or processes share an update, ``sum`` is that of one of their parts on
            average, so that it depends on how many they are; ``mean`` does not.
        layers: name patterns of the weights that change; all in front of spiking neurons but the
            network's first layer, which sees pixels, if None.
        frozen_norms: norms use their running statistics in I and leave them alone. Otherwise a
            batch norm undoes what all weights of a channel have in common. Dropout is off in I
            either way: a mask would pass for silence.
    Raises:
        ValueError: a cycle with other letters, eta < 0, tau < 1, unknown factor or reduction.
        Unsupported: no layer that could change; a layer that is called twice.
    Source:
        Shao et al., NeurIPS 2023: its abstract; the rest is inferred, as above. Traces as in
        :func:`spikeloom.functional.spike_trace`.
    """

    def __init__(
        self,
        *,
        cycle: str = "EI",
        eta: float = 1e-3,
        tau_pre: float = 2.0,
        tau_post: float = 100.0,
        factor: Factor = "clamp",
        reduction: Reduction = "mean",
        layers: Sequence[str] | None = None,
        frozen_norms: bool = True,
    ) -> None:
        self.cycle = PRESETS.get(cycle, cycle)
        if not self.cycle or set(self.cycle) - set("EIJ"):
            raise ValueError(f"{unknown('cycle', cycle, PRESETS)} Or any word of E, I and J.")
        if not eta >= 0 or not min(tau_pre, tau_post) >= 1:
            raise ValueError(
                "eicil needs eta >= 0 and time constants >= 1 step, got "
                f"eta={eta}, tau_pre={tau_pre}, tau_post={tau_post}"
            )
        if factor not in get_args(Factor) or reduction not in get_args(Reduction):
            raise ValueError(
                f"factor must be one of {get_args(Factor)} and reduction of "
                f"{get_args(Reduction)}, got {factor!r} and {reduction!r}"
            )
        self.eta, self.layers, self.frozen_norms = eta, layers, frozen_norms
        self.rule: dict[str, Any] = {
            "tau_pre": tau_pre, "tau_post": tau_post, "factor": factor, "reduction": reduction
        }  # fmt: skip
        self.checked = layers is None and not set(self.cycle) & set("IJ")

    def kind(self, epoch: int) -> str:
        """E, I or J: what an epoch of the phase, counted from 0, is."""
        return self.cycle[epoch % len(self.cycle)]

    def prepare(self, model: nn.Module) -> nn.Module:
        return model

    def step(self, model: nn.Module, batch: Batch, loss: Loss, progress: Progress) -> Metrics:
        kind = self.kind(progress.epoch)
        if not self.checked:
            self._check(model, batch)
        if kind == "E":
            return BPTT().step(model, batch, loss, progress)
        with recorded(model) as record:
            if kind == "I":
                metrics = self._look(model, batch, loss)
            else:

                def value(logits_seq: Tensor, y: Tensor) -> Tensor:
                    record.stop()  # the backward may go through layers once more
                    return loss(logits_seq, y)

                metrics = BPTT().step(model, batch, value, progress)
        chosen = chosen_of(model, record, self.layers, len(batch.x_seq))
        return metrics._replace(increments={each.name: self._increment(each) for each in chosen})

    def finish(self, model: nn.Module) -> nn.Module:
        return model

    def _check(self, model: nn.Module, batch: Batch) -> None:
        """In the first step of any kind, so that what cannot work is said before training."""
        with torch.random.fork_rng(), torch.no_grad(), frozen(model), recorded(model) as record:
            model(batch.x_seq)
        chosen_of(model, record, self.layers, len(batch.x_seq))
        self.checked = True

    def _look(self, model: nn.Module, batch: Batch, loss: Loss) -> Metrics:
        """A forward pass without a graph; the loss is only reported."""
        with torch.no_grad(), frozen(model, norms=self.frozen_norms):
            logits_seq = model(batch.x_seq)
            return Metrics(loss(logits_seq, batch.y), of_batch(logits_seq, batch.y))

    def _increment(self, each: Plastic) -> Tensor:
        layer, how = each.layer, dict(self.rule)
        if isinstance(layer, nn.Linear):
            return self.eta * stdp_linear(each.pre_seq, each.post_seq, layer.weight, **how)
        for name in ("stride", "padding", "dilation", "groups", "padding_mode"):
            how[name] = getattr(layer, name)
        return self.eta * stdp_conv2d(each.pre_seq, each.post_seq, layer.weight, **how)
