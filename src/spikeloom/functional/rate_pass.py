"""The pass on firing rates: values that a simulation found, derivatives that it averaged.

Linear maps need nothing: W E[s[t]] = E[W s[t]]. What is not linear, neurons and the statistics of a
batch, is replaced by the functions here.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


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


def rate_bn_neuron(
    c: Tensor,
    mean: Tensor,
    rstd: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    rate: Tensor,
    gain: Tensor,
) -> Tensor:
    """:func:`rate_neuron` of :func:`rate_batch_norm`, whose value nobody needs.

    Shape:
        c, rate, gain [N, C, *], the others [C] -> [N, C, *]
    """
    found: Tensor = _RateNormNeuron.apply(c, mean, rstd, weight, bias, rate, gain)  # type: ignore[no-untyped-call]
    return found


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
        return F.batch_norm(c, mean, rstd**-2, weight, bias, training=False, eps=0.0)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return _through_norm(grads[0], ctx.saved_tensors, ctx.needs_input_grad)


class _RateNormNeuron(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *given: Tensor) -> Tensor:
        c, mean, rstd, weight, _, rate, gain = given
        ctx.save_for_backward(c, mean, rstd, weight, gain)
        return rate.detach()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        *norm, gain = ctx.saved_tensors
        return *_through_norm(grads[0] * gain, norm, ctx.needs_input_grad), None, None


def _through_norm(
    grad: Tensor, norm: Sequence[Any], need: Sequence[bool]
) -> tuple[Tensor | None, ...]:
    """Gradients of c, mean, rstd, weight and bias: those of an ordinary batch norm of c.

    But mean and rstd are not those of c alone.
    """
    c, mean, rstd, weight = norm
    grad_c, grad_weight, grad_bias = torch.ops.aten.native_batch_norm_backward(
        grad.to(c.dtype), c, weight, None, None, mean, rstd, True, 0.0, [need[0], need[3], need[4]]
    )
    given = ((grad_weight, need[3]), (grad_bias, need[4]))
    return grad_c, None, None, *(part if want else None for part, want in given)
