"""A batch norm over time and batch, and the LIF neurons that follow it, as one function."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from spikeloom.functional.decay import Decay, Value
from spikeloom.functional.neurons.lif import DEFAULT_DECAY, DEFAULT_SURROGATE, Reset, lif
from spikeloom.functional.neurons.rate import RateState, lif_rate
from spikeloom.functional.sequence import check_sequence
from spikeloom.functional.surrogate import Smooth, Surrogate


def batch_norm(
    x_seq: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor,
    running_var: Tensor,
    *,
    training: bool,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Batch normalisation with statistics pooled over time, batch and space.

    y = weight (x - mean) / sqrt(var + eps) + bias, mean and (biased) var of this sequence while
    training, else the running ones. Training moves the running ones in place, as
    ``torch.nn.functional.batch_norm`` does.

    Args:
        x_seq: what to normalise.
        weight: scale of a channel; 1 if None.
        bias: added to a channel; 0 if None.
        running_mean: average of the means so far.
        running_var: average of the unbiased variances so far.
        training: whether the statistics are those of this sequence.
        momentum: share of this sequence in the running averages.
        eps: added to the variance.
    Shape:
        x_seq [T, N, C, *], the others [C] -> [T, N, C, *]
    Raises:
        ValueError: no sequence [T, N, C, *]; in training, one value per channel.
    """
    check_sequence(x_seq, least=3)
    y: Tensor = F.batch_norm(
        x_seq.flatten(0, 1), running_mean, running_var, weight, bias, training, momentum, eps
    )
    y_seq: Tensor = y.unflatten(0, x_seq.shape[:2])
    return y_seq


def bn_lif(
    x_seq: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor,
    running_var: Tensor,
    v: Tensor | None = None,
    *,
    training: bool,
    momentum: float = 0.1,
    eps: float = 1e-5,
    decay: Decay = DEFAULT_DECAY,
    v_threshold: Value = 1.0,
    reset: Reset = "hard",
    v_reset: float = 0.0,
    detach_reset: bool = False,
    surrogate: Surrogate | Smooth = DEFAULT_SURROGATE,
    strict: bool = False,
) -> tuple[Tensor, Tensor]:
    """:func:`lif` of :func:`batch_norm`.

    Arguments of the norm as there, the rest as in :func:`lif`.

    Shape:
        x_seq [T, N, C, *], v [N, C, *], norm's values [C] -> spike_seq [T, N, C, *], v [N, C, *]

    Returns:
        Spikes in {0, 1} with the dtype of x_seq, and the potential after the last reset.

    Raises:
        ValueError: as :func:`batch_norm` and :func:`lif`.
    Example:
        >>> import torch
        >>> x_seq, zeros, ones = torch.randn(4, 2, 3, 5, 5), torch.zeros(3), torch.ones(3)
        >>> bn_lif(x_seq, None, None, zeros, ones, training=True)[0].shape
        torch.Size([4, 2, 3, 5, 5])
    """
    y_seq = batch_norm(
        x_seq, weight, bias, running_mean, running_var,
        training=training, momentum=momentum, eps=eps,
    )  # fmt: skip
    return lif(
        y_seq, v, decay=decay, v_threshold=v_threshold, reset=reset, v_reset=v_reset,
        detach_reset=detach_reset, surrogate=surrogate, strict=strict,
    )  # fmt: skip


@torch.no_grad()
def batch_statistics(
    x_seq: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor,
    running_var: Tensor,
    *,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> tuple[Tensor, Tensor, Tensor]:
    """:func:`batch_norm` in training that also returns its statistics; has no gradient.

    Arguments as there. A sequence that repeats one step (stride 0 along time) is computed once.

    Shape:
        x_seq [T, N, C, *], the others [C] -> y_seq [T, N, C, *], mean [C], 1 / sqrt(var + eps) [C]
    Raises:
        ValueError: no sequence [T, N, C, *], or one value per channel.
    """
    check_sequence(x_seq, least=3)
    T, values = x_seq.shape[0], x_seq.numel() // max(1, x_seq.shape[2])
    if values == 1:
        raise ValueError(
            f"a batch norm takes its variance from more than one value per channel, got "
            f"{tuple(x_seq.shape)}; use a larger batch"
        )
    repeats = T if T > 1 and x_seq.stride(0) == 0 else 1
    x = x_seq[0] if repeats > 1 else x_seq.flatten(0, 1)
    own_mean, own_var = torch.zeros_like(running_mean), torch.zeros_like(running_var)
    y, mean, rstd = torch.native_batch_norm(x, weight, bias, own_mean, own_var, True, 1.0, eps)
    if repeats > 1:  # then own_var is unbiased for the values of one step
        n = values // repeats
        own_var *= (n - 1) / n * values / (values - 1)
        y = y.expand(x_seq.shape)
    running_mean.lerp_(own_mean, momentum)
    running_var.lerp_(own_var, momentum)
    return y if repeats > 1 else y.unflatten(0, x_seq.shape[:2]), mean, rstd


def bn_lif_rate(
    x_seq: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor,
    running_var: Tensor,
    state: RateState | None = None,
    *,
    momentum: float = 0.1,
    eps: float = 1e-5,
    **options: Any,
) -> tuple[Tensor, RateState, Tensor, Tensor]:
    """:func:`lif_rate` of :func:`batch_statistics`.

    Arguments of the norm as there, ``options`` as keyword arguments of ``lif_rate``.

    Shape:
        x_seq [T, N, C, *], norm's values [C] -> spike_seq [T, N, C, *], state,
        mean [C], 1 / sqrt(var + eps) [C]
    """
    y_seq, mean, rstd = batch_statistics(
        x_seq, weight, bias, running_mean, running_var, momentum=momentum, eps=eps
    )
    return *lif_rate(y_seq, state, **options), mean, rstd
