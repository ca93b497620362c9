"""Surrogate module learning: branches without spikes carry the loss past parts of the network."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spikeloom.layers import BatchNorm, Conv2d, Linear, Neuron, OverTime, StepBatchNorm
from spikeloom.learning.base import (
    Batch,
    Loss,
    Metrics,
    Progress,
    Unsupported,
    of_batch,
    to_scale,
)
from spikeloom.learning.stages import classes_of, entering, mean_place
from spikeloom.papers import Paper
from spikeloom.registry import register

PAPER = Paper(
    key="deng2023sml",
    title="Surrogate Module Learning: Reduce the Gradient Error Accumulation in Training Spiking "
    "Neural Networks",
    authors=("Shikuang Deng", "Hao Lin", "Yuhang Li", "Shi Gu"),
    venue="International Conference on Machine Learning",
    year=2023,
    url="https://proceedings.mlr.press/v202/deng23d.html",
    code="https://github.com/brain-intelligence-lab/surrogate_module_learning",
)


class Surrogates(nn.Module):
    """A staged model and branches without spikes or time, each on what enters a stage."""

    def __init__(self, model: nn.Module, starts: Sequence[int], blocks: int) -> None:
        super().__init__()
        self.model, self.starts = model, tuple(starts)
        self.branches = nn.ModuleList(
            branch(model, start, max(blocks - i, 1)) for i, start in enumerate(starts)
        )

    def forward(self, x_seq: Tensor) -> Tensor:
        logits_seq: Tensor = self.model(x_seq)
        return logits_seq

    def with_branches(self, x_seq: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The logits of the model [T, N, K], and those of its branches, each [1, N, K]."""
        with entering(self.model, self.starts) as seen:
            logits_seq = self.model(x_seq)
        pairs = zip(self.branches, seen, strict=True)
        return logits_seq, [part(u_seq.mean(0, keepdim=True)) for part, u_seq in pairs]


