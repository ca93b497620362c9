"""The neurons that a callback is about, or a refusal."""

from torch import nn

from spikeloom.layers import Membrane
from spikeloom.registry import Unsupported


def neurons_of(model: nn.Module, purpose: str) -> list[Membrane]:
    """All neurons of a model that have a threshold and a surrogate.

    Args:
        model: where to look for them.
        purpose: what they are needed for, as the beginning of a sentence.
    Raises:
        Unsupported: there are none.
    """
    found = [module for module in model.modules() if isinstance(module, Membrane)]
    if not found:
        raise Unsupported(
            f"{purpose}, and the model has no neurons with one; leave it out or choose another "
            "neuron"
        )
    return found
