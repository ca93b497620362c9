"""Plasticity without an error signal: traces of spikes, and what their timing does to weights.

A trace remembers recent spikes; a synapse grows when its target fires on the trace of its source,
and shrinks when its source fires on the trace of its target. Nothing here builds a graph.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.grad import conv2d_weight

from spikeloom.functional.sequence import check_sequence, sequence, steps

Factor = Literal["clamp", "magnitude"]
Reduction = Literal["mean", "sum"]
Pair = int | tuple[int, int]


@torch.no_grad()
def spike_trace(spike_seq: Tensor, *, tau: float) -> Tensor:
    """Exponential traces of spikes, the present one included.

    r[t] = (1 - 1/tau) r[t-1] + spike[t], r[-1] = 0

    Args:
        spike_seq: spikes, or other values >= 0.
        tau: time constant [steps], >= 1; 1 forgets at once.
    Shape:
        spike_seq [T, N, *] -> trace_seq [T, N, *]
    Returns:
        Traces in float32 at least, whatever the precision of the spikes.
    Raises:
        ValueError: no time axis; tau < 1.
    Source:
        Morrison, Diesmann and Gerstner, Biological Cybernetics 98, 2008: traces for
        all-to-all pairs, here with forward Euler of step 1 for the decay.
    Example:
        >>> spike_trace(torch.tensor([1.0, 0, 1, 0]).view(4, 1), tau=2.0).flatten().tolist()
        [1.0, 0.5, 1.25, 0.625]
    """
    check_sequence(spike_seq)
    if not tau >= 1:
        raise ValueError(f"tau is a time constant in steps and must be >= 1, got {tau}")
    wide = torch.promote_types(spike_seq.dtype, torch.float32)
    r = torch.zeros_like(spike_seq[0], dtype=wide)
    out = []
    for spike in steps(spike_seq.to(wide)):
        r = (1 - 1 / tau) * r + spike
        out.append(r)
    return sequence(out)


@torch.no_grad()
def stdp_linear(
    pre_seq: Tensor,
    post_seq: Tensor,
    weight: Tensor,
    *,
    tau_pre: float = 2.0,
    tau_post: float = 100.0,
    factor: Factor = "clamp",
    reduction: Reduction = "mean",
) -> Tensor:
    """Change of a linear map's weights by the timing of the spikes before and behind it.

    ΔW[j, i] = f(w[j, i]) sum_t,n (r_pre[t, i] post[t, j] - r_post[t, j] pre[t, i])

    Traces r hold the present spike already; w is the value at the start of the sequence.

    With the default constants the second term outweighs the first, so that weights shrink towards
    0 where both sides fire: independent spikes at rates ρ over 4 steps give ΔW = -3.7755 ρ_pre
    ρ_post f(w) a sample. With ``clamp``, f has the sign of w, and what is called growth makes a
    negative weight more negative.

    Args:
        pre_seq: what enters the map.
        post_seq: spikes of the neurons behind it.
        weight: of the map.
        tau_pre, tau_post: time constants of the traces [steps], >= 1.
        factor: f(w): ``clamp`` to [-1, 1], or the ``magnitude`` of that.
        reduction: ``mean`` divides by T, by N and by any axes between batch and features; ``sum``
            does not, and grows with all of them.
    Shape:
        pre_seq [T, N, *, I], post_seq [T, N, *, O], weight [O, I] -> [O, I]
    Returns:
        ΔW with the dtype of the weight, to be multiplied by a rate and added. No graph.
    Raises:
        ValueError: shapes that do not fit, tau < 1, unknown factor or reduction.
    Source:
        Morrison, Diesmann and Gerstner, Biological Cybernetics 98, 2008, for the pairs of traces;
        the factor f is one of several dependences on the weight in use.
    """
    _check(pre_seq, post_seq, weight, 2)
    if pre_seq.shape[-1] != weight.shape[1] or post_seq.shape[2:-1] != pre_seq.shape[2:-1]:
        raise _misfit(pre_seq, post_seq, weight)

    def pairs(before: Tensor, after: Tensor) -> Tensor:
        return after.flatten(0, -2).mT.matmul(before.flatten(0, -2))

    places = pre_seq[..., 0].numel()
    with torch.autocast(weight.device.type, enabled=False):
        grown = pairs(spike_trace(pre_seq, tau=tau_pre), _wide(post_seq))
        shrunk = pairs(_wide(pre_seq), spike_trace(post_seq, tau=tau_post))
    return _change(grown - shrunk, weight, factor, reduction, places)


@torch.no_grad()
def stdp_conv2d(
    pre_seq: Tensor,
    post_seq: Tensor,
    weight: Tensor,
    *,
    stride: Pair = 1,
    padding: Pair | str = 0,
    dilation: Pair = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
    tau_pre: float = 2.0,
    tau_post: float = 100.0,
    factor: Factor = "clamp",
    reduction: Reduction = "mean",
) -> Tensor:
    """:func:`stdp_linear` for a convolution: each kernel offset sees its patch of the input.

    ΔW[j, i, a] = f(w[j, i, a]) sum_t,n,p (r_pre[t, i, p + a] post[t, j, p]
    - r_post[t, j, p] pre[t, i, p + a]) over the output's positions p.

    A sum over t of outer products is what the weight gradient of the convolution computes.

    Args:
        pre_seq: what enters the convolution, before its padding.
        post_seq: spikes of the neurons behind it, one for each of its outputs.
        weight: its kernels.
        stride, padding, dilation, groups, padding_mode: as of :class:`torch.nn.Conv2d`.
        tau_pre, tau_post, factor: as for :func:`stdp_linear`.
        reduction: ``mean`` divides by T, N and the number of output positions.
    Shape:
        pre_seq [T, N, C, H, W], post_seq [T, N, C', H', W'], weight [C', C / groups, k, k]
        -> [C', C / groups, k, k]
    Returns:
        ΔW with the dtype of the weight. No graph.
    Raises:
        ValueError: shapes that do not fit, tau < 1, unknown factor or reduction.
    Source:
        As :func:`stdp_linear`.
    """
    _check(pre_seq, post_seq, weight, 4)
    if pre_seq.dim() != 5 or pre_seq.shape[2] != weight.shape[1] * groups:
        raise _misfit(pre_seq, post_seq, weight)
    T, N = pre_seq.shape[:2]
    x_seq, rest = _padded(pre_seq.flatten(0, 1), weight, padding, dilation, padding_mode)
    x_seq = x_seq.unflatten(0, (T, N))

    def pairs(before: Tensor, after: Tensor) -> Tensor:
        before, after = before.flatten(0, 1), after.flatten(0, 1)
        total: Tensor = conv2d_weight(before, weight.shape, after, stride, rest, dilation, groups)
        return total

    places = post_seq[:, :, 0].numel()
    with torch.autocast(weight.device.type, enabled=False):
        _check_positions(x_seq, post_seq, weight, stride, rest, dilation)
        grown = pairs(spike_trace(x_seq, tau=tau_pre), _wide(post_seq))
        shrunk = pairs(_wide(x_seq), spike_trace(post_seq, tau=tau_post))
    return _change(grown - shrunk, weight, factor, reduction, places)


def _change(
    pairs: Tensor, weight: Tensor, factor: Factor, reduction: Reduction, places: int
) -> Tensor:
    if factor not in ("clamp", "magnitude") or reduction not in ("mean", "sum"):
        raise ValueError(
            "factor must be 'clamp' or 'magnitude' and reduction 'mean' or 'sum', got "
            f"{factor!r} and {reduction!r}"
        )
    f = weight.to(pairs.dtype).clamp(-1, 1)
    f = f.abs() if factor == "magnitude" else f
    return (f * pairs / (places if reduction == "mean" else 1)).to(weight.dtype)


def _padded(
    x: Tensor, weight: Tensor, padding: Pair | str, dilation: Pair, mode: str
) -> tuple[Tensor, tuple[int, int]]:
    """The input with whatever padding a plain convolution cannot do itself, and what is left."""
    across = _pair(dilation)
    if padding == "valid":
        return x, (0, 0)
    if padding == "same":
        whole = [d * (k - 1) for d, k in zip(across, weight.shape[2:], strict=True)]
        sides = [(n // 2, n - n // 2) for n in whole]
    else:
        sides = [(n, n) for n in _pair(padding)]  # type: ignore[arg-type]
    if mode == "zeros" and all(a == b for a, b in sides):
        return x, (sides[0][0], sides[1][0])
    how = "constant" if mode == "zeros" else mode
    return F.pad(x, [*sides[1], *sides[0]], mode=how), (0, 0)


def _check(pre_seq: Tensor, post_seq: Tensor, weight: Tensor, dims: int) -> None:
    for seq in (pre_seq, post_seq):
        check_sequence(seq, least=3)
    features = 2 if dims == 4 else -1
    same = pre_seq.shape[:2] == post_seq.shape[:2] and pre_seq.dim() == post_seq.dim()
    if weight.dim() != dims or not same or post_seq.shape[features] != weight.shape[0]:
        raise _misfit(pre_seq, post_seq, weight)


def _check_positions(
    x_seq: Tensor, post_seq: Tensor, weight: Tensor, stride: Pair, padding: Pair, dilation: Pair
) -> None:
    terms = zip(
        x_seq.shape[3:], weight.shape[2:], *map(_pair, (stride, padding, dilation)), strict=True
    )
    want = tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in terms)
    if want != tuple(post_seq.shape[3:]):
        raise ValueError(
            f"the convolution has outputs at {want} positions, but post_seq is "
            f"{tuple(post_seq.shape)}; give the spikes of the neurons right behind it"
        )


def _misfit(pre_seq: Tensor, post_seq: Tensor, weight: Tensor) -> ValueError:
    return ValueError(
        f"a weight {tuple(weight.shape)} does not lead from {tuple(pre_seq.shape)} to "
        f"{tuple(post_seq.shape)}; both are sequences [T, N, *] of the same T and N"
    )


def _wide(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _pair(value: Pair | Sequence[int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])
