"""LIF neurons that note their firing rate and what the rate gains from the input current.

While :func:`~spikeloom.functional.lif` runs, forward-mode differentiation goes along for an input
that is moved by the same amount at all steps (dx[t]/dc = 1):

    rho[t] = gain + keep p[t-1]                           dh[t]/dc, before the reset
    p[t]   = rho[t] dv[t]/dh[t]                           dv[t]/dc, after it; p[0] = 0
    rate   = mean_t s[t]                                  e_T
    gain_T = mean_t surrogate.grad(h[t] - v_threshold) rho[t]    g_T = d rate / dc

    dv/dh = 1                                             soft, reset detached
            1 - v_threshold grad                          soft
            1 - s                                         hard, reset detached
            1 - s - (h - v_reset) grad                    hard
            1                                             none

``keep`` and ``gain`` are those of the decay, so a decayed input counts by its gain. Published is
``rho[t+1] = 1 + rho[t] k[t]`` with ``k = keep dv/dh``: the same for a gain of 1. The detached hard
reset is inferred there; it follows from the same rule.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from spikeloom.functional.decay import Decay, Value
from spikeloom.functional.neurons.inputs import check_inputs, check_state, wide
from spikeloom.functional.neurons.lif import (
    DEFAULT_DECAY,
    DEFAULT_SURROGATE,
    Reset,
    lif_step,
    rest_potential,
)
from spikeloom.functional.sequence import sequence, steps
from spikeloom.functional.surrogate import Smooth, Surrogate


class RateState(NamedTuple):
    """What T steps leave, in float32 at least: sums, so that a sequence may come in pieces.

    ``p`` is dv/dc; ``rate`` and ``gain`` are the sums over the ``steps`` so far, divided by them.
    """

    v: Tensor
    p: Tensor
    spike_sum: Tensor
    gain_sum: Tensor
    steps: int

    @property
    def rate(self) -> Tensor:
        """Firing rate [spikes per step], e_T."""
        return self.spike_sum / self.steps

    @property
    def gain(self) -> Tensor:
        """Change of the rate with a constant change of the input current, g_T."""
        return self.gain_sum / self.steps


@torch.no_grad()
def lif_rate(
    x_seq: Tensor,
    state: RateState | None = None,
    *,
    decay: Decay = DEFAULT_DECAY,
    v_threshold: Value = 1.0,
    reset: Reset = "hard",
    v_reset: float = 0.0,
    detach_reset: bool = False,
    surrogate: Surrogate | Smooth = DEFAULT_SURROGATE,
    strict: bool = False,
) -> tuple[Tensor, RateState]:
    """:func:`~spikeloom.functional.lif` that also returns firing rate and gain; has no gradient.

    rate = mean_t s[t];  gain = mean_t sum_{τ <= t} ds[t]/dx[τ], the surrogate in place of ds/dh.

    Args:
        x_seq: input current [v_threshold].
        state: what an earlier piece of the sequence left; at rest if None.
        decay, v_threshold, reset, v_reset, detach_reset, surrogate, strict: as for ``lif``;
            ``detach_reset`` leaves the reset out of the gain.
    Shape:
        x_seq [T, N, *] -> spike_seq [T, N, *], state of four tensors [N, *]

    Returns:
        Spikes with the dtype of x_seq, and a state with ``rate`` and ``gain``, in float32 at least.

    Raises:
        ValueError: as for ``lif``; the state is of another shape.
    Source:
        Yu et al., NeurIPS 2024 (arXiv 2410.11488); see the head of this file.

    Example:
        >>> spikes, state = lif_rate(torch.full((4, 1, 1), 1.5))
        >>> spikes.flatten().tolist(), state.rate.item()
        ([0.0, 1.0, 0.0, 1.0], 0.5)
    """
    check_inputs(x_seq, decay=decay, v_threshold=v_threshold)
    state = _start(x_seq, state, rest_potential(reset, v_reset))
    spikes = []
    for x in steps(wide(x_seq)):
        s, state = lif_rate_step(
            x, state, decay=decay, v_threshold=v_threshold, reset=reset, v_reset=v_reset,
            detach_reset=detach_reset, surrogate=surrogate, strict=strict,
        )  # fmt: skip
        spikes.append(s.to(x_seq.dtype))
    return sequence(spikes), state


@torch.no_grad()
def lif_rate_step(
    x: Tensor,
    state: RateState,
    *,
    decay: Decay = DEFAULT_DECAY,
    v_threshold: Value = 1.0,
    reset: Reset = "hard",
    v_reset: float = 0.0,
    detach_reset: bool = False,
    surrogate: Surrogate | Smooth = DEFAULT_SURROGATE,
    strict: bool = False,
) -> tuple[Tensor, RateState]:
    """One step of :func:`lif_rate`.

    Shape:
        x [N, *], state of four tensors [N, *] -> spike [N, *], state
    """
    s, h, v = lif_step(
        x, state.v, decay=decay, v_threshold=v_threshold, reset=reset, v_reset=v_reset,
        detach_reset=detach_reset, surrogate=surrogate, strict=strict,
    )  # fmt: skip
    curve = surrogate.of if isinstance(surrogate, Smooth) else surrogate
    grad = curve.grad(h - v_threshold)
    rho = decay.gain + decay.keep * state.p
    p = rho * _through_reset(h, s, grad, v_threshold, reset, v_reset, detach_reset)
    gain_sum = state.gain_sum + grad * rho
    return s, RateState(v, p, state.spike_sum + s, gain_sum, state.steps + 1)


def _through_reset(
    h: Tensor,
    s: Tensor,
    grad: Tensor,
    v_threshold: Value,
    reset: Reset,
    v_reset: float,
    detach_reset: bool,
) -> Tensor:
    """dv/dh, the spike's slope being ``grad``."""
    if reset == "hard":
        return 1 - s if detach_reset else (1 - s) - (h - v_reset) * grad
    if reset == "soft" and not detach_reset:
        return 1 - v_threshold * grad
    return torch.ones_like(h)


def _start(x_seq: Tensor, state: RateState | None, rest: float) -> RateState:
    if state is None:
        at_rest = torch.full_like(wide(x_seq[0]), rest)
        zeros = torch.zeros_like(at_rest)
        return RateState(at_rest, zeros, zeros, zeros, 0)
    for part in state[:4]:
        check_state(x_seq, part)
    return state
