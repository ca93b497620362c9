"""The linear map, as it is applied to every step."""

from torch import Tensor
from torch.nn import functional as F


def linear(x_seq: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """One linear map for all steps, samples and places.

    y = x weightᵀ + bias

    Args:
        x_seq: spikes or numbers, inputs last.
        weight: one row for each output.
        bias: added to each output; none if None.
    Shape:
        x_seq [*, K], weight [M, K], bias [M] -> [*, M]
    Example:
        >>> linear(torch.ones(4, 2, 3), torch.ones(5, 3))[0, 0].tolist()
        [3.0, 3.0, 3.0, 3.0, 3.0]
    """
    return F.linear(x_seq, weight, bias)
