"""Losses on targets that are numbers."""

from typing import Literal

from torch import Tensor

from spikeloom.losses.rows import check_rows, wide
from spikeloom.registry import Unsupported, register


@register("loss", "mse")
class MSE:
    """Squared error of the mean output, for regression.

    L = c mean_n r_k (mean_t out[t, n, k] - y[n, k])², c = 1/2 if ``half``, r_k the mean or the sum
    over outputs.

    Args:
        half: halve it, as where the gradient is to be the error itself.
        over: of a sample's outputs, the ``mean`` or the ``sum``.
    Shape:
        out_seq [T, N, K] or [1, N, K], y float [N, K] -> scalar
    Raises:
        Unsupported: targets of another shape than the outputs.
    """

    numbers = True

    def __init__(self, *, half: bool = False, over: Literal["mean", "sum"] = "mean") -> None:
        if over not in ("mean", "sum"):
            raise ValueError(f"over is {over!r}; use 'mean' or 'sum'")
        self.half, self.over = half, over

    def __call__(self, out_seq: Tensor, y: Tensor) -> Tensor:
        check_rows("mse", out_seq, y)
        out = wide(out_seq).mean(0)
        if out.shape != y.shape:
            raise Unsupported(
                f"mse compares outputs with targets of their shape, got {tuple(out.shape)} and "
                f"{tuple(y.shape)}"
            )
        squares = (out - y).square()
        value = squares.mean() if self.over == "mean" else squares.sum(1).mean()
        return value / 2 if self.half else value
