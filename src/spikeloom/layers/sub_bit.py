"""Weights of less than one bit, as a transform of the weights that are trained."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikeloom.functional.sub_bit import (
    CELLS,
    FENCE,
    PATTERNS,
    Neighbours,
    Normalise,
    mean_size,
    nearest_codeword,
    passing,
    pattern,
    pattern_number,
    signs,
    sub_bit_weight,
    tame_outliers,
)
from spikeloom.layers.binary import PAPER, Binary, Codes
from spikeloom.layers.weights import KEEP, Place, kept, transform_of
from spikeloom.registry import register

HOLD = 1e-3  # a proxy smaller than this keeps the sign that it had
REACH = 3.0  # of a proxy

Others = Literal["binary", "grouped", "full"]
Init = Literal["random", "frequent"]


@register("selection", "os_quant", paper=PAPER, status="reconstruction")
@dataclass(frozen=True)
class OSQuant:
    """Outliers of a kernel are scaled down before its codeword is chosen.

    See :func:`spikeloom.functional.sub_bit.tame_outliers`. Gradients and the scale of the weights
    are those of the kernel itself (inferred).

    Args:
        normalise: ``kernel_median`` divides each kernel by the median of its sizes first
            (inferred); ``none`` is the text read literally, which depends on the scale of weights.
        neighbours: of an outlier: ``adjacent`` cells (inferred) or ``all`` others.
        fence: how many interquartile ranges beyond the quartiles outliers begin.
    Raises:
        ValueError: an unknown word, or fence < 0.
    """

    normalise: Normalise = "kernel_median"
    neighbours: Neighbours = "adjacent"
    fence: float = FENCE

    def __post_init__(self) -> None:
        _check_word("normalise", self.normalise, Normalise)
        _check_word("neighbours", self.neighbours, Neighbours)
        if not self.fence >= 0:
            raise ValueError(f"fence must be >= 0, got {self.fence}")

    def __call__(self, kernels: Tensor) -> Tensor:
        """What to choose codewords by.

        Shape:
            kernels [*, 9] -> [*, 9]
        """
        return tame_outliers(
            kernels, normalise=self.normalise, neighbours=self.neighbours, fence=self.fence
        )


class SubBit(nn.Module):
    """Weights of bits / 9 bit: each 3x3 kernel is one of 2^bits binary kernels of its layer.

    w_oc -> alpha_o p_k, p_k the codeword nearest to w_oc, alpha_o the mean |w| of an output;
    gradients as in :func:`spikeloom.functional.sub_bit.sub_bit_weight`. Weights of other shapes are
    cut into groups of nine consecutive inputs.

    A codebook that is learnt has a proxy of real values. It gets gradients, and codewords follow
    its signs, at every ``period``-th update: between them the proxy has no gradient, so that an
    optimizer with moments leaves it alone. A proxy within 1e-3 of 0 keeps its sign, a codeword
    that has come to equal an earlier one is replaced by a random one that is not in use, and
    proxies stay within +-3. The training loop counts updates, see :meth:`after_update`.

    Args:
        place: where the weights are.
        bits: of an index, from 1 to 9; with 9 all signs are there, as in a binary network.
        init: ``random`` codewords, or the most ``frequent`` sign patterns of the weights that are
            assigned, as those of a network that the training starts from.
        learn: whether the codebook is trained (inferred: the predecessor does).
        period: updates from one change of the codebook to the next.
        selection: of kernels to choose codewords by; the kernels themselves if None.
    Shape:
        raw [Co, Ci, 3, 3] or any [Co, *] -> the same
    Raises:
        ValueError: an argument out of range.
    Source:
        Wei et al., NeurIPS 2025, and the code of Wang et al., ICCV 2021, which counts forward
        passes instead of updates.
    """

    memory: Tensor
    seed: Tensor
    updates: Tensor

    def __init__(
        self,
        place: Place,
        *,
        bits: int = 4,
        init: Init = "random",
        learn: bool = True,
        period: int = 25,
        selection: OSQuant | None = None,
    ) -> None:
        super().__init__()
        _check_word("init", init, Init)
        if not 1 <= bits <= CELLS or period < 1:
            raise ValueError(
                f"bits must be from 1 to {CELLS} and period >= 1, got {bits} and {period}"
            )
        self.bits, self.init, self.period, self.selection = bits, init, period, selection
        seed = int(torch.randint(2**31, ()))
        book = pattern(torch.randperm(PATTERNS, generator=_generator(seed))[: 2**bits])
        self.register_buffer("memory", book)
        self.register_buffer("seed", torch.tensor(seed))
        self.register_buffer("updates", torch.tensor(0))
        self.proxy = nn.Parameter(book.clone()) if learn else None

    def right_inverse(self, weight: Tensor) -> Tensor:
        """Raw weights to start from; ``frequent`` codewords are counted here."""
        if self.init == "frequent":
            counts = pattern_number(self.kernels(weight)).flatten().bincount(minlength=PATTERNS)
            often = counts.argsort(descending=True, stable=True)[: len(self.memory)]
            self._put(slice(None), pattern(often))
        return weight

    def forward(self, raw: Tensor) -> Tensor:
        kernels, codebook = self.kernels(raw), self.codebook
        index = self.choose(kernels)
        if self.proxy is not None and self.training and self._due():
            codebook = passing(codebook, self.proxy)
        weight = sub_bit_weight(kernels, codebook, index, mean_size(raw))
        rows: Tensor = weight.flatten(1)[:, : raw[0].numel()]
        return rows.reshape(raw.shape)

    @property
    def codebook(self) -> Tensor:
        """The codewords, [K, 9] of +-1."""
        return signs(self.memory)  # averaged over updates, the memory of a sign lies between

    def kernels(self, raw: Tensor) -> Tensor:
        """The weights as kernels of nine; zeros where the last one of an output reaches beyond.

        Shape:
            raw [Co, *] -> [Co, G, 9]
        """
        rows = raw.flatten(1)
        kernels: Tensor = F.pad(rows, (0, -rows.shape[1] % CELLS)).unflatten(1, (-1, CELLS))
        return kernels

    def choose(self, kernels: Tensor) -> Tensor:
        """The index of each kernel's codeword.

        Shape:
            kernels [*, 9] -> [*], int64
        """
        seen = kernels.detach()
        return nearest_codeword(self.selection(seen) if self.selection else seen, self.codebook)

    def codes(self, raw: Tensor) -> Codes:
        """Indices, codebook and scales."""
        kind = torch.uint8 if self.bits <= 8 else torch.int16
        index = self.choose(self.kernels(raw)).to(kind)
        return Codes(index, self.codebook, mean_size(raw))

    @torch.no_grad()
    def after_update(self) -> None:
        """Let the codewords follow their proxies, once the optimizer has moved these."""
        due = self._due()
        self.updates += 1
        if self.proxy is None or not due:
            return
        held = self.proxy.abs() < HOLD
        self.memory.copy_(torch.where(held, self.codebook, signs(self.proxy)))
        self._refill()
        self.proxy.clamp_(-REACH, REACH)

    def _due(self) -> bool:
        """Whether the next update is one of the codebook."""
        return (int(self.updates) + 1) % self.period == 0

    def _refill(self) -> None:
        """Replace codewords that equal an earlier one by random ones that are not in use."""
        numbers = pattern_number(self.memory).tolist()
        repeats = [row for row, number in enumerate(numbers) if number in numbers[:row]]
        if repeats:
            free = torch.tensor(sorted({*range(PATTERNS)} - {*numbers}))
            generator = _generator(int(self.seed) + int(self.updates))
            drawn = free[torch.randperm(len(free), generator=generator)[: len(repeats)]]
            self._put(repeats, pattern(drawn))

    def _put(self, rows: slice | list[int], codewords: Tensor) -> None:
        self.memory[rows] = codewords.to(self.memory)
        if self.proxy is not None:
            self.proxy.data[rows] = codewords.to(self.memory)

    def extra_repr(self) -> str:
        return f"bits={self.bits}, selection={self.selection}"


@register("weight", "sub_bit", paper=PAPER, status="reconstruction")
def sub_bit(
    place: Place,
    *,
    bits: int = 4,
    keep: Sequence[str] = KEEP,
    others: Others = "binary",
    init: Init = "random",
    learn: bool = True,
    period: int = 25,
    selection: OSQuant | None = None,
) -> nn.Module | None:
    """Weights of bits / 9 bit: 3x3 kernels from a learnt codebook of 2^bits binary ones.

    Args:
        place: a map of a network.
        bits: of a kernel, from 1 to 9.
        keep: maps that stay as they are: ``first``, ``last``, ``shortcut`` (1x1 convolutions in
            shortcuts), or patterns of their names.
        others: maps without 3x3 kernels become ``binary``, are ``grouped`` into kernels of nine
            consecutive inputs (both inferred), or stay ``full``.
        init: of codebooks: ``random``, or the most ``frequent`` patterns of initial weights.
        learn: whether codebooks are trained.
        period: updates from one change of a codebook to the next.
        selection: ``os_quant``, or none.
    Raises:
        ValueError: an argument out of range, or a pattern that matches no map.
    Source:
        Wei et al., NeurIPS 2025. See :class:`SubBit`.
    """
    _check_word("others", others, Others)
    made = SubBit(place, bits=bits, init=init, learn=learn, period=period, selection=selection)
    if kept(place, keep):
        return None
    layer = place.layer
    if others == "grouped" or (isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3)):
        return made
    return Binary() if others == "binary" else None


def codes_of(layer: nn.Module) -> Codes | None:
    """What a layer's weights consist of; None if they are not of one bit or less."""
    transform = transform_of(layer)
    if not isinstance(transform, Binary | SubBit):
        return None
    weight: Any = layer.get_submodule("parametrizations.weight")
    if len(weight) > 1:  # something else has changed them since
        return None
    with torch.no_grad():
        return transform.codes(weight.original)


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _check_word(name: str, value: str, known: object) -> None:
    if value not in get_args(known):
        raise ValueError(f"{name} must be one of {', '.join(get_args(known))}, got {value!r}")


__all__ = ["PAPER", "OSQuant", "SubBit", "codes_of", "sub_bit"]
