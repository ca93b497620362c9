"""Callbacks that set the slope of every spike for the length of a phase."""

from abc import abstractmethod

from torch import nn

from spikeloom.callbacks.base import Callback
from spikeloom.callbacks.spiking import neurons_of
from spikeloom.functional import Surrogate
from spikeloom.layers import Membrane, set_surrogate


class Slope(Callback):
    """Gives all neurons one surrogate, and their own ones back when the phase ends.

    A surrogate that the recipe gives to the neurons is not used in that phase.
    """

    @abstractmethod
    def surrogate_now(self) -> Surrogate:
        """The slope that the state stands for."""

    def apply(self, model: nn.Module) -> None:
        """Set the slope.

        Raises:
            Unsupported: the model has no neurons with a surrogate.
        """
        neurons = self.neurons(model)
        if not hasattr(self, "own"):
            self.own = {neuron: neuron.surrogate for neuron in neurons}
        set_surrogate(model, self.surrogate_now())

    def neurons(self, model: nn.Module) -> list[Membrane]:
        """Those whose slope is set."""
        return neurons_of(model, f"{type(self).__name__} sets the slope of spikes")

    def undo(self, model: nn.Module) -> None:
        for neuron, surrogate in getattr(self, "own", {}).items():
            neuron.surrogate = surrogate
