"""From values to spikes: what turns data without a time axis into sequences [T, N, *].

The encoders (``constant``, ``intensity``, ``poisson``, ``latency``, and ``recorded`` for what has a
time axis already) take ``(x, T)`` and are found by name; ``level_crossing`` turns signals that
already have a time axis into ON and OFF events.
Only ``constant``, ``intensity`` and ``recorded`` pass a gradient to their input.
"""

from typing import Literal

import torch
from torch import Generator, Tensor

from spikeloom.functional.sequence import check_sequence
from spikeloom.registry import register


@register("encoder", "constant")
def constant(x: Tensor, T: int) -> Tensor:
    """The same input at every step, without a copy: also called direct encoding.

    x_seq[t] = x. The time axis has stride 0, by which stateless layers can tell that they need
    to compute only one step.

    Args:
        x: any values; they become the input current.
        T: number of steps, >= 1.
    Shape:
        x [N, *] -> x_seq [T, N, *], a read-only view of x
    Raises:
        ValueError: T < 1.

    Example:
        >>> x_seq = constant(torch.rand(2, 3), 4)
        >>> x_seq.shape, x_seq.stride(0)
        (torch.Size([4, 2, 3]), 0)
    """
    _check_steps(T)
    return x.expand(T, *x.shape)


@register("encoder", "intensity")
def intensity(x: Tensor, T: int) -> Tensor:
    """:func:`constant` for intensities: in a run the pixels stay in [0, 1] and are not normalised.

    Where a current below 0 has no sense, or black is to be silent.

    Shape:
        x [N, *] -> x_seq [T, N, *], a read-only view of x
    """
    return constant(x, T)


@register("encoder", "recorded")
def recorded(x: Tensor, T: int) -> Tensor:
    """Sequences as they were recorded, in as many steps: nothing is encoded.

    x_seq[t] = x[:, t]

    Args:
        x: sequences; in a run what they hold is normalised.
        T: number of steps that they have, >= 1.
    Shape:
        x [N, T, *] -> x_seq [T, N, *], a view of x
    Raises:
        ValueError: T < 1, or x has other than T steps.

    Example:
        >>> recorded(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), 2).tolist()
        [[1.0, 3.0], [2.0, 4.0]]
    """
    _check_steps(T)
    if x.dim() < 2 or x.shape[1] != T:
        raise ValueError(
            f"expected sequences [N, T = {T}, *], got {tuple(x.shape)}; what has no steps of its "
            "own needs another encoder, as constant"
        )
    return x.transpose(0, 1)


@register("encoder", "poisson")
def poisson(x: Tensor, T: int, generator: Generator | None = None) -> Tensor:
    """Independent spikes with probability x at every step: rate encoding.

    P(spike[t] = 1) = x. The count over T steps is binomial; it tends to a Poisson count for
    small x, hence the name.

    Args:
        x: firing probability per step, in [0, 1].
        T: number of steps, >= 1.
        generator: source of the random numbers, on the device of x; the global one if None.
    Shape:
        x [N, *] -> spike_seq [T, N, *]

    Returns:
        Spikes in {0, 1} with the dtype of x.

    Raises:
        ValueError: T < 1; x is not floating point, or not in [0, 1].

    Example:
        >>> poisson(torch.tensor([[0.0, 1.0]]), 2).tolist()
        [[[0.0, 1.0]], [[0.0, 1.0]]]
    """
    _check_steps(T)
    _check_intensity(x)
    return torch.bernoulli(x.detach().expand(T, *x.shape), generator=generator)


