"""LIF that also hands out its mean potential, straight to the library.

It is no operator of PyTorch: compiled graphs run the truth.
"""

from typing import Any

import torch
from torch import Tensor

from spikeloom.kernels.cpu import ops
from spikeloom.kernels.cpu.layout import new_step, with_dense_steps
from spikeloom.kernels.cpu.ops import Maybe, Numbers, Options, Values


def run(
    x_seq: Tensor, v: Maybe, w: Maybe, values: Values, numbers: Numbers, options: Options
) -> tuple[Tensor, Tensor, Tensor]:
    """Spikes, the potential after the last step, and the mean of the potentials before resets."""
    out, v_end, h_sum = LIFMean.apply(numbers, options, x_seq, v, w, *values)  # type: ignore[no-untyped-call]
    return out, v_end, h_sum / len(x_seq)


class LIFMean(torch.autograd.Function):
    """As :class:`spikeloom.kernels.cpu.ops.Neurons`, with the sum of the potentials."""

    @staticmethod
    def forward(ctx: Any, numbers: Numbers, options: Options, *tensors: Maybe) -> Any:
        x_seq, v, w, *values = tensors
        assert x_seq is not None
        h_sum = new_step(with_dense_steps(x_seq), torch.float32)
        out, v_end, _, saved = ops.forward(
            "lif", x_seq, v, w, Values(*values), numbers, options, h_sum
        )
        ctx.wanted = ctx.needs_input_grad[2:]
        ctx.set_materialize_grads(False)
        read = ops.needed("lif", options, ctx.wanted, x_seq, v, w)
        ctx.save_for_backward(*read, saved, *values)
        ctx.call = numbers, options, x_seq.dtype
        return out, v_end, h_sum

    @staticmethod
    def backward(ctx: Any, *grads: Maybe) -> Any:
        ops.only_first("a fast neuron layer", *grads)
        if all(grad is None for grad in grads):
            return (None,) * (2 + len(ctx.wanted))
        numbers, options, dtype = ctx.call
        x_seq, v, w, saved, *values = ctx.saved_tensors
        call = Values(*values), numbers, options, ctx.wanted
        found = ops.backward(
            "lif", (grads[0], grads[1], None), x_seq, v, w, saved, *call, grads[2], dtype
        )
        return None, None, *found
