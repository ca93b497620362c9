"""Graded neurons: what leaves at a firing is the potential itself, not a spike."""

from typing import Any

import torch
from torch import Tensor

from spikeloom.functional.decay import Decay, Value
from spikeloom.functional.neurons.inputs import check_inputs, wide
from spikeloom.functional.neurons.lif import DEFAULT_DECAY, charge, start
from spikeloom.functional.sequence import sequence, steps


def graded(
    x_seq: Tensor,
    v: Tensor | None = None,
    *,
    decay: Decay = DEFAULT_DECAY,
    v_threshold: Value = 1.0,
    margin: float = 0.5,
) -> tuple[Tensor, Tensor]:
    """Leaky neurons that put out their potential where it is above the threshold.

    h[t] = keep v[t-1] + gain x[t];  g[t] = h[t] where h[t] > v_threshold, else 0;
    v[t] = 0 where g[t] > v_threshold, else h[t].

    Backward, dg/dh is 1 where h >= v_threshold - margin and 0 elsewhere. Nothing reaches the
    threshold, and nothing goes through the choice of which neurons reset. A negative threshold
    resets at every step.

    Args:
        x_seq: input current [v_threshold].
        v: potential before the first step [v_threshold]; 0 if None.
        decay: leak per step.
        v_threshold: what a potential must exceed; a number or a tensor that broadcasts against
            [N, *].
        margin: how far below the threshold the gradient still passes [v_threshold].
    Shape:
        x_seq [T, N, *], v [N, *] -> g_seq [T, N, *], v [N, *]

    Returns:
        The graded outputs and the potential after the last reset, both with the dtype of x_seq;
        half precision is computed in float32 and rounded at the end.

    Raises:
        ValueError: no time axis; x_seq is not floating point; v, decay or v_threshold does not
            fit x_seq[0].
    Source:
        The output-type neuron in the code of Wang, Cheng and Lim, NeurIPS 2022 (LTMD).

    Example:
        >>> g_seq, v = graded(torch.full((3, 1, 1), 1.5))
        >>> g_seq.flatten().tolist()
        [0.0, 1.125, 0.0]
    """
    check_inputs(x_seq, decay=decay, v_threshold=v_threshold)
    v = start(x_seq, v)
    threshold = v_threshold.detach() if isinstance(v_threshold, Tensor) else v_threshold
    outputs = []
    for x in steps(wide(x_seq)):
        h = charge(x, v, decay)
        g: Tensor = _Above.apply(h, threshold, margin)  # type: ignore[no-untyped-call]
        v = torch.where(g > threshold, 0.0, h)
        outputs.append(g.to(x_seq.dtype))
    return sequence(outputs), v.to(x_seq.dtype)


class _Above(torch.autograd.Function):
    """The potential where it exceeds the threshold; a gradient from a margin below it on."""

    @staticmethod
    def forward(ctx: Any, h: Tensor, threshold: Value, margin: float) -> Tensor:
        ctx.save_for_backward(h >= threshold - margin)
        return torch.where(h > threshold, h, 0.0)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (passes,) = ctx.saved_tensors
        return grads[0] * passes, None, None
