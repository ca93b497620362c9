"""Thresholds of event-driven learning: where they start, and how they take up a learnt scale."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn

from spikeloom.functional import double_exponential
from spikeloom.layers import DoubleExponential, Standardised, ruled, transform_of
from spikeloom.layers.base import State, Temporal
from spikeloom.learning.plastic import Map

SCALES, RATIO = (0.01, 100.0), 1.01  # where the bisection looks, and when it stops
RAW = 4.0  # largest raw weight under a transform
LEAST = 0.01  # of gamma, which must stay positive


class Driven(NamedTuple):
    """Neurons and the maps that drive them."""

    neuron: DoubleExponential
    maps: tuple[Map, ...]


def threshold_of(neuron: DoubleExponential) -> Tensor:
    """The threshold of a neuron as the buffer it is; one value per channel comes first."""
    return neuron.v_threshold.start


@torch.no_grad()
def transfer(layers: Sequence[Driven], *, fold: bool) -> None:
    """Keep raw weights within bounds and, with ``fold``, move gamma into the thresholds.

    theta <- theta / gamma;  beta <- beta / gamma;  gamma <- 1. All currents of a neuron and its
    threshold are divided by the same number, so spikes stay what they are. A bias is divided too.
    Only where one map alone drives the neurons: the sum of several has no common scale.
    """
    for neuron, maps in layers:
        for layer in maps:
            transform = transform_of(layer)
            if not isinstance(transform, Standardised):
                continue
            layer.parametrizations.weight.original.clamp_(-RAW, RAW)  # type: ignore[union-attr, operator]
            transform.gamma.clamp_(min=LEAST)
            if fold and len(maps) == 1:
                gamma, theta = transform.gamma, threshold_of(neuron)
                theta.div_(gamma.view(-1, *[1] * (theta.dim() - 1)))
                transform.beta.div_(gamma)
                if layer.bias is not None:
                    layer.bias.div_(gamma)
                gamma.fill_(1.0)


@torch.no_grad()
def calibrate(model: nn.Module, x_seq: Tensor, spikes: float) -> None:
    """Divide the thresholds of each layer by one number, so that its neurons fire that often.

    Layer by layer, from the input on: the mean number of spikes per neuron in the last third of
    the T steps becomes ``spikes / T`` times the number of these steps. The number is found by
    bisection between 0.01 and 100, to 1 %; over several processes for all their samples.

    Shape:
        x_seq [T, N, *]
    """

    def rule(neuron: Temporal, current_seq: Tensor, _: State) -> tuple[Tensor, State]:
        assert isinstance(neuron, DoubleExponential)
        threshold_of(neuron).div_(fitting_scale(neuron, current_seq, spikes))
        return neuron.function(current_seq, None, **neuron.arguments())[0], None

    with torch.random.fork_rng(), ruled(model, rule, DoubleExponential):
        model(x_seq)


def fitting_scale(neuron: DoubleExponential, x_seq: Tensor, spikes: float) -> float:
    """What to divide the threshold by; the geometric middle of the last interval.

    Shape:
        x_seq [T, N, *]
    """
    T, arguments = len(x_seq), neuron.arguments()
    first = 2 * T // 3
    wanted = spikes / T * (T - first)
    theta = arguments.pop("v_threshold")
    low, high = SCALES
    while high / low > RATIO:
        middle = math.sqrt(low * high)
        spike_seq, _ = double_exponential(x_seq, v_threshold=theta / middle, **arguments)
        if _mean(spike_seq[first:].sum(0)) < wanted:
            low = middle
        else:
            high = middle
    return math.sqrt(low * high)


def _mean(count: Tensor) -> float:
    """The mean over neurons and samples, those of all processes."""
    pair = torch.stack([count.double().sum(), count.new_tensor(count.numel()).double()])
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(pair)
    return float(pair[0] / pair[1].clamp(min=1))
