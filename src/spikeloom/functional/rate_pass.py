"""The pass on firing rates: values that a simulation found, derivatives that it averaged.

Linear maps need nothing: W E[s[t]] = E[W s[t]]. What is not linear, neurons and the statistics of a
batch, is replaced by the two functions here.
"""

from typing import Any

import torch
from torch import Tensor


def rate_neuron(c: Tensor, rate: Tensor, gain: Tensor) -> Tensor:
    """Firing rates as a function of the mean input current: value ``rate``, derivative ``gain``.

    Both come from :func:`spikeloom.functional.lif_rate`.

    Args:
        c: mean input current, through which the gradient goes on.
        rate: what comes out.
        gain: d rate / dc.
    Shape:
        c [N, *], rate [N, *], gain [N, *] -> [N, *]
    Source:
        Yu et al., NeurIPS 2024 (arXiv 2410.11488).
    """
    found: Tensor = _RateNeuron.apply(c, rate, gain)  # type: ignore[no-untyped-call]
    return found


def rate_batch_norm(
    c: Tensor, mean: Tensor, rstd: Tensor, weight: Tensor | None, bias: Tensor | None
) -> Tensor:
    """Batch normalisation of mean input currents, by the statistics of all steps.

    y = weight (c - mean) rstd + bias, where the statistics carry a gradient as if they were those
    of c: with x = (c - mean) rstd and g = dL/dy,

        dL/dc = weight rstd (g - mean(g) - x mean(g x)),
        dL/dweight = sum g x,    dL/dbias = sum g

    the means over N and space. With ``mean`` and ``rstd`` over T, N and space of the currents whose
    mean over time is c, the value is the mean over time of the normalised currents.

    Args:
        c: mean input current.
        mean: of the currents.
        rstd: 1 / sqrt(var + eps).
        weight: scale of a channel; 1 if None.
        bias: added to a channel; 0 if None.
    Shape:
        c [N, C, *], the others [C] -> [N, C, *]
    Source:
        Yu et al., NeurIPS 2024 (arXiv 2410.11488), and their code.
    """
    y: Tensor = _RateNorm.apply(c, mean, rstd, weight, bias)  # type: ignore[no-untyped-call]
    return y


class _RateNeuron(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, c: Tensor, rate: Tensor, gain: Tensor) -> Tensor:
        ctx.save_for_backward(gain)
        ctx.dtype = c.dtype
        return rate.detach()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (gain,) = ctx.saved_tensors
        return (grads[0] * gain).to(ctx.dtype), None, None


class _RateNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, c: Tensor, mean: Tensor, rstd: Tensor, weight: Tensor | None, bias: Tensor | None
    ) -> Tensor:
        ctx.save_for_backward(c, mean, rstd, weight)
        channel = (1, -1, *[1] * (c.dim() - 2))
        scale = rstd if weight is None else rstd * weight
        offset = -mean * scale if bias is None else bias - mean * scale
        return (c * scale.view(channel) + offset.view(channel)).to(c.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        c, mean, rstd, weight = ctx.saved_tensors
        need = ctx.needs_input_grad
        # That of an ordinary batch norm, but for whose statistics these are.
        grad_c, grad_weight, grad_bias = torch.ops.aten.native_batch_norm_backward(
            grads[0].to(c.dtype), c, weight, None, None, mean, rstd, True, 0.0,
            [need[0], need[3], need[4]],
        )  # fmt: skip
        given = ((grad_weight, need[3]), (grad_bias, need[4]))
        return grad_c, None, None, *(grad if want else None for grad, want in given)
