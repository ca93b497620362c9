"""What ``result.json`` of a finished run says."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _filled(value: Any) -> Any:
    return {} if value is None else value


# What may be null where there is nothing to say, as scores without a validation split.
Table = Annotated[dict[str, Any], BeforeValidator(_filled)]


class Part(BaseModel):
    """A piece of the result: keys it does not know are kept, so newer runs still read."""

    model_config = ConfigDict(frozen=True, extra="allow")


class Best(Part):
    """The epoch with the best validation score; early results do not say of which phase."""

    epoch: int
    phase: int | None = None
    val: Table = Field(default_factory=dict)


class Twin(Part):
    """A non-spiking network beside the run: its twin, trained alike, or its teacher."""

    test: Table = Field(default_factory=dict)


class Cited(Part):
    """The paper of a method that the run used."""

    method: str
    bibtex: str


class Result(Part):
    """Numbers of a finished run; only recipe and seed must be there.

    ``arm`` tells runs of one recipe with different overrides apart. ``firing_rates`` are spikes
    per neuron and step, layers in the order of the network, each the mean over its neurons, the
    steps and ``firing_rate_images`` of the test images. ``confusion[true][predicted]`` counts
    test samples. ``accuracy_by_step[t]`` is the test accuracy when reading t + 1 steps. ``measure``
    is the name of the headline number; early results are all of accuracy.
    """

    recipe: str
    seed: int
    arm: str | None = None
    title: str = ""
    model: str = ""
    weights: str = ""
    measure: str = "accuracy"
    parameters: int | None = None
    epochs: int | None = None
    seconds: float | None = None
    splits: Table = Field(default_factory=dict)
    files: Table = Field(default_factory=dict)
    val: Table = Field(default_factory=dict)
    test: Table = Field(default_factory=dict)
    best: Best | None = None
    twin: Twin | None = None
    teacher: Twin | None = None
    firing_rates: dict[str, float] = Field(default_factory=dict)
    firing_rate_images: int | None = None
    confusion: list[list[int]] = Field(default_factory=list)
    class_names: list[str] = Field(default_factory=list)
    papers: list[Cited] = Field(default_factory=list)
    accuracy_by_step: list[float] = Field(default_factory=list)
    test_by_grade: dict[str, dict[str, float]] = Field(default_factory=dict)
    stopped: str = ""

    def flat(self) -> dict[str, float]:
        """Every plain number by its dotted name, such as ``test.accuracy``."""
        return flat(self.model_dump())

    @property
    def rated(self) -> str:
        """What the firing rates were measured on; early results do not say."""
        images = self.firing_rate_images
        return "some test images" if images is None else f"{images:,} test images"

    @property
    def mean_rate(self) -> float | None:
        """Firing rate, each layer counting alike; None if no rates were recorded."""
        rates = self.firing_rates.values()
        return sum(rates) / len(rates) if rates else None


def plain(mapping: Mapping[str, Any]) -> dict[str, float]:
    """The plain numbers among the values; NaN counts as one, None and true do not."""
    return {
        name: float(value)
        for name, value in mapping.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def flat(mapping: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """The plain numbers of nested mappings by dotted name."""
    found = {prefix + name: value for name, value in plain(mapping).items()}
    for name, value in mapping.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{name}.")
    return found
