"""Callbacks that set the slope of every spike for the length of a phase."""

from abc import abstractmethod

from torch import nn

from spikeloom.functional import Surrogate
from spikeloom.layers import Membrane, set_surrogate
from spikeloom.learning.base import Callback, Unsupported


class Slope(Callback):
    """Gives all neurons one surrogate, and their own ones back when the phase ends."""

    @abstractmethod
    def surrogate_now(self) -> Surrogate:
        """The slope that the state stands for."""

    def apply(self, model: nn.Module) -> None:
        """Set the slope.

        Raises:
            Unsupported: the model has no neurons with a surrogate.
        """
        neurons = [module for module in model.modules() if isinstance(module, Membrane)]
        if not neurons:
            raise Unsupported(
                f"{type(self).__name__} sets the slope of spikes, and the model has no neurons "
                "with one; leave it out or choose another neuron"
            )
        if not hasattr(self, "own"):
            self.own = {neuron: neuron.surrogate for neuron in neurons}
        set_surrogate(model, self.surrogate_now())

    def undo(self, model: nn.Module) -> None:
        for neuron, surrogate in getattr(self, "own", {}).items():
            neuron.surrogate = surrogate
