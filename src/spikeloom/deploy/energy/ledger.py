"""The tallies of a network's layers, and where the values between them come from."""

from math import prod
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from spikeloom.deploy.energy.counts import Counts
from spikeloom.deploy.energy.tally import Tally


class Origin(NamedTuple):
    """Where a value comes from: the map it left, if no layer is between; what events reached.

    ``levels``: it is spikes of several levels, each of which adds the weights so many times.
    """

    map: Tally | None = None
    touched: Tensor | None = None
    levels: bool = False


class Ledger:
    """A tally for each layer, in the order in which they first ran.

    Every value has an origin, which goes when the value does. ``folded`` says how deep inside
    ``OverTime`` the network is: there the first axis holds time, too.
    """

    def __init__(self) -> None:
        self.rows: dict[str, Tally] = {}
        self.samples = 0
        self.uncounted: dict[str, None] = {}
        self.last = "the input"
        self.folded = 0
        self._origins: Any = WeakTensorKeyDictionary()
        self._met: dict[str, int] = {}

    def begin(self, samples: int) -> None:
        """Another batch of so many samples starts."""
        self.samples += samples
        self.last = "the input"
        self._met = {}
        self._origins = WeakTensorKeyDictionary()

    def row(self, name: str, role: str, kind: str) -> Tally:
        """The tally of that name; a new one where there is none."""
        return self.rows.setdefault(name, Tally(name, role, kind))

    def between(self, what: str, role: str) -> Tally:
        """The tally of something that comes after the last layer, and is none itself."""
        name = f"{self.last} + {what}"
        self._met[name] = self._met.get(name, 0) + 1
        return self.row(name if self._met[name] == 1 else f"{name} {self._met[name]}", role, what)

    def origin(self, value: Tensor) -> Origin:
        """Where a value comes from."""
        found: Origin = self._origins.get(value, Origin())
        return found

    def set_origin(self, value: Tensor, origin: Origin) -> None:
        """Say where a value comes from."""
        self._origins[value] = origin

    def read_by(self, value: Tensor) -> None:
        """Note that something reads a value: a map that only a norm reads takes that in."""
        if (source := self.origin(value).map) is not None:
            source.readers += 1

    def touched(self, value: Tensor) -> Tensor:
        """Which places of a value events have reached; those that are not zero if unknown."""
        known = self.origin(value).touched
        return value != 0 if known is None else known

    def size(self, value: Tensor) -> int:
        """How many values one sample has at one step."""
        return max(prod(value.shape[1 if self.folded else 2 :]), 1)

    def counts(self, model: nn.Module) -> Counts:
        """What it comes to.

        Raises:
            ValueError: nothing has run.
        """
        if not self.samples:
            raise ValueError("there were no samples to count on; give at least one sequence")
        for row in self.rows.values():
            row.fold()
        held = [*model.parameters(), *model.buffers()]
        return Counts(
            tuple(row.counts(self.samples) for row in self.rows.values() if not row.gone),
            self.samples,
            sum(p.numel() for p in model.parameters()),
            sum(t.numel() * t.element_size() for t in held),
            tuple(self.uncounted),
        )


__all__ = ["Ledger", "Origin"]
