"""Thresholds of event-driven learning: where they start, and how they take up a learnt scale."""

import math
import warnings
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn

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
    bisection between 0.01 and 100, to 1 %; over several processes for all their samples. A layer
    that cannot fire that often keeps its thresholds, with a warning; layers that have been here
    before are left alone.

    Args:
        model: whose :class:`DoubleExponential` neurons are calibrated.
        x_seq: a batch.
        spikes: wanted of a neuron in T steps.
    Shape:
        x_seq [T, N, *]
    Raises:
        ValueError: spikes > T.
    """
    if spikes > len(x_seq):
        raise ValueError(
            f"spikes_at_start = {spikes:g}, but in T = {len(x_seq)} steps a neuron fires "
            f"{len(x_seq)} times at most"
        )
    neurons = [module for module in model.modules() if isinstance(module, DoubleExponential)]
    if all(neuron.calibrated for neuron in neurons):
        return
    places = {module: name for name, module in model.named_modules()}

    def rule(neuron: Temporal, current_seq: Tensor, _: State) -> tuple[Tensor, State]:
        assert isinstance(neuron, DoubleExponential)
        assert neuron.calibrated is not None  # event_bp refuses one number for a layer
        if not neuron.calibrated:
            _to_rate(places[neuron], neuron, current_seq, spikes)
            neuron.calibrated.fill_(1)
        return neuron.function(current_seq, None, **neuron.arguments())[0], None

    with torch.random.fork_rng(), ruled(model, rule, DoubleExponential):
        model(x_seq)


def _to_rate(place: str, neuron: DoubleExponential, x_seq: Tensor, spikes: float) -> None:
    scale = fitting_scale(neuron, x_seq, spikes)
    if scale is not None:
        threshold_of(neuron).div_(scale)
        return
    warnings.warn(
        f"event_bp: no threshold between 1/100 and 100 times its own lets {place} fire "
        f"{spikes:g} times in {len(x_seq)} steps, so it keeps the one it has and fires "
        f"{rate(neuron, x_seq):.3g} times; start from another v_threshold or spikes_at_start",
        stacklevel=2,
    )


def fitting_scale(neuron: DoubleExponential, x_seq: Tensor, spikes: float) -> float | None:
    """What to divide the threshold by; the geometric middle of the last interval.

    None if that lies at an end of the range: no number in it gives the rate.

    Shape:
        x_seq [T, N, *]
    """
    low, high = SCALES
    while high / low > RATIO:
        middle = math.sqrt(low * high)
        if rate(neuron, x_seq, middle) < spikes:
            low = middle
        else:
            high = middle
    return None if low == SCALES[0] or high == SCALES[1] else math.sqrt(low * high)


def rate(neuron: DoubleExponential, x_seq: Tensor, scale: float = 1.0) -> float:
    """Spikes of a neuron in T steps, from the last third of them, its threshold divided by scale.

    Shape:
        x_seq [T, N, *]
    """
    arguments = neuron.arguments()
    arguments["v_threshold"] = arguments["v_threshold"] / scale
    spike_seq, _ = neuron.function(x_seq, None, **arguments)
    T, first = len(x_seq), 2 * len(x_seq) // 3
    return _mean(spike_seq[first:].sum(0)) * T / (T - first)


def _mean(count: Tensor) -> float:
    """The mean over neurons and samples, those of all processes."""
    pair = torch.stack([count.double().sum(), count.new_tensor(count.numel()).double()])
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(pair)
    return float(pair[0] / pair[1].clamp(min=1))
