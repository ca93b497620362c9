"""Batch normalisation of sequences: pooled over time, threshold-scaled, and per time step."""

import math
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from spikeloom.functional import batch_norm
from spikeloom.functional.sequence import check_sequence
from spikeloom.papers import Paper
from spikeloom.registry import register

TDBN = Paper(
    key="zheng2021tdbn",
    title="Going Deeper With Directly-Trained Larger Spiking Neural Networks",
    authors=("Hanle Zheng", "Yujie Wu", "Lei Deng", "Yifan Hu", "Guoqi Li"),
    venue="AAAI Conference on Artificial Intelligence",
    year=2021,
    url="https://arxiv.org/abs/2011.05280",
)
BNTT = Paper(
    key="kim2021bntt",
    title="Revisiting Batch Normalization for Training Low-Latency Deep Spiking Neural Networks "
    "From Scratch",
    authors=("Youngeun Kim", "Priyadarshini Panda"),
    venue="Frontiers in Neuroscience",
    form="article",
    year=2021,
    url="https://doi.org/10.3389/fnins.2021.773954",
)


@register("norm", "bn")
class BatchNorm(nn.Module):
    """Batch normalisation with statistics pooled over time and batch.

    y = weight (x - mean) / sqrt(var + eps) + bias, mean and (biased) var per channel over T, N and
    space while training, running averages in evaluation. Under several processes the statistics
    are those of all of them, so that the result does not depend on how a batch is split.

    Args:
        channels: C.
        eps: added to the variance.
        momentum: share of the new batch in the running averages.
        bias: whether to add one.
    Shape:
        x_seq [T, N, C, *] -> [T, N, C, *]
    Raises:
        ValueError: the input has another number of channels, or one value per channel in training.
    """

    running_mean: Tensor
    running_var: Tensor
    bias: nn.Parameter | None

    def __init__(
        self, channels: int, *, eps: float = 1e-5, momentum: float = 0.1, bias: bool = True
    ) -> None:
        super().__init__()
        self.channels, self.eps, self.momentum = channels, eps, momentum
        self.weight = nn.Parameter(torch.ones(channels))
        self.register_parameter("bias", nn.Parameter(torch.zeros(channels)) if bias else None)
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x_seq: Tensor) -> Tensor:
        check_sequence(x_seq, least=3)
        if x_seq.shape[2] != self.channels:
            raise ValueError(
                f"{type(self).__name__} was built for {self.channels} channels, got "
                f"[T, N, C, *] = {tuple(x_seq.shape)}"
            )
        if self.together:
            x = self._normalise_together(x_seq.flatten(0, 1), self.scaled_weight())
            y_seq: Tensor = x.unflatten(0, x_seq.shape[:2])
            return y_seq
        return batch_norm(
            x_seq, self.scaled_weight(), self.bias, self.running_mean, self.running_var,
            training=self.training, momentum=self.momentum, eps=self.eps,
        )  # fmt: skip

    @property
    def together(self) -> bool:
        """Whether the statistics are those of several processes."""
        return self.training and _processes() > 1

    def scaled_weight(self) -> Tensor:
        """The factor of every channel after the division by the standard deviation."""
        return self.weight

    def _normalise_together(self, x: Tensor, weight: Tensor) -> Tensor:
        over = [d for d in range(x.dim()) if d != 1]
        channel = (1, -1, *[1] * (x.dim() - 2))
        # Sums over many halves would round, so they run in float32 at least, as in F.batch_norm.
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        values = wide.new_tensor([float(x.numel() // x.shape[1])])
        total = _sum_over_processes(torch.cat([wide.sum(over), values]))
        mean, count = total[:-1] / total[-1], total[-1]
        centred = wide - mean.view(channel)
        var = _sum_over_processes(centred.square().sum(over)) / count
        with torch.no_grad():
            self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
            unbiased = var * count / (count - 1)
            self.running_var.lerp_(unbiased.to(self.running_var.dtype), self.momentum)
        y: Tensor = centred * (weight * torch.rsqrt(var + self.eps)).view(channel)
        if self.bias is not None:
            y = y + self.bias.view(channel)
        return y.to(x.dtype)

    def extra_repr(self) -> str:
        return f"{self.channels}, eps={self.eps}, momentum={self.momentum}"


def _processes() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def _sum_over_processes(x: Tensor) -> Tensor:
    total: Tensor = _Sum.apply(x)  # type: ignore[no-untyped-call]
    return total


class _Sum(torch.autograd.Function):
    """Sum over all processes; its gradient is the sum of their gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        total = grads[0].clone()
        dist.all_reduce(total)
        return total


@register("norm", "tdbn", paper=TDBN, status="exact")
class ThresholdBatchNorm(BatchNorm):
    """Threshold-dependent batch normalisation (tdBN).

    y = weight * alpha * v_threshold (x - mean) / sqrt(var + eps) + bias, statistics over T, N and
    space, so that pre-activations start with standard deviation ``alpha * v_threshold``.

    Args:
        channels: C.
        v_threshold: threshold of the neurons that follow; a recipe leaves it out, and it is theirs.
        alpha: 1; where branches add up, :func:`of_sum` makes it smaller.
    Shape:
        x_seq [T, N, C, *] -> [T, N, C, *]
    Source:
        Zheng et al., AAAI 2021 (arXiv 2011.05280), eqs. 5-7.
    """

    def __init__(
        self,
        channels: int,
        *,
        v_threshold: float = 1.0,
        alpha: float = 1.0,
        eps: float = 1e-5,
        momentum: float = 0.1,
    ) -> None:
        super().__init__(channels, eps=eps, momentum=momentum)
        if v_threshold <= 0 or alpha <= 0:
            raise ValueError(f"v_threshold and alpha must be > 0, got {v_threshold}, {alpha}")
        self.scale = alpha * v_threshold

    def scaled_weight(self) -> Tensor:
        return self.weight * self.scale


def of_sum(norm: nn.Module, branches: int = 2) -> nn.Module:
    """Tell a norm that its output is one of several that add up to a neuron's input.

    tdBN divides its scale by sqrt(branches), so that the sum has the spread of one; other norms
    stay as they are.

    Source:
        Zheng et al., AAAI 2021 (arXiv 2011.05280): alpha = 1/sqrt(2) in residual blocks.
    """
    if isinstance(norm, ThresholdBatchNorm):
        norm.scale /= math.sqrt(branches)
    return norm


@register("norm", "bntt", paper=BNTT, status="exact")
class StepBatchNorm(nn.Module):
    """Batch normalisation through time (BNTT): each step has its own statistics and scale.

    y[t] = weight[t] (x[t] - mean[t]) / sqrt(var[t] + eps), without a bias, as published.

    Args:
        channels: C.
        T: number of time steps; a longer sequence is refused.
    Shape:
        x_seq [T, N, C, *] -> [T, N, C, *]
    Raises:
        ValueError: more steps than it was built for.
    Source:
        Kim and Panda, Frontiers in Neuroscience 15, 2021, eq. 6.
    """

    def __init__(self, channels: int, *, T: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.steps = nn.ModuleList(
            BatchNorm(channels, eps=eps, momentum=momentum, bias=False) for _ in range(T)
        )

    def forward(self, x_seq: Tensor) -> Tensor:
        check_sequence(x_seq, least=3)
        if x_seq.shape[0] > len(self.steps):
            raise ValueError(
                f"BNTT was built for T = {len(self.steps)}, got a sequence of {x_seq.shape[0]}; "
                "its statistics belong to single steps, so build it with the longer T"
            )
        steps = x_seq.split(1)
        return torch.cat([norm(x) for norm, x in zip(self.steps, steps, strict=False)])


@register("norm", "none")
class NoNorm(nn.Identity):
    """No normalisation; with ``bias``, a learnt number is added to each channel.

    The maps in front of norms have no bias of their own, so this is the one they would have.

    Args:
        channels: C.
        bias: whether to add one; it starts at 0.
    Shape:
        x_seq [T, N, C, *] -> [T, N, C, *]
    """

    bias: nn.Parameter | None

    def __init__(self, channels: int, *, bias: bool = False) -> None:
        super().__init__()
        self.register_parameter("bias", nn.Parameter(torch.zeros(channels)) if bias else None)

    def forward(self, x_seq: Tensor) -> Tensor:
        if self.bias is None:
            return x_seq
        return x_seq + self.bias.view(-1, *(1,) * (x_seq.dim() - 3))
