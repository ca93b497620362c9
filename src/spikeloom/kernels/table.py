"""Operator -> implementations, fastest first, the truth last."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from spikeloom import functional
from spikeloom.kernels import shared, spectral
from spikeloom.kernels.cpu import (
    conv,
    double_exponential,
    ei_network,
    events,
    first_spike,
    linear,
    maxpool,
    native,
    neurons,
    norms,
    rates,
    recurrent,
    shown,
    synapses,
    timed,
)  # fmt: skip
from spikeloom.kernels.two_pass import calls


@dataclass(frozen=True)
class Implementation:
    """One way to compute an operator.

    Args:
        name: what it is asked for by.
        run: has the arguments of the truth.
        objections: why it cannot serve a call with these arguments; nothing if it can.
        about: what to tell a person who asks which one runs.
    """

    name: str
    run: Callable[..., Any]
    objections: Callable[..., Iterable[str]]
    about: Callable[[], str]


def truth(run: Callable[..., Any]) -> Implementation:
    """The readable function itself."""
    return Implementation("truth", run, lambda *args, **options: (), lambda: "truth")


def cpu(
    run: Callable[..., Any], objections: Callable[..., Iterable[str]] = neurons.objections
) -> Implementation:
    """A kernel of ``kernels.cpu``."""
    return Implementation("cpu", run, objections, lambda: f"cpu ({native.variant()})")


def anywhere(
    name: str, run: Callable[..., Any], objections: Callable[..., Iterable[str]]
) -> Implementation:
    """Another way in tensors of PyTorch, on any device."""
    return Implementation(name, run, objections, lambda: name)


TABLE: dict[str, tuple[Implementation, ...]] = {
    "lif": (cpu(neurons.lif), truth(functional.lif)),
    "lif_mean": (cpu(neurons.lif_mean, neurons.mean_objections), truth(functional.lif_mean)),
    "alif": (cpu(neurons.alif), truth(functional.alif)),
    "cuba_lif": (cpu(neurons.cuba_lif), truth(functional.cuba_lif)),
    "ternary_lif": (cpu(neurons.ternary_lif), truth(functional.ternary_lif)),
    "ternary_spike": (cpu(neurons.ternary_spike), truth(functional.ternary_spike)),
    "li": (cpu(neurons.li), truth(functional.li)),
    "linear": (cpu(linear.linear, linear.objections), truth(functional.linear)),
    "recurrent_lif": (
        cpu(recurrent.recurrent_lif, recurrent.objections),
        truth(functional.recurrent_lif),
    ),
    "event_stream": (
        cpu(events.event_stream, events.objections),
        truth(functional.event_stream),
    ),
    "double_exponential": (
        cpu(double_exponential.double_exponential, double_exponential.objections),
        truth(functional.double_exponential),
    ),
    "synapses": (
        cpu(synapses.synapses, synapses.objections),
        anywhere("shared", shared.synapses, shared.objections),
        anywhere("spectral", spectral.synapses, spectral.objections),
        anywhere("two_pass", calls.synapses, calls.objections),
        truth(functional.synapses),
    ),
    "hetsyn_lif": (
        cpu(synapses.hetsyn_lif, synapses.spiking_objections),
        anywhere("shared", shared.hetsyn_lif, shared.spiking_objections),
        anywhere("two_pass", calls.hetsyn_lif, calls.spiking_objections),
        truth(functional.hetsyn_lif),
    ),
    "shown": (cpu(shown.shown, shown.objections), truth(functional.shown)),
    "ei_wake": (
        cpu(ei_network.ei_wake, ei_network.objections),
        truth(functional.ei_wake),
    ),
    "ei_rates": (
        cpu(ei_network.ei_rates, ei_network.objections),
        truth(functional.ei_rates),
    ),
    "ei_sleep": (
        cpu(ei_network.ei_sleep, ei_network.objections),
        truth(functional.ei_sleep),
    ),
    "first_spikes": (
        cpu(first_spike.first_spikes, first_spike.objections),
        truth(functional.first_spikes),
    ),
    "first_spike_learn": (
        cpu(first_spike.first_spike_learn, first_spike.learning_objections),
        truth(functional.first_spike_learn),
    ),
    "learn_filters": (
        cpu(first_spike.learn_filters, first_spike.filter_objections),
        truth(functional.learn_filters),
    ),
    "timed": (cpu(timed.timed, timed.objections), truth(functional.timed)),
    "bn_lif": (cpu(norms.bn_lif, norms.objections), truth(functional.bn_lif)),
    "lif_rate": (cpu(rates.lif_rate, rates.objections), truth(functional.lif_rate)),
    "bn_lif_rate": (cpu(rates.bn_lif_rate, rates.norm_objections), truth(functional.bn_lif_rate)),
    "conv2d": (cpu(conv.conv2d, conv.objections), truth(functional.conv2d)),
    "max_pool2d": (cpu(maxpool.max_pool2d, maxpool.objections), truth(functional.max_pool2d)),
}
