"""Who learns how much from a sample: errors of first-spike rules, competition, its regulation.

Plain numbers of one sample: lists over the neurons of a layer, class by class.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from spikeloom.functional.first_spike.fire import NEVER

RuleName = Literal["s2_stdp", "sstdp", "r_stdp"]
Regulation = Literal["none", "competition", "neuron"]
RULES: tuple[RuleName, ...] = ("s2_stdp", "sstdp", "r_stdp")


@dataclass(frozen=True)
class Groups:
    """Neurons of a layer: for each class one after the other.

    Args:
        classes: C.
        size: M, neurons of a class.
        spared: L, the first neurons of a class that are no targets: they are pushed away from
            samples of their own class, too.
    Raises:
        ValueError: a class without neurons, or without targets.
    """

    classes: int
    size: int = 1
    spared: int = 0

    def __post_init__(self) -> None:
        if self.classes < 2 or self.size < 1 or not 0 <= self.spared < self.size:
            raise ValueError(
                f"a class needs a neuron that is a target, and there must be two classes; got "
                f"{self.classes} classes of {self.size} neurons, of which {self.spared} are spared"
            )

    @property
    def count(self) -> int:
        """N = C M."""
        return self.classes * self.size

    def of(self, y: int) -> range:
        """The neurons of a class."""
        return range(y * self.size, (y + 1) * self.size)

    def targets(self, y: int) -> range:
        """Those of them that are to fire first."""
        return range(y * self.size + self.spared, (y + 1) * self.size)


@dataclass(frozen=True)
class Rule:
    """How a layer of first-spike neurons learns from a sample.

    Args:
        name: of the rule.
        a_plus, a_minus: change of a weight at an error of 1, if its input came in time or not.
        anti_plus, anti_minus: the same where an answer is wrong; ``r_stdp`` alone.
        gap: g, how much earlier targets are to fire than the others, in units of the longest time.
        compete: only the first neuron of each class learns.
        regulation: which thresholds move while training: ``none``; those of ``competition`` within
            the sample's class, above the ones of the layer; or one for each ``neuron``, for good.
        eta: η_θ, step of these, in units of potential.
        w_min, w_max: bounds of weights.
        beta: of a change that is smaller the nearer a weight is to its bound; None for the same
            everywhere.
    """

    name: RuleName = "s2_stdp"
    a_plus: float = 0.01
    a_minus: float = -0.05
    anti_plus: float = 0.0
    anti_minus: float = 0.0
    gap: float = 0.01
    compete: bool = False
    regulation: Regulation = "none"
    eta: float = 0.0
    w_min: float = 0.0
    w_max: float = 1.0
    beta: float | None = None


class Update(NamedTuple):
    """Change of the weights of a neuron: of inputs up to its spike, and of those after it."""

    neuron: int
    plus: float
    minus: float


def first_of(neurons: Sequence[int], t: Sequence[float], v: Sequence[float]) -> int:
    """The neuron that fires first: ties by the larger potential, then by the lower number."""
    return min(neurons, key=lambda n: (t[n], -v[n], n))


def learning(groups: Groups, compete: bool, t: Sequence[float], v: Sequence[float]) -> list[int]:
    """The neurons that learn: all, or the first of each class."""
    if not compete:
        return list(range(groups.count))
    return [first_of(groups.of(c), t, v) for c in range(groups.classes)]


def desired(groups: Groups, gap: float, fired: Sequence[float]) -> tuple[float, float]:
    """When targets and other neurons should fire: around the mean time of those that did.

    T = mean of the times, at most 1 - g/C; targets at T - g (C - 1)/C, others at T + g/C. Over one
    neuron a class the mean of these is T again.

    Args:
        groups: the layer.
        gap: g.
        fired: times of the neurons that learn and fired.
    Source:
        Goupy, Tirilly and Bilasco, Frontiers in Neuroscience 18, 2024.
    """
    C, last = groups.classes, NEVER - gap / groups.classes
    mean = last
    if fired:
        total = 0.0  # in this order: Python's own sum compensates, which the kernel does not
        for time in fired:
            total += time
        mean = min(total / len(fired), last)
    return mean - gap * (C - 1) / C, mean + gap / C


def updates(
    rule: Rule, groups: Groups, y: int, t: Sequence[float], v: Sequence[float]
) -> list[Update]:
    """What each neuron learns from a sample.

    S2-STDP:  e = t - d.    SSTDP:  e = t - min(t, d) of targets, t - max(t, d) of others.
    Both: plus = e a_plus, minus = e a_minus. R-STDP: the first neuron of all is rewarded with
    a_plus, a_minus, or punished with anti_plus, anti_minus.

    Args:
        rule: how.
        groups: the layer.
        y: class of the sample.
        t, v: spike times and potentials.
    Source:
        Liu et al., Frontiers in Neuroscience 15, 2021 (SSTDP); Goupy, Tirilly and Bilasco,
        Frontiers in Neuroscience 18, 2024 (S2-STDP); Mozafari et al., 2018 (R-STDP).
    """
    if rule.name == "r_stdp":
        first = first_of(range(groups.count), t, v)
        right = first in groups.targets(y)
        return [
            Update(first, rule.a_plus, rule.a_minus)
            if right
            else Update(first, rule.anti_plus, rule.anti_minus)
        ]
    chosen = learning(groups, rule.compete, t, v)
    early, late = desired(groups, rule.gap, [t[n] for n in chosen if t[n] < NEVER])
    found = []
    for n in chosen:
        target = n in groups.targets(y)
        goal = early if target else late
        if rule.name == "sstdp":
            goal = min(t[n], goal) if target else max(t[n], goal)
        error = t[n] - goal
        found.append(Update(n, error * rule.a_plus, error * rule.a_minus))
    return found
