"""What every layer with dynamics is: a function of ``spikeloom.functional`` and one rule.

The layer reaches its dynamics through one replaceable ``rule``; :func:`ruled` swaps it for the
length of a ``with``. Layers without dynamics have no rule; :func:`standing_in` replaces what those
compute. A training method gets these two hooks and no other.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from spikeloom.functional import (
    ALIFTrace,
    CubaTrace,
    DoubleExponentialTrace,
    HetSynTrace,
    RecurrentTrace,
    Trace,
)

State = Any  # a tensor, or the named tuple of tensors that the neuron's function returns
Rule = Callable[["Temporal", Tensor, State], tuple[Tensor, State]]
AnyTrace = Trace | ALIFTrace | CubaTrace | DoubleExponentialTrace | HetSynTrace | RecurrentTrace
Layer = TypeVar("Layer", bound="Temporal")


def dynamics(layer: "Temporal", x_seq: Tensor, state: State) -> tuple[Tensor, State]:
    """The default rule: the layer's own function with its own arguments."""
    return layer.function(x_seq, state, **layer.arguments())


class Temporal(nn.Module, ABC):
    """A layer whose output depends on what came before: the only kind that has a state.

    ``forward`` starts at rest each call; ``scan`` carries the state explicitly, for streaming.

    Shape:
        x_seq [T, N, *] -> [T, N, *]
    """

    function: Callable[..., tuple[Tensor, State]]

    def __init__(self) -> None:
        super().__init__()
        self.rule: Rule = dynamics

    @abstractmethod
    def arguments(self) -> dict[str, Any]:
        """Keyword arguments for ``function``, with the values that learnt ones have now."""

    def forward(self, x_seq: Tensor) -> Tensor:
        return self.rule(self, x_seq, None)[0]

    def scan(self, x_seq: Tensor, state: State = None) -> tuple[Tensor, State]:
        """``forward`` from a given state; also returns the state after the last step."""
        return self.rule(self, x_seq, state)


class Neuron(Temporal):
    """A layer of spiking neurons over a whole sequence.

    ``trace`` shows every step; ``function`` and ``function_trace`` are the two forms of the
    neuron's function.

    Shape:
        x_seq [T, N, *] -> spike_seq [T, N, *]
    """

    function_trace: Callable[..., AnyTrace]

    def trace(self, x_seq: Tensor, state: State = None) -> AnyTrace:
        """Spikes, potentials and whatever else a step leaves, for plots and membrane losses.

        Always the neuron's own dynamics, whatever its ``rule``.

        Shape:
            x_seq [T, N, *] -> a named tuple of ``spike_seq``, ``h_seq``, ``v_seq``, ...,
            each [T, N, *]
        """
        return self.function_trace(x_seq, state, **self.arguments())

    def threshold(self, trace: AnyTrace, state: State = None) -> Tensor:
        """The threshold in force at every step of a trace that began in ``state``.

        Shape:
            a trace of [T, N, *] -> a tensor that broadcasts to it
        """
        return torch.as_tensor(self.arguments()["v_threshold"], device=trace.h_seq.device)


@contextmanager
def ruled(
    model: nn.Module,
    rule: Rule,
    kind: type[Layer] = Neuron,  # type: ignore[assignment]
    chosen: Container[nn.Module] | None = None,
) -> Iterator[list[Layer]]:
    """Let the neurons of ``model`` follow ``rule`` inside the block; restores the old rules.

    Args:
        model: where to look for them.
        rule: what they follow.
        kind: which layers; ``Temporal`` for read-outs that integrate as well.
        chosen: of these, only those in here; all of them if None.
    """
    found = (module for module in model.modules() if isinstance(module, kind))
    layers = [module for module in found if chosen is None or module in chosen]
    before = [layer.rule for layer in layers]
    try:
        for layer in layers:
            layer.rule = rule
        yield layers
    finally:
        for layer, old in zip(layers, before, strict=True):
            layer.rule = old


@contextmanager
def standing_in(
    model: nn.Module, kind: type[nn.Module], forward: Callable[..., Tensor]
) -> Iterator[None]:
    """Let every layer of a kind compute ``forward(layer, x_seq)`` inside the block.

    For layers without dynamics; those that have some follow a ``rule``, see :func:`ruled`.

    Args:
        model: where to look for them.
        kind: which layers, subclasses included.
        forward: what they compute; ``type(layer).forward`` is what they do by themselves.
    """
    layers = [module for module in model.modules() if isinstance(module, kind)]
    before = [vars(layer).get("forward") for layer in layers]
    try:
        for layer in layers:
            vars(layer)["forward"] = partial(forward, layer)
        yield
    finally:
        for layer, old in zip(layers, before, strict=True):
            if old is None:
                vars(layer).pop("forward", None)
            else:
                vars(layer)["forward"] = old
