"""What the potentials of a model's neurons were while it ran."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from spikeloom.functional.neurons.inputs import wide
from spikeloom.kernels import door, operator_of
from spikeloom.layers import Neuron
from spikeloom.layers.base import State, Temporal, ruled

_lif_mean = door("lif_mean")


class Seen(NamedTuple):
    """A layer's name, spikes and potentials before the reset [T, N, *], and the threshold then.

    The threshold is a constant: no gradient leads to what it was computed from.
    """

    name: str
    spike_seq: Tensor
    h_seq: Tensor
    threshold: Tensor


class Mean(NamedTuple):
    """A layer's name, spikes [T, N, *], and means over time of potential and threshold [N, *]."""

    name: str
    spike_seq: Tensor
    h_mean: Tensor
    threshold: Tensor


Record = TypeVar("Record")
Note = Callable[[str, Neuron, Tensor, State], tuple[Record, State]]


@contextmanager
def potentials(
    model: nn.Module, only: Collection[str] | None = None
) -> Iterator[Callable[[], list[Seen]]]:
    """Record the potentials of neuron layers that run inside the block: all, or those named.

    The function that comes out hands over what was recorded since its last call. These neurons
    run by their readable functions meanwhile, in which potentials are part of the graph.
    """
    with _noting(model, _seen, only) as hand_over:
        yield hand_over


@contextmanager
def means(model: nn.Module) -> Iterator[Callable[[], list[Mean]]]:
    """As :func:`potentials`, but their means over time, for which LIF has a fast kernel."""
    with _noting(model, _mean) as hand_over:
        yield hand_over


@contextmanager
def _noting(
    model: nn.Module, note: "Note[Record]", only: Collection[str] | None = None
) -> Iterator[Callable[[], list[Record]]]:
    names = {module: name for name, module in model.named_modules() if only is None or name in only}
    found: list[Record] = []

    def rule(neuron: Temporal, x_seq: Tensor, state: State) -> tuple[Tensor, State]:
        assert isinstance(neuron, Neuron)
        record, last = note(names[neuron], neuron, x_seq, state)
        found.append(record)
        return record.spike_seq, last  # type: ignore[attr-defined]

    def hand_over() -> list[Record]:
        taken = found.copy()
        found.clear()
        return taken

    with ruled(model, rule, chosen=names):
        yield hand_over


def _seen(name: str, neuron: Neuron, x_seq: Tensor, state: State) -> tuple[Seen, State]:
    trace = neuron.trace(x_seq, state)
    threshold = neuron.threshold(trace, state).detach()
    return Seen(name, trace.spike_seq, trace.h_seq, threshold), trace.last


def _mean(name: str, neuron: Neuron, x_seq: Tensor, state: State) -> tuple[Mean, State]:
    if operator_of(neuron.function) == "lif":
        arguments = neuron.arguments()
        spike_seq, last, h_mean = _lif_mean(x_seq, state, **arguments)
        threshold = torch.as_tensor(arguments["v_threshold"], device=h_mean.device).detach()
        return Mean(name, spike_seq, h_mean, threshold), last
    seen, last = _seen(name, neuron, x_seq, state)
    moves = seen.threshold.dim() == seen.h_seq.dim()
    threshold = seen.threshold.mean(0) if moves else seen.threshold
    return Mean(name, seen.spike_seq, wide(seen.h_seq).mean(0), threshold), last