@register("encoder", "latency")
def latency(
    x: Tensor,
    T: int,
    law: Literal["linear", "logarithmic"] = "linear",
    *,
    tau: float | None = None,
    v_threshold: float = 0.2,
) -> Tensor:
    """At most one spike, the earlier the larger the value: time-to-first-spike encoding.

    linear:       step = round((1 - x) (T - 1)), for x > 0
    logarithmic:  step = ceil(t) - 1,  t = tau ln(x / (x - v_threshold)), for x > v_threshold

    The logarithmic law is the charging of an RC circuit: t is when x (1 - exp(-t / tau)) reaches
    the threshold, and step k covers the time from k (excluded) to k + 1. A LIF neuron with
    ``exponential(tau, decay_input=True)`` and constant input x first fires at that step.

    Args:
        x: values in [0, 1]; 0 never spikes.
        T: number of steps, >= 1.
        law: how values map to times.
        tau: logarithmic law only: time constant [steps], > 0; T / 2 if None.
        v_threshold: logarithmic law only, in (0, 1): values up to it never spike, and neither do
            those that would reach it only after T.
    Shape:
        x [N, *] -> spike_seq [T, N, *]

    Returns:
        Spikes in {0, 1} with the dtype of x.

    Raises:
        ValueError: T < 1; x is not floating point, or not in [0, 1]; unknown law; tau or
            v_threshold out of range.

    Example:
        >>> latency(torch.tensor([[0.0, 0.5, 1.0]]), 3)[:, 0].tolist()
        [[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
    """
    _check_steps(T)
    _check_intensity(x)
    # Half precision cannot tell late steps apart.
    values = x.detach().to(torch.promote_types(x.dtype, torch.float32))
    if law == "linear":
        fired_at = ((1 - values) * (T - 1)).round().where(values > 0, torch.inf)
    elif law == "logarithmic":
        fired_at = _charging_time(values, T / 2 if tau is None else tau, v_threshold).ceil() - 1
    else:
        raise ValueError(f"law must be 'linear' or 'logarithmic', got {law!r}")
    clock = torch.arange(T, device=x.device).view(T, *[1] * x.dim())
    return (clock == fired_at).to(x.dtype)


def level_crossing(x_seq: Tensor, delta: float) -> Tensor:
    """ON and OFF events where a signal has moved by delta since its last event: send-on-delta.

    d[t] = x[t] - (x[0] + delta level[t-1]);  n[t] = trunc(d[t] / delta);  level[t] = level[t-1] +
    n[t];  ON = max(n, 0), OFF = max(-n, 0).

    A signal that crosses several levels in one step gives all those events in that step: the
    values are counts, not {0, 1}. So x[0] + delta (ON - OFF) summed up to t is within delta of
    x[t]. Where binary input is needed, ``clamp(max=1)`` drops the surplus; a smaller step in time
    avoids it. The first step only sets the reference and has no events.

    Args:
        x_seq: the signal.
        delta: distance between levels, in the unit of the signal, > 0.
    Shape:
        x_seq [T, N, *] -> event_seq [T, N, 2, *], index 0 for ON and 1 for OFF
    Returns:
        Event counts >= 0 with the dtype of x_seq.

    Raises:
        ValueError: no time axis; delta is not > 0.
    Source:
        Miskowicz, Send-on-delta concept, Sensors 6(1), 2006.

    Example:
        >>> level_crossing(torch.tensor([0.0, 0.5, 1.0, 3.0, 2.0])[:, None], 1.0)[:, 0].tolist()
        [[0.0, 0.0], [0.0, 0.0], [1.0, 0.0], [2.0, 0.0], [0.0, 1.0]]
    """
    check_sequence(x_seq)
    if not delta > 0:
        raise ValueError(f"delta must be > 0, got {delta}")
    x_seq = x_seq.detach()
    level = torch.zeros_like(x_seq[0])
    moves = []
    for x in x_seq:
        # Levels are counted, not added up, so that rounding does not drift over a long signal.
        n = ((x - (x_seq[0] + delta * level)) / delta).trunc()
        level = level + n
        moves.append(n)
    n_seq = torch.stack(moves)
    on_seq = n_seq.clamp(min=0)
    return torch.stack((on_seq, on_seq - n_seq), dim=2)


def _charging_time(x: Tensor, tau: float, v_threshold: float) -> Tensor:
    if not (tau > 0 and 0 < v_threshold < 1):
        raise ValueError(
            f"latency needs tau > 0 and v_threshold in (0, 1), got {tau} and {v_threshold}"
        )
    share = v_threshold / x  # of the final potential; above 1 it is never reached
    return (-tau * torch.log1p(-share)).where(share < 1, torch.inf)


def _check_steps(T: int) -> None:
    if T < 1:
        raise ValueError(f"an encoder needs T >= 1 steps, got {T}")


def _check_intensity(x: Tensor) -> None:
    if not x.is_floating_point():
        raise ValueError(f"expected floating point values in [0, 1], got {x.dtype}; use x / 255")
    if x.numel() and not (x.min() >= 0 and x.max() <= 1):
        raise ValueError(
            f"expected values in [0, 1], got {x.min():g} to {x.max():g}; rescale them, "
            f"for instance with (x - x.min()) / (x.max() - x.min())"
        )
