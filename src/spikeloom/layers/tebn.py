"""Temporal effective batch normalisation: pooled statistics, and a scale for every step."""

import torch
from torch import Tensor, nn

from spikeloom.layers.norms import BatchNorm
from spikeloom.papers import Paper
from spikeloom.registry import register

PAPER = Paper(
    key="duan2022tebn",
    title="Temporal Effective Batch Normalization in Spiking Neural Networks",
    authors=("Chaoteng Duan", "Jianhao Ding", "Shiyan Chen", "Zhaofei Yu", "Tiejun Huang"),
    venue="Advances in Neural Information Processing Systems",
    year=2022,
    url="https://openreview.net/forum?id=fLIgyyQiJqz",
    code="https://github.com/ChaotengDuan/TEBN",
)


@register("norm", "tebn", paper=PAPER, status="exact")
class TemporalEffectiveBatchNorm(BatchNorm):
    """Batch normalisation over time and batch whose output is scaled by a learnt p[t] at step t.

    y[t] = p[t] (weight (x[t] - mean) / sqrt(var + eps) + bias), mean and var over T, N and space.

    The scale p, one number a step for the whole layer, starts at 1 and is not bounded. (weight,
    bias, p) and (c weight, c bias, p / c) give the same output, so weight decay acts on p too:
    ``no_decay = ["*.p"]`` in a recipe spares it (the paper's code does not).

    Args:
        channels: C.
        T: steps of every sequence.
        eps, momentum, bias: as for :class:`BatchNorm`.
    Shape:
        x_seq [T, N, C, *] -> [T, N, C, *]
    Raises:
        ValueError: T < 1, another number of steps or channels, or one value per channel in
            training.
    Source:
        Duan et al., NeurIPS 2022; the authors' code fixes T at 4, here it is an argument.
    """

    def __init__(
        self, channels: int, *, T: int, eps: float = 1e-5, momentum: float = 0.1, bias: bool = True
    ) -> None:
        if T < 1:
            raise ValueError(f"T must be >= 1, got {T}")
        super().__init__(channels, eps=eps, momentum=momentum, bias=bias)
        self.p = nn.Parameter(torch.ones(T))

    def forward(self, x_seq: Tensor) -> Tensor:
        if len(x_seq) != len(self.p):
            raise ValueError(
                f"TEBN was built for T = {len(self.p)} steps, got {len(x_seq)}; build the model "
                "with the T of the data (no p is defined beyond)"
            )
        y_seq = super().forward(x_seq)
        return (y_seq * self.p.view(-1, *(1,) * (x_seq.dim() - 1))).to(y_seq.dtype)

    def step(self, x: Tensor, t: int) -> Tensor:
        """Step t of a sequence alone, in evaluation: the caller counts the steps.

        Shape:
            x [N, C, *] -> [N, C, *]
        Raises:
            RuntimeError: in training, which needs the statistics of all steps.
            ValueError: t outside 0 ... T - 1.
        """
        if self.training:
            raise RuntimeError("a TEBN in training needs all steps at once; call eval() first")
        if not 0 <= t < len(self.p):
            raise ValueError(f"t must be in 0 ... {len(self.p) - 1}, got {t}")
        y = super().forward(x[None])[0]
        return y * self.p[t].to(y.dtype)

    def folded(self, weight: Tensor, bias: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Weights and biases for every step of a map (convolution or linear) with this norm inside.

        W[t] = p[t] A W, b[t] = p[t] (bias + A (b - mean)), A = weight / sqrt(var + eps), with the
        running statistics. One set of weights is W[t] / p[t], with p[t] as a gain on the current.

        Args:
            weight: of the map, outputs first.
            bias: of the map.
        Shape:
            weight [C, *], bias [C] -> [T, C, *], [T, C]
        """
        with torch.no_grad():
            A = self.weight * torch.rsqrt(self.running_var + self.eps)
            own = torch.zeros_like(A) if self.bias is None else self.bias
            b = own + A * ((0.0 if bias is None else bias) - self.running_mean)
            W = A.view(-1, *(1,) * (weight.dim() - 1)) * weight
            p = self.p.view(-1, *(1,) * weight.dim())
            return p * W, self.p[:, None] * b
