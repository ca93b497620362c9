"""Cells that mix the tokens (places) of a spiking network, between two 1x1 convolutions.

All take the stream of real values, fire on it first, and end with a norm: what they add to the
stream. Any of them may stand in any block.
"""

from collections.abc import Callable
from typing import ClassVar

from torch import Tensor, nn

from spikeloom.functional import spike_attention
from spikeloom.layers import Conv2d, OverTime, Stack, TokenMixing
from spikeloom.models.parts import MakeNeuron, MakeNorm, Size, conv_norm
from spikeloom.papers import Paper
from spikeloom.registry import register

STMIXER = Paper(
    key="deng2024stmixer",
    title="Spiking Token Mixer: An event-driven friendly Former structure for spiking neural "
    "networks",
    authors=("Shikuang Deng", "Yuhang Wu", "Kangrui Du", "Shi Gu"),
    venue="Advances in Neural Information Processing Systems",
    year=2024,
    url="https://openreview.net/forum?id=iYcY7KAkSy",
    code="https://github.com/brain-intelligence-lab/STMixer_demo",
)
SPIKFORMER = Paper(
    key="zhou2023spikformer",
    title="Spikformer: When Spiking Neural Network Meets Transformer",
    authors=(
        "Zhaokun Zhou",
        "Yuesheng Zhu",
        "Chao He",
        "Yaowei Wang",
        "Shuicheng Yan",
        "Yonghong Tian",
        "Li Yuan",
    ),
    venue="International Conference on Learning Representations",
    year=2023,
    url="https://arxiv.org/abs/2209.15425",
    code="https://github.com/ZK-Zhou/spikformer",
)

# (channels, heads, size, neuron, norm)
MakeMixer = Callable[[int, int, Size, MakeNeuron, MakeNorm], nn.Module]


@register("mixer", "stm", paper=STMIXER, status="exact")
def stm(c: int, heads: int, size: Size, neuron: MakeNeuron, norm: MakeNorm) -> Stack:
    """Spiking token mixing: a learnt matrix over the tokens for each head.

    norm(P2 neuron(W neuron(norm(P1 neuron(x))))), without a norm behind W.

    Source:
        Deng, Wu, Du and Gu, NeurIPS 2024.
    """
    shape = (c, *size)
    return Stack(
        neuron(shape),
        *conv_norm(c, c, 1, 1, norm),
        neuron(shape),
        OverTime(TokenMixing(c, size[0] * size[1], heads)),
        neuron(shape),
        *conv_norm(c, c, 1, 1, norm),
    )


class SpikingSelfAttention(nn.Module):
    """Spiking self-attention on a stream of real values.

    s = neuron(x);  q, k, v = neuron(norm(P s)), each with a P of its own;
    norm(P' neuron(scale (q kᵀ) v))

    Args:
        c: channels.
        heads: a divisor of these.
        size: of the image.
        neuron: makes the neurons of a layer from the shape (C, H, W) of one sample.
        norm: makes the norm of a layer from its number of channels.
        scale: factor on the product.
    Shape:
        x_seq [T, N, C, H, W] -> the same
    Source:
        Zhou et al., ICLR 2023 (arXiv 2209.15425). There the stream holds spikes, linear maps have a
        bias, and the code gives the neurons behind the product a threshold of 0.5; here they are as
        all others.
    """

    step_by_step: ClassVar[bool] = True  # time passes only inside the layers
    needs_clock: ClassVar[str] = (
        "multiplies spikes with spikes, both of which must be there in the same step"
    )

    def __init__(
        self,
        c: int,
        heads: int,
        size: Size,
        neuron: MakeNeuron,
        norm: MakeNorm,
        scale: float = 0.125,
    ) -> None:
        super().__init__()
        if heads < 1 or c % heads:
            raise ValueError(f"{c} channels cannot be shared by {heads} heads; use a divisor")
        shape = (c, *size)
        self.heads, self.scale = heads, scale
        self.first = neuron(shape)
        self.query, self.key, self.value = (
            Stack(*conv_norm(c, c, 1, 1, norm), neuron(shape)) for _ in range(3)
        )
        self.last = Stack(neuron(shape), *conv_norm(c, c, 1, 1, norm))

    def forward(self, x_seq: Tensor) -> Tensor:
        s_seq = self.first(x_seq)
        q, k, v = (part(s_seq).flatten(3) for part in (self.query, self.key, self.value))
        mixed = spike_attention(q, k, v, heads=self.heads, scale=self.scale)
        y_seq: Tensor = self.last(mixed.unflatten(3, x_seq.shape[3:]))
        return y_seq


register("mixer", "attention", paper=SPIKFORMER, status="exact")(SpikingSelfAttention)


@register("mixer", "conv", paper=STMIXER, status="exact")
def conv(c: int, heads: int, size: Size, neuron: MakeNeuron, norm: MakeNorm) -> Stack:
    """Neighbours only: a 3x3 convolution of each channel.

    norm(P2 neuron(norm(K neuron(norm(P1 neuron(x)))))). Heads play no part.

    Source:
        Inferred: that the search space of Deng, Wu, Du and Gu, NeurIPS 2024, has a convolution in
        this place is known, its form is not.
    """
    shape = (c, *size)
    return Stack(
        neuron(shape),
        *conv_norm(c, c, 1, 1, norm),
        neuron(shape),
        OverTime(Conv2d(c, c, 3, padding=1, groups=c, bias=False)),
        norm(c),
        neuron(shape),
        *conv_norm(c, c, 1, 1, norm),
    )


MIXERS: dict[str, MakeMixer] = {"stm": stm, "attention": SpikingSelfAttention, "conv": conv}