@register("learner", "sml", paper=PAPER, status="exact")
class SurrogateModules:
    """BPTT beside branches without spikes, which learn from the network and teach it.

    A branch reads the mean over time of what enters a stage: a 1x1 convolution, norm and GELU, then
    n of the stages that follow, with GELU in place of neurons and weights of their own, the mean
    over space and a linear map. With the logits q, averaged over time, of the network and q_i of
    the B branches, p = softmax(q / tau), D the Kullback-Leibler divergence and sg no gradient:

    L = (1 - lam) / (1 + B alpha) (loss(q) + alpha sum_i loss(q_i))
        + lam / (2 B) sum_i (D(sg(p) || p_i) + D(sg(p_i) || p)), a mean over the batch

    ``loss`` is that of the phase, with the terms of callbacks. Scores are those of the network
    alone, and the branches are gone from the finished model.

    Args:
        tau: temperature of the divergences; they are not multiplied by its square.
        alpha: weight of a branch's own loss.
        lam: share of the divergences, in [0, 1].
        every: a branch on every so manieth stage.
        blocks: stages that the first branch copies, one fewer for each further branch but at least
            one; half of them, at most 3, if None.
    Raises:
        ValueError: a number out of range.
        Unsupported: the model has no stages, or none whose input it computes.
    Source:
        Deng, Lin, Li and Gu, ICML 2023, with the layout and the loss of the code for STMixer
        (NeurIPS 2024): B = depth // 2, n_1 = min(3, depth // 2). Inferred: the same for models
        that are no STMixer. Different: the mean runs over the steps of one sample, where that code
        mixes up samples for T > 1.
    """

    def __init__(
        self,
        *,
        tau: float = 3.0,
        alpha: float = 0.5,
        lam: float = 0.9,
        every: int = 2,
        blocks: int | None = None,
    ) -> None:
        if not tau > 0 or not alpha >= 0 or not 0 <= lam <= 1:
            raise ValueError(
                "sml needs tau > 0, alpha >= 0 and 0 <= lam <= 1, got "
                f"tau={tau}, alpha={alpha}, lam={lam}"
            )
        if every < 1 or (blocks is not None and blocks < 1):
            raise ValueError(f"sml needs every >= 1 and blocks >= 1, got {every} and {blocks}")
        self.tau, self.alpha, self.lam = tau, alpha, lam
        self.every, self.blocks = every, blocks

    def prepare(self, model: nn.Module) -> nn.Module:
        depth = len(getattr(model, "stage_channels", ()))
        # Without a stem the first stage reads the data, from which no branch could teach anything.
        starts = range(0 if hasattr(model, "stem") else 1, depth)
        if not starts:
            raise Unsupported(
                f"sml puts branches on what enters the stages of a network, and "
                f"{type(model).__name__} computes no such thing: give the model two or more "
                "`stages` (or one and a `stem`) and `stage_channels`, or train it with bptt"
            )
        count = max(1, len(starts) // self.every)
        weight = next(model.parameters())
        blocks = self.blocks or max(1, min(3, depth // 2))
        with_branches = Surrogates(model, starts[:: self.every][:count], blocks)
        return with_branches.to(weight.device, weight.dtype)

    def step(self, model: nn.Module, batch: Batch, loss: Loss, progress: Progress) -> Metrics:
        assert isinstance(model, Surrogates)
        logits_seq, branches = model.with_branches(batch.x_seq)
        own = loss(logits_seq, batch.y)
        for branch_seq in branches:
            own = own + self.alpha * loss(branch_seq, batch.y)
        own = own * ((1 - self.lam) / (1 + self.alpha * len(branches)))
        q = of_batch(logits_seq, batch.y).float().mean(0)
        apart = [divergence(q, each.float().mean(0), self.tau) for each in branches]
        value = own + to_scale(loss, self.lam / 2 * torch.stack(apart).mean())
        value.backward()
        return Metrics(value.detach(), of_batch(logits_seq.detach(), batch.y))

    def finish(self, model: nn.Module) -> nn.Module:
        assert isinstance(model, Surrogates)
        return model.model


def divergence(q: Tensor, other: Tensor, tau: float) -> Tensor:
    """How far two answers differ, each a teacher of the other.

    D(sg(p) || p') + D(sg(p') || p), p = softmax(q / tau), a mean over the batch.

    Shape:
        q, other [N, K] -> scalar
    """
    one, two = (torch.log_softmax(z / tau, -1) for z in (q, other))
    taught = F.kl_div(two, one.detach(), reduction="batchmean", log_target=True)
    return taught + F.kl_div(one, two.detach(), reduction="batchmean", log_target=True)


class MeanPlace(nn.Module):
    """The mean over space, if there is any.

    Shape:
        x_seq [T, N, C, *] -> [T, N, C]
    """

    def forward(self, x_seq: Tensor) -> Tensor:
        return mean_place(x_seq)


def branch(model: nn.Module, start: int, blocks: int) -> nn.Sequential:
    """A branch on what enters stage ``start``, of at most so many of the stages from there on."""
    stages: Any = model.stages
    channels: Any = model.stage_channels
    copied = [stages[i] for i in range(start, min(start + blocks, len(channels)))]
    entrance = next(m for m in copied[0].modules() if isinstance(m, nn.Conv2d | nn.Linear))
    images = isinstance(entrance, nn.Conv2d)
    c = entrance.in_channels if isinstance(entrance, nn.Conv2d) else entrance.in_features
    first = Conv2d(c, c, 1, bias=False) if images else Linear(c, c, bias=False)
    nn.init.kaiming_normal_(first.weight, mode="fan_out", nonlinearity="relu")
    last = nn.Linear(channels[start + len(copied) - 1], classes_of(model))
    return nn.Sequential(
        OverTime(first), BatchNorm(c), nn.GELU(), *map(surrogate, copied), MeanPlace(), last
    )


def surrogate(stage: nn.Module) -> nn.Module:
    """A copy of a stage without spikes and time: GELU for neurons, plain norms, fresh weights.

    Weights are drawn normally with the standard deviations that they have.
    """
    made = copy.deepcopy(stage)
    for parent in [*made.modules()]:
        for name, child in parent.named_children():
            if isinstance(child, Neuron | nn.ReLU):
                setattr(parent, name, nn.GELU())
            elif isinstance(child, BatchNorm | StepBatchNorm):
                setattr(parent, name, BatchNorm(_channels(child)))
    with torch.no_grad():
        for weight in made.parameters():
            if weight.dim() > 1:
                weight.copy_(torch.randn_like(weight) * weight.square().mean().sqrt())
    return made


def _channels(norm: BatchNorm | StepBatchNorm) -> int:
    if isinstance(norm, StepBatchNorm):
        first = norm.steps[0]
        assert isinstance(first, BatchNorm)
        norm = first
    return norm.channels
