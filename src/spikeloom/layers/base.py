"""What every layer of spiking neurons is: a function of ``spikeloom.functional`` and one rule.

The layer reaches its dynamics through one replaceable ``rule``; :func:`ruled` swaps it for the
length of a ``with``. This is the only hook that a training method gets.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from spikeloom.functional import ALIFTrace, CubaTrace, Trace

State = Any  # a tensor, or the named tuple of tensors that the neuron's function returns
Rule = Callable[["Neuron", Tensor, State], tuple[Tensor, State]]
AnyTrace = Trace | ALIFTrace | CubaTrace


def dynamics(neuron: "Neuron", x_seq: Tensor, state: State) -> tuple[Tensor, State]:
    """The default rule: the neuron's own function with its own arguments."""
    return neuron.function(x_seq, state, **neuron.arguments())


class Neuron(nn.Module, ABC):
    """A layer of spiking neurons over a whole sequence.

    ``forward`` starts at rest each call; ``scan`` carries the state explicitly, for streaming;
    ``trace`` shows every step. ``function`` and ``function_trace`` are the two forms of the
    neuron's function.

    Shape:
        x_seq [T, N, *] -> spike_seq [T, N, *]
    """

    function: Callable[..., tuple[Tensor, State]]
    function_trace: Callable[..., AnyTrace]

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

    def trace(self, x_seq: Tensor, state: State = None) -> AnyTrace:
        """Spikes, potentials and whatever else a step leaves, for plots and membrane losses.

        Always the neuron's own dynamics, whatever its ``rule``.

        Shape:
            x_seq [T, N, *] -> a named tuple of ``spike_seq``, ``h_seq``, ``v_seq``, ...,
            each [T, N, *]
        """
        return self.function_trace(x_seq, state, **self.arguments())


@contextmanager
def ruled(model: nn.Module, rule: Rule) -> Iterator[list[Neuron]]:
    """Let every neuron of ``model`` follow ``rule`` inside the block; restores the old rules."""
    neurons = [module for module in model.modules() if isinstance(module, Neuron)]
    before = [neuron.rule for neuron in neurons]
    try:
        for neuron in neurons:
            neuron.rule = rule
        yield neurons
    finally:
        for neuron, old in zip(neurons, before, strict=True):
            neuron.rule = old
