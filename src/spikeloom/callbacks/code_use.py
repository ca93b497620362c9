"""What sub-bit weights make of their codebooks, noted epoch by epoch."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from spikeloom.callbacks.base import Callback
from spikeloom.functional.sub_bit import nearest_codeword
from spikeloom.layers import SubBit, transform_of
from spikeloom.learning.base import Batch, Loss, Progress
from spikeloom.registry import register


@register("callback", "code_use")
class CodeUse(Callback):
    """Notes, before every epoch, two shares, each the mean over layers of sub-bit weights.

    ``used``: of the codewords, those that some kernel has. ``moved``: of the kernels, those that
    have another codeword than the nearest to them, by OS-Quant. Without such layers nothing.
    """

    @torch.no_grad()
    def epoch(
        self, model: nn.Module, probe: Callable[[int], Batch], loss: Loss, progress: Progress
    ) -> dict[str, float]:
        found = [shares(layer) for layer in model.modules() if _is_sub_bit(layer)]
        if not found:
            return {}
        used, moved = torch.stack(found).mean(0).tolist()
        return {"share used": used, "share moved": moved}


def shares(layer: nn.Module) -> Tensor:
    """Shares of a layer's codewords that are used, and of its kernels that are moved: [2]."""
    transform = transform_of(layer)
    assert isinstance(transform, SubBit)
    kernels = transform.kernels(layer.get_parameter("parametrizations.weight.original"))
    index, book = transform.choose(kernels), transform.codebook
    used = index.unique().numel() / len(book)
    moved = (index != nearest_codeword(kernels, book)).float().mean()
    return torch.stack([moved.new_tensor(used), moved])


def _is_sub_bit(layer: nn.Module) -> bool:
    return isinstance(transform_of(layer), SubBit)
