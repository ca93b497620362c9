"""Neurons that keep one another quiet: inhibition, winners, thresholds that rise with firing."""

import torch
from torch import Tensor

from spikeloom.functional.decay import Decay


def inhibited(v: Tensor, spike: Tensor, strength: float) -> Tensor:
    """Potentials after every spike has pushed all other neurons of its sample down.

    v_j <- v_j - strength sum_{k != j} s_k

    Shape:
        v, spike [N, O] -> [N, O]
    """
    return v - strength * (spike.sum(1, keepdim=True) - spike)


def one_spike(v: Tensor, ready: Tensor) -> Tensor:
    """Of the neurons that are ready, the one with the highest potential in each sample.

    Ties go to the first; none where none is ready.

    Shape:
        v [N, O], ready bool [N, O] -> spike [N, O] with the dtype of v
    """
    highest = v.masked_fill(~ready, -torch.inf).argmax(1, keepdim=True)
    spike = torch.zeros_like(v).scatter_(1, highest, 1)
    return spike * ready.any(1, keepdim=True)


def first_winners(times: Tensor, v: Tensor, k: int, silent: float) -> Tensor:
    """The k neurons of each sample that fire first; ties go to the higher potential.

    Args:
        times: of the first spikes.
        v: potentials when they came.
        k: winners at most.
        silent: the time that stands for no spike.
    Shape:
        times, v [N, O] -> bool [N, O]
    """
    by_v = torch.argsort(v, dim=1, descending=True, stable=True)
    by_time = torch.argsort(times.gather(1, by_v), dim=1, stable=True)
    order = by_v.gather(1, by_time)[:, :k]
    won = torch.zeros_like(times, dtype=torch.bool).scatter_(1, order, True)
    return won & (times < silent)


def adapted(theta: Tensor, spike: Tensor, step: float, decay: Decay) -> Tensor:
    """Thresholds' shares above rest after a step: they fade, and rise where a neuron fired.

    θ <- keep θ + step s; at test they stay as they are.

    Shape:
        theta, spike [*] -> [*]
    """
    return decay.keep * theta + step * spike
