"""Sleep: magnitudes of weights are drawn to a target while noise makes the neurons fire.

In sleep a weight is held as ln(|w| / reference), in which a step of decay is one multiplication, so
that thousands of steps lose nothing to rounding.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from spikeloom.functional.elementary import exp64, log64
from spikeloom.papers import Paper

PAPER = Paper(
    key="massey2026sleep",
    title="Sleep-Based Homeostatic Regularization for Stabilizing Spike-Timing-Dependent "
    "Plasticity in Recurrent Spiking Neural Networks",
    authors=("A. Massey", "A. Hubin", "S. Nichele", "S. Sæbø"),
    venue="arXiv 2601.08447",
    form="misc",
    year=2026,
    url="https://arxiv.org/abs/2601.08447",
    code="https://github.com/AndrlmMass/SpikingNeuralNetwork",
)

Mode = Literal["static", "group", "post", "layer", "neuron"]
MODES = ("static", "group", "post", "layer", "neuron")
FIXED = 2.0**32  # magnitudes are summed as multiples of 1 / FIXED: exact, in whatever order


@dataclass(frozen=True)
class Sleep:
    """When a network sleeps, for how long, and what becomes of its weights.

    At every step that is a multiple of ``period``, it sleeps for at most
    min(round(ratio period), most) steps; the world waits. Each step, after one of the network:

    power law:     |w| <- target (|w| / target)^decay                     (modes of a target)
    proportional:  |w| <- |w| (S0 / S)^(1 / d), d the steps of the sleep  (modes of a sum)

    Args:
        period: steps awake between two sleeps.
        ratio: steps asleep for each step awake: 0.2 is a sixth of all steps.
        decay: λ of the power law, in (0, 1]; ln(|w| / target) shrinks by it.
        target: magnitude that weights are drawn to in mode ``static``.
        mode: the target is ``static``; the mean magnitude of a ``group`` (of the synapses from
            excitatory or from inhibitory neurons) or of the inputs of each neuron (``post``) when
            sleep begins. Or sums S go back to where they were at first: those of a ``layer`` (group
            by group), or of each ``neuron``'s inputs.
        noise: standard deviation of the noise on the membranes, in their unit.
        most: steps of a sleep at most, however large the ratio.
        tolerance: sleep ends when the sum of every group is so close to what it was at first,
            relative to that; modes of a target only, None for never.
    Raises:
        ValueError: a number out of range, or an unknown mode.
    Source:
        Massey, Hubin, Nichele and Sæbø, arXiv 2601.08447; constants and rules from the authors'
        code of January 2026, the text of the methods was not at hand (inferred to agree). The
        proportional modes are from an unfinished draft of the same group. ``ratio`` above ``most``
        / ``period`` changes nothing: with the defaults all from 0.286 on are one experiment.
    """

    period: int = 35_000
    ratio: float = 0.1
    decay: float = 0.99997
    target: float = 0.01
    mode: Mode = "static"
    noise: float = 2.0
    most: int = 10_000
    tolerance: float | None = 1e-3

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"mode is {self.mode!r}; use one of {', '.join(MODES)}")
        if self.period < 1 or self.ratio < 0 or self.most < 0 or self.noise < 0:
            raise ValueError(
                "sleep needs period >= 1, ratio >= 0, most >= 0 and noise >= 0, got "
                f"{self.period}, {self.ratio}, {self.most} and {self.noise}"
            )
        if not 0 < self.decay <= 1 or not self.target > 0:
            raise ValueError(
                f"sleep needs 0 < decay <= 1 and target > 0, got {self.decay} and {self.target}"
            )

    @property
    def sums(self) -> bool:
        """Whether sums go back to where they were, and not magnitudes to a target."""
        return self.mode in ("layer", "neuron")

    @property
    def steps(self) -> int:
        """Of one sleep, at most."""
        return min(round(self.ratio * self.period), self.most)

    def due(self, step: int) -> bool:
        """Whether the network sleeps before this step awake, the first being 0."""
        return bool(self.steps) and step > 0 and step % self.period == 0


class Totals(NamedTuple):
    """Sums of magnitudes in float64.

    Shape:
        groups [G], rows [O]
    """

    groups: Tensor
    rows: Tensor


class Drift(NamedTuple):
    """A step of sleep: ln(|w| / reference) <- decay ln(|w| / reference) + shift.

    Shape:
        reference and shift float64 [O, *], as the weight
    """

    reference: Tensor
    shift: Tensor
    decay: float


def toward(
    weight: Tensor, target: float | Tensor, *, decay: float = 0.99997, steps: int = 1
) -> Tensor:
    """Magnitudes after so many steps of the power law; signs and zeros stay.

    |w| <- w* (|w| / w*)^(decay^steps)

    Shape:
        weight [*], target [*] or a number -> [*]
    Example:
        >>> weight = torch.tensor([25.0, -0.3, 0.01, 0.0])
        >>> [round(value, 3) for value in toward(weight, 0.01, steps=3500).tolist()]
        [11.462, -0.214, 0.01, 0.0]
    """
    reference = torch.as_tensor(target, dtype=torch.float64)
    found = reference * exp64(decay**steps * ratio(weight, reference))
    return (found.to(weight.dtype) * weight.sign()).where(weight != 0, 0)


def totals(weight: Tensor, groups: Sequence[slice] = (slice(None),)) -> Totals:
    """Sums of magnitudes, by group of columns and by row.

    Shape:
        weight [O, I, *] -> groups [G], rows [O]
    """
    size = (weight.abs().to(torch.float64) * FIXED).round()
    by_group = torch.stack([size[:, at].sum() for at in groups])
    return Totals(by_group / FIXED, size.flatten(1).sum(1) / FIXED)


def drift(
    weight: Tensor, rule: Sleep, start: Totals, groups: Sequence[slice] = (slice(None),)
) -> Drift:
    """What a sleep that begins now does to each weight at a step.

    Args:
        weight: as sleep finds it.
        rule: of sleep.
        start: sums of the weights before any learning.
        groups: columns that belong together.
    Shape:
        weight [O, I, *]
    """
    now = totals(weight, groups)
    rows = (-1, *[1] * (weight.dim() - 1))
    one = torch.ones_like(weight, dtype=torch.float64)
    if rule.mode == "static":
        return Drift(rule.target * one, 0 * one, rule.decay)
    if rule.mode == "post":
        mean = now.rows / weight.flatten(1).count_nonzero(1).clamp(min=1)
        return Drift(_usable(mean).view(rows) * one, 0 * one, rule.decay)
    if rule.mode == "neuron":
        shift = log64(_usable(start.rows / now.rows)) / max(1, rule.steps)
        return Drift(one, shift.view(rows) * one, 1.0)
    by_group = one.clone()
    for at, first, last in zip(groups, start.groups, now.groups, strict=True):
        mean = last / weight[:, at].count_nonzero().clamp(min=1)
        by_group[:, at] = _usable(mean if rule.mode == "group" else first / last)
    if rule.mode == "group":
        return Drift(by_group, 0 * one, rule.decay)
    return Drift(one, log64(by_group) / max(1, rule.steps), 1.0)


class Asleep:
    """A weight while it sleeps.

    Args:
        weight: changed in place.
        by: what a step does.
    """

    def __init__(self, weight: Tensor, by: Drift) -> None:
        self.weight, self.by = weight, by
        self.shown, self.log = weight.clone(), ratio(weight, by.reference)

    def step(self) -> None:
        """One step: what has been changed from outside since the last one counts from there."""
        changed = self.weight != self.shown
        self.log = torch.where(changed, ratio(self.weight, self.by.reference), self.log)
        self.log = self.log * self.by.decay + self.by.shift
        size = (self.by.reference * exp64(self.log)).to(self.weight.dtype)
        self.weight.copy_((size * self.weight.sign()).where(self.weight != 0, 0))
        self.shown = self.weight.clone()


class SleepRegularizer:
    """Sleep for any network whose weights are tensors [O, I, *].

    Args:
        weights: changed in place in sleep, and by ``step_fn``; their sums now are those that
            ``tolerance`` and the proportional modes go by, unless ``start`` says others.
        rule: of sleep.
        groups: columns that belong together, the same for all weights: excitatory and inhibitory.
        start: sums of the weights before any learning.
    """

    def __init__(
        self,
        weights: Sequence[Tensor],
        rule: Sleep,
        groups: Sequence[slice] = (slice(None),),
        start: Sequence[Totals] | None = None,
    ) -> None:
        self.weights, self.rule, self.groups = tuple(weights), rule, tuple(groups)
        self.start = tuple(start or (totals(weight, groups) for weight in weights))

    @torch.no_grad()
    def sleep(self, step_fn: Callable[[float], object] = lambda noise: None) -> int:
        """Sleep once; how many steps it took.

        Args:
            step_fn: one step of the network without input, with noise of that standard deviation on
                its membranes and with its plasticity, which changes the weights in place.
        """
        asleep = [
            Asleep(weight, drift(weight, self.rule, start, self.groups))
            for weight, start in zip(self.weights, self.start, strict=True)
        ]
        for step in range(self.rule.steps):
            if self._rested():
                return step
            step_fn(self.rule.noise)
            for each in asleep:
                each.step()
        return self.rule.steps

    def _rested(self) -> bool:
        if self.rule.tolerance is None or self.rule.sums:
            return False
        return all(
            rested(totals(weight, self.groups), start, self.rule.tolerance)
            for weight, start in zip(self.weights, self.start, strict=True)
        )


def rested(now: Totals, start: Totals, tolerance: float) -> bool:
    """Whether the sum of every group is back where it was at first."""
    apart = (now.groups - start.groups).abs()
    return bool((apart <= tolerance * start.groups).all())


def _usable(value: Tensor) -> Tensor:
    """References and ratios as they are; 1 where there is nothing to refer to."""
    return torch.where((value > 0) & value.isfinite(), value, 1.0)


def ratio(weight: Tensor, reference: Tensor) -> Tensor:
    """ln(|w| / reference), 0 for no weight."""
    share = weight.abs().to(torch.float64) / reference
    return log64(torch.where(share > 0, share, 1.0))
