"""The one wrapper that runs a stateless layer over a sequence."""

from torch import Tensor, nn

from spikeloom.functional.sequence import check_sequence
from spikeloom.layers.tokens import TokenMixing

# Layers whose output for a step depends on that step alone, also while training: a sequence that
# repeats one image (stride 0 along time) needs them once.
STEPWISE = (
    nn.Linear,
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.AvgPool1d,
    nn.AvgPool2d,
    nn.MaxPool1d,
    nn.MaxPool2d,
    nn.AdaptiveAvgPool2d,
    nn.Flatten,
    nn.Identity,
    TokenMixing,
)


class OverTime(nn.Module):
    """Applies a stateless module to every step by folding T into N.

    y_seq[t] = module(x_seq[t]), in one call of the module. A constant sequence (an image repeated
    by ``encode.constant``, stride 0 along time) is computed once and repeated.

    Shape:
        x_seq [T, N, *] -> [T, N, *]
    Raises:
        ValueError: no time axis.
    Example:
        >>> OverTime(nn.Conv2d(3, 8, 3))(torch.zeros(4, 2, 3, 9, 9)).shape
        torch.Size([4, 2, 8, 7, 7])
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x_seq: Tensor) -> Tensor:
        check_sequence(x_seq)
        T, N = x_seq.shape[:2]
        if is_constant(x_seq) and isinstance(self.module, STEPWISE):
            y: Tensor = self.module(x_seq[0])
            return y.expand(T, *y.shape)
        y_seq: Tensor = self.module(x_seq.flatten(0, 1)).unflatten(0, (T, N))
        return y_seq


def is_constant(x_seq: Tensor) -> bool:
    """Whether the sequence is one step repeated without a copy.

    Shape:
        x_seq [T, N, *]
    """
    return x_seq.shape[0] > 1 and x_seq.stride(0) == 0
