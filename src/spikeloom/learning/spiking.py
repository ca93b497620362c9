"""The neurons that a callback is about, or a refusal."""

from typing import TypeVar

from torch import nn

from spikeloom.layers import Neuron
from spikeloom.registry import Unsupported

Kind = TypeVar("Kind", bound=Neuron)


def neurons_of(model: nn.Module, kind: type[Kind], purpose: str) -> list[Kind]:
    """All neurons of a model of one kind.

    Args:
        model: where to look for them.
        kind: which.
        purpose: what they are needed for, as the beginning of a sentence.
    Raises:
        Unsupported: there are none.
    """
    found = [module for module in model.modules() if isinstance(module, kind)]
    if not found:
        raise Unsupported(
            f"{purpose}, and the model has no neurons with one; leave it out or choose another "
            "neuron"
        )
    return found
