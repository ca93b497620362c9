"""Presentations to the network of Diehl and Cook: neurons that compete for intensities they see.

One sample after the other: its intensities become spikes, these drive neurons which keep each other
quiet, and weights follow the spikes at every step. Learning is online: a sample meets the weights
and thresholds that the one before left.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from spikeloom.functional.decay import exponential
from spikeloom.functional.hashed import drawn, uniform
from spikeloom.functional.plasticity import Bounds, Pairs, PairSTDP, pair_step
from spikeloom.functional.plasticity.competition import adapted, inhibited, one_spike


@dataclass(frozen=True)
class Competing:
    """Leaky neurons with a refractory time, a threshold that rises with firing, and rivals.

    v <- v_rest + exp(-dt/τ) (v - v_rest);  v_j += sum_i w_ji s_i - inhibition (spikes of the others
    in the step before), unless refractory;  fires at v >= v_threshold + θ, then v = v_reset.

    Args:
        tau: of the membrane, ms.
        v_rest, v_reset, v_threshold: mV.
        refractory: steps in which a neuron that fired takes no input.
        inhibition: what a spike takes off all other potentials, mV.
        one_spike: of the neurons above threshold only the highest fires.
        theta_step, tau_theta: rise of θ by a spike, mV, and its decay, ms; in training only.
        dt: length of a step, ms.
        rate: firing rate of an input of intensity 1, Hz.
        least: a sample that makes fewer spikes is shown again, brighter.
        brighter: share of ``rate`` that every further showing adds.
        most: showings of a sample at most.
    Raises:
        ValueError: a number out of range.
    Source:
        Diehl and Cook, Front. Comput. Neurosci. 9:99, 2015, as simplified to currents in common
        implementations: the inhibitory neurons are left out, what they do is ``inhibition``.
    """

    tau: float = 100.0
    v_rest: float = -65.0
    v_reset: float = -60.0
    v_threshold: float = -52.0
    refractory: int = 5
    inhibition: float = 120.0
    one_spike: bool = True
    theta_step: float = 0.05
    tau_theta: float = 1e7
    dt: float = 1.0
    rate: float = 128.0
    least: int = 0
    brighter: float = 0.5
    most: int = 8

    def __post_init__(self) -> None:
        positive = {name: getattr(self, name) for name in ("tau", "tau_theta", "dt", "rate")}
        for name, value in positive.items():
            if not value > 0:
                raise ValueError(f"{name} must be > 0, got {value}")
        if self.refractory < 0 or self.least < 0 or self.most < 1 or self.brighter < 0:
            raise ValueError(
                "refractory, least and brighter must be >= 0 and most >= 1, got "
                f"{self.refractory}, {self.least}, {self.brighter} and {self.most}"
            )
        if not self.v_threshold > max(self.v_rest, self.v_reset):
            raise ValueError(
                f"neurons would fire at rest: v_threshold = {self.v_threshold} must be above "
                f"v_rest = {self.v_rest} and v_reset = {self.v_reset}"
            )


@dataclass(frozen=True)
class Learning:
    """What changes while samples are shown.

    Args:
        rule: of the weights; the sizes of Diehl and Cook's code.
        total: what the weights into a neuron are scaled to before every sample, and then clipped
            to their range; 0 for never. The default is a tenth of 784.
    """

    rule: PairSTDP = field(
        default_factory=lambda: PairSTDP(
            a_plus=1e-2, a_minus=1e-4, pairing="nearest", bounds=Bounds(0.0, 1.0)
        )
    )
    total: float = 78.4


class Shown(NamedTuple):
    """After samples were shown: weights [O, I], θ [O], and spikes of each neuron [N, O]."""

    w: Tensor
    theta: Tensor
    counts: Tensor


@torch.no_grad()
def shown(
    x: Tensor,
    w: Tensor,
    theta: Tensor,
    T: int,
    seed: int,
    cells: Competing,
    learning: Learning | None = None,
) -> Shown:
    """Show samples one after the other.

    Args:
        x: intensities, in 0..1: an input fires in a step with probability x rate dt / 1000.
        w: weights at the beginning; they stay as they are.
        theta: of each neuron, likewise.
        T: steps that a sample is shown for.
        seed: of the input spikes, which depend on it, sample, step and place alone.
        cells: the neurons.
        learning: what changes; nothing if None.
    Shape:
        x float32 [N, I], w [O, I], theta [O] -> w [O, I], theta [O], counts [N, O]
    Raises:
        ValueError: shapes that do not fit, intensities outside [0, 1], or T < 1.
    """
    check_shown(x, w, theta, T)
    counts = []
    for number, sample in enumerate(x):
        if learning:
            w = normalised_in_order(w, learning.total) if learning.total else w
            w = learning.rule.bounds.clip(w)
        for showing in range(cells.most):
            p = (sample * probability(cells, showing)).clamp(max=1.0)
            bits = (seed, number, showing)
            w, theta, count = _presentation(p, w, theta, T, bits, cells, learning)
            if count.sum() >= cells.least:
                break
        counts.append(count)
    return Shown(w, theta, torch.stack(counts) if counts else x.new_zeros(0, len(w)))


def probability(cells: Competing, showing: int) -> float:
    """That an input of intensity 1 fires in a step."""
    return cells.rate * (1 + cells.brighter * showing) * cells.dt / 1000


def normalised_in_order(w: Tensor, total: float) -> Tensor:
    """:func:`normalised`, with sums taken in the order of the inputs and in double precision.

    Shape:
        w [O, I] -> [O, I]
    """
    sums = torch.cumsum(w.double(), 1)[:, -1:]
    scale = torch.where(sums == 0, 1.0, total / torch.where(sums == 0, 1.0, sums))
    return w * scale.to(w.dtype)


def _presentation(
    p: Tensor,
    w: Tensor,
    theta: Tensor,
    T: int,
    bits: tuple[int, int, int],
    cells: Competing,
    learning: Learning | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """One sample from rest, for T steps."""
    v = torch.full_like(theta, cells.v_rest)[None]
    spike, count = torch.zeros_like(v), torch.zeros_like(theta)
    waiting = torch.zeros_like(v, dtype=torch.int64)
    keep = exponential(cells.tau, dt=cells.dt).keep
    fading = exponential(cells.tau_theta, dt=cells.dt)
    traces = Pairs(torch.zeros_like(p)[None], torch.zeros_like(v))
    place = torch.arange(len(p))
    for t in range(T):
        pre = (uniform(drawn(*bits, t, place)) < p).to(p.dtype)[None]
        drive = torch.zeros_like(v)
        for at in pre[0].nonzero()[:, 0].tolist():  # in order, as floats do not add up in any
            drive = drive + w[:, at]
        v = cells.v_rest + keep * (v - cells.v_rest)
        v = torch.where(waiting > 0, v, v + inhibited(drive, spike, cells.inhibition))
        waiting = (waiting - 1).clamp(min=0)
        ready = v >= cells.v_threshold + theta
        spike = one_spike(v, ready) if cells.one_spike else ready.to(v.dtype)
        v = torch.where(spike > 0, cells.v_reset, v)
        waiting = torch.where(spike > 0, cells.refractory, waiting)
        count = count + spike[0]
        if learning:
            theta = adapted(theta, spike[0], cells.theta_step, fading)
            w, traces = pair_step(pre, spike, w, learning.rule, traces)
    return w, theta, count


def check_shown(x: Tensor, w: Tensor, theta: Tensor, T: int) -> None:
    """Raise ValueError unless samples can be shown to a network of those weights."""
    if x.dim() != 2 or w.dim() != 2 or x.shape[1] != w.shape[1] or theta.shape != w.shape[:1]:
        raise ValueError(
            f"samples [N, I] = {tuple(x.shape)}, weights [O, I] = {tuple(w.shape)} and thresholds "
            f"[O] = {tuple(theta.shape)} do not fit"
        )
    if T < 1:
        raise ValueError(f"a sample is shown for T >= 1 steps, got {T}")
    if x.numel() and not (float(x.min()) >= 0 and float(x.max()) <= 1):
        raise ValueError(
            f"intensities must be in 0..1, got {float(x.min()):.3g} to {float(x.max()):.3g}; "
            'in a recipe say encoder = "intensity"'
        )
