"""Adds up one layer's work while a network runs."""

from dataclasses import dataclass, field, fields
from typing import Literal

import torch
from torch import Tensor

from spikeloom.deploy.energy.counts import LayerCounts, Work
from spikeloom.deploy.energy.values import Kind, Values

SUMMED = (
    "dense", "adds", "dense_adds", "multiplies", "updates", "touched", "spikes", "events",
    "written",
)  # fmt: skip


@dataclass
class Tally(Work):
    """Sums over all samples so far; ``counts`` divides by their number.

    ``active`` are the inputs that were not zero, place by place, and ``fan_out`` the operations
    that each of them takes part in; ``pairs`` are operations that were counted as they came.
    """

    name: str
    role: str
    kind: str
    inputs: Values = field(default_factory=Values)
    others: Values | None = None
    outputs: Values = field(default_factory=Values)
    fan_out: Tensor | None = None
    active: Tensor | None = None
    pairs: float = 0.0
    dense_each: float = 0.0
    calls: float = 0.0
    biased: bool = False
    runs: int = 0
    readers: int = 0
    source: "Tally | None" = None
    keeps_factor: bool = False
    gone: bool = False
    notes: dict[str, None] = field(default_factory=dict)

    def read(self, x: Tensor, size: int) -> None:
        """Note values that the layer reads, of so many a step."""
        self.inputs.see(x)
        self.in_size = size
        self.events += count(x)

    def write(self, out: Tensor, size: int) -> None:
        """Note values that the layer leaves for others to read."""
        self.outputs.see(out)
        self.out_size = size
        self.written += count(out)

    def meet(self, x: Tensor, *, levels: bool = False) -> None:
        """Add the inputs that are not zero; what they take part in follows from ``fan_out``.

        Args:
            levels: a value is a number of spikes, each of which takes part for itself.
        Shape:
            x [M, *], where fan_out is [*]
        """
        here = (x if levels else x != 0).sum(0, dtype=torch.float64)
        self.active = here if self.active is None else self.active + here

    def fold(self) -> None:
        """Let the map before this norm take it in, if nothing else reads what that map makes.

        Its factor goes into the weights and its shift into the bias; a factor of its own for every
        step stays.
        """
        # a map is called once for each of its readers
        if self.source is None or self.source.readers > self.source.runs:
            return
        self.source.biased = True
        self.source.notes[f"{self.name} folded"] = None
        self.adds = self.dense_adds = 0.0
        self.gone = not self.keeps_factor

    def counts(self, samples: int) -> LayerCounts:
        """What it comes to for one sample."""
        pairs = self.pairs
        if self.active is not None and self.fan_out is not None:
            pairs += float((self.active * self.fan_out.to(self.active.device)).sum())
        both = [self.inputs.kind] if self.others is None else [self.inputs.kind, self.others.kind]
        graded = all(kind == "graded" for kind in both)
        bias = self.calls * self.out_size if self.biased else 0.0
        each = 1 / samples
        work = {part.name: getattr(self, part.name) for part in fields(Work)}
        work |= {name: work[name] + bias for name in ("adds", "dense_adds")}
        work |= {name: work[name] * each for name in SUMMED}
        return LayerCounts(
            name=self.name,
            role=self.role,
            kind=self.kind,
            inputs=self._read(both),
            steps=self.calls * each,
            macs=pairs * each if graded else 0.0,
            acs=0.0 if graded else pairs * each,
            out_kind=self.outputs.kind if self.written else "binary",
            note="; ".join([*self.notes, *self._pairing(both)]),
            **work,
        )

    def _read(self, both: list[Kind]) -> Kind | Literal[""]:
        """What is read: spikes where either side is; nothing where the layer before holds it."""
        if not self.in_size:
            return ""
        return next((kind for kind in both if kind != "graded"), "graded")

    def _pairing(self, both: list[Kind]) -> list[str]:
        if self.others is None:
            return []
        spikes = sum(kind != "graded" for kind in both)
        said = ("multiply-accumulate", "accumulate where a spike is", "AND-accumulate")
        return [said[spikes]]


def count(x: Tensor) -> float:
    """How many values are not zero."""
    return float(torch.count_nonzero(x))


__all__ = ["Tally", "count"]
