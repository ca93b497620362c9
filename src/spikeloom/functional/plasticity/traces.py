"""What a synapse remembers of spikes: traces, their decay and their pairing, by name."""

from typing import Literal, NamedTuple

from torch import Tensor

from spikeloom.functional.decay import Decay

Pairing = Literal["all", "nearest"]


class Trace(NamedTuple):
    """How a trace forgets, and what a spike does to it.

    all:      x <- keep x + s       every earlier spike counts, weighted by its age
    nearest:  x <- keep x; x <- 1 where s = 1      only the last spike counts

    Args:
        decay: leak per step, by one of the named conventions; its ``keep`` is all that is used.
        pairing: ``all`` pairs of spikes, or each spike with its ``nearest`` predecessor.
    """

    decay: Decay
    pairing: Pairing = "all"

    def step(self, x: Tensor, spike: Tensor) -> Tensor:
        """The trace after a step in which these spikes came.

        Shape:
            x, spike [N, *] -> [N, *]
        """
        x = self.decay.keep * x
        return x + spike if self.pairing == "all" else x.masked_fill(spike != 0, 1)


def check_pairing(pairing: str) -> None:
    """Raise ValueError unless it is the name of a pairing."""
    if pairing not in ("all", "nearest"):
        raise ValueError(f"pairing is {pairing!r}; use 'all' or 'nearest'")
