"""STMixer, a spiking network of token mixers; with ``neuron=relu`` it is the ReLU twin."""

from collections.abc import Sequence
from typing import ClassVar, Literal

from torch import Tensor, nn

from spikeloom.layers import OverTime, Stack
from spikeloom.models.parts import (
    MakeHead,
    MakeNeuron,
    MakeNorm,
    MakeReadout,
    Size,
    check_input,
    conv_norm,
    initialise,
    last_layer,
    scaled,
)
from spikeloom.models.patches import DEEPEST, PATCHES
from spikeloom.models.residual import Block
from spikeloom.models.token_mixers import MIXERS, STMIXER
from spikeloom.registry import register, unknown

Mixer = Literal["stm", "attention", "conv"]


@register("model", "stmixer", paper=STMIXER, status="exact")
class STMixer(nn.Module):
    """Patches, blocks that mix first tokens and then channels, and the mean token's read-out.

    A stream u of real values runs past all neurons: u <- u + mix_tokens(u), u <- u +
    mix_channels(u). Behind the first convolutions only spikes enter a map. ``stages[i]`` is one
    block; all put out the D channels of ``stage_channels``. STMixer-L-D-G is ``depth``, ``dim``,
    ``heads``.

    Args:
        depth: L, number of blocks.
        dim: D, channels of the stream: a multiple of 8 and of ``heads``.
        heads: G, token mixers in each block.
        in_shape: (C, H, W) of one image; H and W are multiples of 2^halvings.
        num_classes: K.
        neuron: makes the neurons of a layer from the shape (C, *) of one sample.
        norm: makes the norm of a layer from its number of channels.
        readout: makes what follows the last linear map from the shape (K,): leaky integrators
            (``li``), spiking neurons (``spikes``), or nothing.
        head: makes what stands in place of the last linear map, from the number of features and K;
            instead of ``readout``.
        width: multiplies ``dim`` and ``heads``.
        ratio: width of the channel mixing, in ``dim``.
        halvings: how often the image is halved: 2 for 32 x 32, 4 for 128 x 128 and 224 x 224.
        mixer: ``stm``, ``attention`` or ``conv``, for all blocks or one for each.
        patch: ``ipsps``, or ``sps`` with max-pooling.
    Shape:
        x_seq [T, N, C, H, W] -> logits_seq [T, N, K], spikes with ``readout=spikes``
    Raises:
        ValueError: sizes that do not divide, or an argument out of range; when called, an input
            that does not fit ``in_shape``.
    Source:
        Deng, Wu, Du and Gu, NeurIPS 2024, as in the authors' code; that the third number of a name
        counts heads is inferred.
    """

    step_by_step: ClassVar[bool] = True  # time passes only inside the layers

    def __init__(
        self,
        depth: int = 4,
        dim: int = 384,
        heads: int = 32,
        *,
        in_shape: tuple[int, int, int],
        num_classes: int,
        neuron: MakeNeuron,
        norm: MakeNorm,
        readout: MakeReadout | None = None,
        head: MakeHead | None = None,
        width: float = 1.0,
        ratio: int = 4,
        halvings: int = 2,
        mixer: Mixer | Sequence[Mixer] = "stm",
        patch: Literal["ipsps", "sps"] = "ipsps",
    ) -> None:
        super().__init__()
        D, G = scaled(dim, width), scaled(heads, width)
        check_sizes(in_shape, depth, D, G, ratio, halvings, patch)
        self.in_shape = tuple(in_shape)
        size = (in_shape[1], in_shape[2])
        self.stem = PATCHES[patch](in_shape[0], D, size, halvings, neuron, norm)
        size = (size[0] // 2**halvings, size[1] // 2**halvings)
        self.stages = Stack(
            *(block(name, D, G, ratio, size, neuron, norm) for name in mixers(mixer, depth))
        )
        self.stage_channels = (D,) * depth
        self.head = Stack(
            OverTime(nn.AdaptiveAvgPool2d(1)),
            OverTime(nn.Flatten()),
            *last_layer(D, num_classes, readout, head),
        )
        initialise(self)

    def forward(self, x_seq: Tensor) -> Tensor:
        check_input(self, x_seq, self.in_shape)
        logits_seq: Tensor = self.head(self.stages(self.stem(x_seq)))
        return logits_seq


def block(
    mixer: str, c: int, heads: int, ratio: int, size: Size, neuron: MakeNeuron, norm: MakeNorm
) -> Stack:
    """Token mixing and channel mixing, each added to the stream that it reads."""
    tokens = MIXERS[mixer](c, heads, size, neuron, norm)
    channels = Stack(
        neuron((c, *size)),
        *conv_norm(c, ratio * c, 1, 1, norm),
        neuron((ratio * c, *size)),
        *conv_norm(ratio * c, c, 1, 1, norm),
    )
    return Stack(*(Block(body, Stack(), nn.Identity()) for body in (tokens, channels)))


def mixers(mixer: str | Sequence[str], depth: int) -> list[str]:
    """The mixer of every block.

    Raises:
        ValueError: an unknown one, or not as many as there are blocks.
    """
    each = [mixer] * depth if isinstance(mixer, str) else [*mixer]
    for name in each:
        if name not in MIXERS:
            raise ValueError(unknown("mixer", name, MIXERS))
    if len(each) != depth:
        raise ValueError(f"mixer names {len(each)} cells for {depth} blocks; give one for each")
    return each


def check_sizes(
    in_shape: Sequence[int], depth: int, dim: int, heads: int, ratio: int, halvings: int, patch: str
) -> None:
    """Raise ValueError unless such a network can be built."""
    if patch not in PATCHES:
        raise ValueError(unknown("patch", patch, PATCHES))
    if min(depth, ratio) < 1 or heads < 1:
        raise ValueError(f"depth, heads and ratio must be >= 1, got {depth}, {heads} and {ratio}")
    if dim % 8 or dim % heads:
        raise ValueError(
            f"dim must be a multiple of 8 and of heads, got dim = {dim} and heads = {heads} "
            "(both after width)"
        )
    if not 1 <= halvings <= DEEPEST[patch]:
        raise ValueError(f"halvings must be in 1 ... {DEEPEST[patch]} for {patch}, got {halvings}")
    if in_shape[1] % 2**halvings or in_shape[2] % 2**halvings:
        raise ValueError(
            f"an image of {in_shape[1]} x {in_shape[2]} does not divide into patches of "
            f"{2**halvings} x {2**halvings}; set other halvings or resize the images"
        )
