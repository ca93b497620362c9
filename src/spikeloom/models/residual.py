"""Residual blocks of spiking networks: where the neurons sit, and what the shortcut carries."""

from collections.abc import Callable
from typing import ClassVar

from torch import Tensor, nn

from spikeloom.layers import OverTime, Stack, of_sum
from spikeloom.layers.norms import TDBN
from spikeloom.models.parts import MakeNeuron, MakeNorm, Size, conv_norm, strided
from spikeloom.papers import Paper
from spikeloom.registry import register

SEW = Paper(
    key="fang2021sew",
    title="Deep Residual Learning in Spiking Neural Networks",
    authors=(
        "Wei Fang",
        "Zhaofei Yu",
        "Yanqi Chen",
        "Tiejun Huang",
        "Timothée Masquelier",
        "Yonghong Tian",
    ),
    venue="Advances in Neural Information Processing Systems",
    year=2021,
    url="https://arxiv.org/abs/2102.04159",
    code="https://github.com/fangwei123456/Spike-Element-Wise-ResNet",
)
MS = Paper(
    key="hu2024msresnet",
    title="Advancing Spiking Neural Networks Toward Deep Residual Learning",
    authors=("Yifan Hu", "Lei Deng", "Yujie Wu", "Man Yao", "Guoqi Li"),
    venue="IEEE Transactions on Neural Networks and Learning Systems",
    form="article",
    year=2024,
    url="https://arxiv.org/abs/2112.08954",
    code="https://github.com/Ariande1/MS-ResNet",
)

MakeBlock = Callable[[int, int, int, Size, MakeNeuron, MakeNorm], "Block"]


class Block(nn.Module):
    """after(body(x) + shortcut(x)).

    Shape:
        x_seq [T, N, C, H, W] -> [T, N, C', H', W']
    """

    step_by_step: ClassVar[bool] = True  # time passes only inside the layers

    def __init__(self, body: nn.Module, shortcut: nn.Module, after: nn.Module) -> None:
        super().__init__()
        self.body, self.shortcut, self.after = body, shortcut, after

    def forward(self, x_seq: Tensor) -> Tensor:
        y_seq: Tensor = self.after(self.body(x_seq) + self.shortcut(x_seq))
        return y_seq

    def inner(self) -> list[nn.Module]:
        """The layers between the first and the last map of the body.

        Neurons among them are those that neither read nor make a sum, whatever kind of block.
        """
        layers = list(self.body.children())
        maps = [place for place, layer in enumerate(layers) if isinstance(layer, OverTime)]
        return layers[maps[0] : maps[-1]] if maps else []


@register("residual", "standard", paper=TDBN, status="exact")
def standard(
    c: int, out: int, stride: int, size: Size, neuron: MakeNeuron, norm: MakeNorm
) -> Block:
    """Neurons after the addition: neuron(norm(conv(spikes)) + shortcut(x)).

    What comes out are spikes; the sum is an input current. tdBN takes alpha = 1/sqrt(2) in both
    branches.

    Source:
        Zheng et al., AAAI 2021 (arXiv 2011.05280).
    """

    def half(channels: int) -> nn.Module:
        return of_sum(norm(channels))

    shape = (out, *strided(size, stride))
    body = (*conv_norm(c, out, 3, stride, norm), neuron(shape), *conv_norm(out, out, 3, 1, half))
    across = conv_norm(c, out, 1, stride, half) if (c, 1) != (out, stride) else ()
    return Block(Stack(*body), Stack(*across), neuron(shape))


@register("residual", "sew", paper=SEW, status="exact")
def sew(c: int, out: int, stride: int, size: Size, neuron: MakeNeuron, norm: MakeNorm) -> Block:
    """Neurons before the addition: neuron(norm(conv(spikes))) + shortcut(x), of spikes (SEW).

    What comes out are small integers. The connect function is ADD; with a silent body the block
    is the identity.

    Source:
        Fang et al., NeurIPS 2021 (arXiv 2102.04159), sec. 3.2.
    """
    shape = (out, *strided(size, stride))
    body = (
        *(*conv_norm(c, out, 3, stride, norm), neuron(shape)),
        *(*conv_norm(out, out, 3, 1, norm), neuron(shape)),
    )
    across: tuple[nn.Module, ...] = ()
    if (c, 1) != (out, stride):
        across = (*conv_norm(c, out, 1, stride, norm), neuron(shape))
    return Block(Stack(*body), Stack(*across), nn.Identity())


@register("residual", "membrane", paper=MS, status="exact")
def membrane(
    c: int, out: int, stride: int, size: Size, neuron: MakeNeuron, norm: MakeNorm
) -> Block:
    """Neurons first: norm(conv(neuron(...neuron(x)))) + shortcut(x), of real values (MS-ResNet).

    The stream of real values runs past all neurons, from the first convolution to the last stage;
    with a zero body the block is the identity.

    Source:
        Hu et al., IEEE TNNLS 2024 (arXiv 2112.08954). There the last norm of every body starts at
        weight 0.
    """
    shape = (out, *strided(size, stride))
    body = (
        *(neuron((c, *size)), *conv_norm(c, out, 3, stride, norm)),
        *(neuron(shape), *conv_norm(out, out, 3, 1, norm)),
    )
    across = conv_norm(c, out, 1, stride, norm) if (c, 1) != (out, stride) else ()
    return Block(Stack(*body), Stack(*across), nn.Identity())


BLOCKS: dict[str, MakeBlock] = {"standard": standard, "sew": sew, "membrane": membrane}
