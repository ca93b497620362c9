"""Chance that does not depend on the order of work: a number for each thing it is asked about."""

from dataclasses import dataclass

MASK = 2**64 - 1


@dataclass(frozen=True)
class Late:
    """Spikes that are late: each on each connection with probability ``p``, by 1 to ``most`` steps.

    Whether one is, is settled by ``seed``, the connection, the neuron and the step alone.

    Raises:
        ValueError: p outside [0, 1], or most < 1.
    """

    p: float = 0.0
    most: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.p <= 1:
            raise ValueError(f"p is a probability, 0..1, got {self.p}")
        if self.most < 1:
            raise ValueError(f"late spikes are late by 1 step at least, got most = {self.most}")

    def steps(self, connection: int, neuron: int, time: int) -> int:
        """How many steps late a spike is."""
        if not self.p:
            return 0
        number = drawn(self.seed, connection, neuron, time)
        late = (number >> 11) * 2.0**-53 < self.p
        return 1 + mixed(number) % self.most if late else 0


ON_TIME = Late()


def drawn(seed: int, *about: int) -> int:
    """64 random bits about these numbers."""
    bits = mixed(seed & MASK)
    for number in about:
        bits = mixed(bits ^ number)
    return bits


def mixed(bits: int) -> int:
    """64 bits from 64 bits, none of which can be told from the others.

    Source:
        Steele, Lea and Flood, OOPSLA 2014 (SplitMix64).
    """
    bits = (bits + 0x9E3779B97F4A7C15) & MASK
    bits = (bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    bits = (bits ^ (bits >> 27)) * 0x94D049BB133111EB & MASK
    return bits ^ (bits >> 31)
