"""Unsupervised STDP of competing neurons, online, with labels counted on the way."""

from typing import Any

import torch
from torch import Tensor, nn

from spikeloom.functional.diehl_cook import Learning
from spikeloom.functional.plasticity import Bounds, PairSTDP
from spikeloom.functional.plasticity.traces import Pairing
from spikeloom.kernels import door
from spikeloom.learning.base import Batch, Loss, Metrics, Progress, Unsupported, bare, to_scale
from spikeloom.registry import register


@register("learner", "stdp", status="reconstruction")
class STDP:
    """Pair STDP, rising thresholds and normalised weights, one sample after the other.

    Labels are not used to learn. They are counted: which class each neuron answers to most, over
    windows of ``assign`` samples; until the first is full, over all so far. Training accuracy is by
    what was known before the batch.

    Args:
        a_plus, a_minus: sizes of the changes.
        tau_plus, tau_minus: of the traces, ms.
        pairing: which pairs of spikes count: ``all``, or the ``nearest``.
        total: sum of the weights into a neuron, before every sample; None for a tenth of the
            number of inputs, 0 for never.
        assign: samples of a window.
        frozen: count labels only: the baseline of random weights.
    Raises:
        ValueError: an option out of range.
        Unsupported: a model that has no competing neurons.
    Source:
        Diehl and Cook (2015); the rule is the simpler one that simulators in use have, pairs in
        place of their triplets.
    """

    online = True

    def __init__(
        self,
        *,
        a_plus: float = 1e-2,
        a_minus: float = 1e-4,
        tau_plus: float = 20.0,
        tau_minus: float = 20.0,
        pairing: Pairing = "nearest",
        total: float | None = None,
        assign: int = 10_000,
        frozen: bool = False,
    ) -> None:
        if assign < 1 or (total is not None and total < 0):
            raise ValueError(f"assign must be >= 1 and total >= 0, got {assign} and {total}")
        self.sizes: dict[str, Any] = {
            "a_plus": a_plus, "a_minus": a_minus, "tau_plus": tau_plus, "tau_minus": tau_minus,
            "pairing": pairing, "bounds": Bounds(0.0, 1.0),
        }  # fmt: skip
        PairSTDP(**self.sizes)
        self.total, self.assign, self.frozen = total, assign, frozen

    def prepare(self, model: nn.Module) -> nn.Module:
        return _Counting(model)

    @torch.no_grad()
    def step(self, model: nn.Module, batch: Batch, loss: Loss, progress: Progress) -> Metrics:
        assert isinstance(model, _Counting)
        net: Any = model.model
        if batch.y.dim() != 1 or batch.y.is_floating_point():
            raise Unsupported("stdp counts which class neurons answer to; give class labels")
        x = net.samples(batch.x_seq)
        seed = int(torch.randint(2**62, ()))
        found = door("shown")(
            x, net.weight, net.theta, len(batch.x_seq), seed, net.cells, self._learning(net)
        )
        logits_seq = net.logits(found.counts)[None]
        net.weight.copy_(found.w)
        net.theta.copy_(found.theta)
        model.count(found.counts, batch.y, self.assign)
        return Metrics(to_scale(loss, bare(loss)(logits_seq, batch.y)), logits_seq)

    def finish(self, model: nn.Module) -> nn.Module:
        assert isinstance(model, _Counting)
        return model.model

    def _learning(self, net: Any) -> Learning | None:
        if self.frozen:
            return None
        total = net.weight.shape[1] / 10 if self.total is None else self.total
        return Learning(PairSTDP(dt=net.cells.dt, **self.sizes), total)


class _Counting(nn.Module):
    """A network and what its neurons answered to in the present window."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        if not hasattr(model, "cells") or not hasattr(model, "responses"):
            raise Unsupported(
                f"stdp trains networks of competing neurons, and {type(model).__name__} is none; "
                'take the model "diehl_cook"'
            )
        self.model = model
        self.answers: Tensor
        self.register_buffer("answers", torch.zeros_like(model.responses))  # type: ignore[arg-type]
        self.seen: Tensor
        self.register_buffer("seen", self.answers.new_zeros(len(self.answers)))
        self.full: Tensor
        self.register_buffer("full", torch.tensor(False))

    def forward(self, x_seq: Tensor) -> Tensor:
        logits_seq: Tensor = self.model(x_seq)
        return logits_seq

    def count(self, counts: Tensor, y: Tensor, window: int) -> None:
        """Note answers to samples of known classes; assign neurons anew when a window is full."""
        self.answers.index_add_(0, y, counts)
        self.seen += torch.bincount(y, minlength=len(self.seen)).to(self.seen)
        done = bool(self.seen.sum() >= window)
        if done or not self.full:
            responses = self.answers / self.seen.clamp(min=1)[:, None]
            self.model.responses.copy_(responses)  # type: ignore[operator]
        if done:
            self.full.fill_(True)
            self.answers.zero_()
            self.seen.zero_()
