"""Weights of one bit, as a transform of the weights that are trained."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from spikeloom.functional.sub_bit import binary_weight, mean_size, signs
from spikeloom.layers.weights import KEEP, Place, kept
from spikeloom.papers import Paper
from spikeloom.registry import register

PAPER = Paper(
    key="wei2025s2nn",
    title="S2NN: Sub-bit Spiking Neural Networks",
    authors=(
        "Wenjie Wei",
        "Malu Zhang",
        "Jieyuan Zhang",
        "Ammar Belatreche",
        "Shuai Wang",
        "Yimeng Shan",
        "Hanwen Liu",
        "Honglin Cao",
        "Guoqing Wang",
        "Yang Yang",
        "Haizhou Li",
    ),
    venue="Advances in Neural Information Processing Systems",
    year=2025,
    url="https://arxiv.org/abs/2509.24266",
)


@dataclass(frozen=True)
class Codes:
    """What a layer's weights consist of, for storing them.

    Sub-bit: weight[o] = scale[o] codebook[index[o]], nine inputs to a kernel, and ``signs`` is
    None. Binary: weight[o] = scale[o] signs[o], and ``index`` and ``codebook`` are None.

    Shape:
        index [Co, Ci] (uint8 up to 256 codewords, else int16), codebook [K, 9] of +-1, scale [Co],
        signs as the weight, of +-1. Of layers without 3x3 kernels index is [Co, G], nine
        consecutive inputs to a group, of which the last may reach beyond the weight.
    """

    index: Tensor | None
    codebook: Tensor | None
    scale: Tensor
    signs: Tensor | None = None


class Binary(nn.Module):
    """Weights of one bit: alpha_o sign(w), alpha_o the mean |w| of an output.

    Gradients go straight through where |w| <= 1, none through alpha.

    Shape:
        raw [Co, *] -> [Co, *]
    """

    def right_inverse(self, weight: Tensor) -> Tensor:
        """Raw weights to start from."""
        return weight

    def forward(self, raw: Tensor) -> Tensor:
        return binary_weight(raw, mean_size(raw))

    def codes(self, raw: Tensor) -> Codes:
        """Signs and scales."""
        return Codes(None, None, mean_size(raw), signs(raw.detach()))


@register("weight", "binary", paper=PAPER, status="exact")
def binary(place: Place, *, keep: Sequence[str] = KEEP) -> Binary | None:
    """Weights of one bit: the sign, times the mean size of an output.

    Args:
        place: a map of a network.
        keep: maps that stay as they are: ``first``, ``last``, ``shortcut`` (1x1 convolutions in
            shortcuts), or patterns of their names.
    Raises:
        ValueError: a pattern that matches no map.
    Source:
        As in the code of Wang et al., ICCV 2021; inferred for Wei et al., NeurIPS 2025.
    """
    return None if kept(place, keep) else Binary()
