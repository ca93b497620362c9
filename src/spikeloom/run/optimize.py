"""Optimizers and learning-rate schedules by name."""

import fnmatch
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from spikeloom.layers import neuron_values
from spikeloom.registry import register

Schedule = Callable[[float], float]

for _name, _optimizer in {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "nadam": torch.optim.NAdam,
    "rmsprop": torch.optim.RMSprop,
    "adagrad": torch.optim.Adagrad,
}.items():
    register("optimizer", _name, summary=f"torch.optim.{_optimizer.__name__}")(_optimizer)


@register("optimizer", "none")
def none(parameters: Sequence[Any]) -> torch.optim.Optimizer:
    """For learners that change the network themselves."""
    return torch.optim.SGD([nn.Parameter(torch.zeros(0))], lr=0.0)


@dataclass(frozen=True)
class Special:
    """Parameters that are trained otherwise than the rest.

    Args:
        match: patterns as in a shell, on parameter names (``*.bias``); ``neurons`` stands for the
            learnt values of neurons (decays, thresholds, ...), ``norms`` for these and every
            parameter with at most one dimension.
        lr_scale: factor on the learning rate.
        weight_decay: instead of the optimizer's; None keeps that.
    """

    match: Sequence[str]
    lr_scale: float = 1.0
    weight_decay: float | None = None


def groups(model: nn.Module, special: Sequence[Special]) -> list[dict[str, Any]]:
    """Parameter groups: the ordinary ones first, then one for each ``special`` in turn.

    A parameter belongs to the first that matches it.

    Raises:
        ValueError: a pattern matches no parameter.
    """
    left = {name: p for name, p in model.named_parameters() if p.requires_grad}
    everything, own = dict(left), neuron_values(model)

    def matches(name: str, parameter: nn.Parameter, pattern: str) -> bool:
        if pattern in ("neurons", "norms"):
            return name in own or (pattern == "norms" and parameter.dim() <= 1)
        return fnmatch.fnmatch(name, pattern)

    out: list[dict[str, Any]] = []
    for rule in special:
        for pattern in rule.match:
            if not any(matches(name, p, pattern) for name, p in everything.items()):
                raise ValueError(f"the pattern {pattern!r} matches no parameter")
        hits = [n for n, p in left.items() if any(matches(n, p, m) for m in rule.match)]
        group: dict[str, Any] = {"params": [left.pop(name) for name in hits]}
        group["lr_scale"] = rule.lr_scale
        if rule.weight_decay is not None:
            group["weight_decay"] = rule.weight_decay
        out.append(group)
    out.insert(0, {"params": list(left.values()), "lr_scale": 1.0})
    return [group for group in out if group["params"]]


@register("schedule", "constant")
def constant(*, warmup: float = 0.0) -> Schedule:
    """The learning rate stays where it is, after a linear rise over the share ``warmup``."""
    return _after_warmup(warmup, lambda share: 1.0)


@register("schedule", "cosine")
def cosine(
    *, warmup: float = 0.0, floor: float = 0.0, over: float = 1.0, until: float = 1.0
) -> Schedule:
    """Half a cosine from 1 to ``floor``, after a linear rise over the share ``warmup``.

    factor = floor + (1 - floor) (1 + cos(π share)) / 2

    Args:
        warmup: share of the phase in which the learning rate rises linearly.
        floor: where the cosine ends.
        over: share of the phase at which it would end.
        until: share of the phase from which on the learning rate stays as it is.
    Raises:
        ValueError: floor outside [0, 1], or over or until not in (warmup, 1].
    """
    if not 0 <= floor <= 1:
        raise ValueError(f"floor must be in [0, 1], got {floor}")
    if not warmup < over <= 1 or not warmup < until <= 1:
        raise ValueError(
            "over and until are shares of the phase after the warmup, at most 1, got "
            f"{over} and {until}, warmup {warmup}"
        )
    scale, last = (1 - warmup) / (over - warmup), (min(until, over) - warmup) / (1 - warmup)

    def falling(share: float) -> float:
        turned = min(share, last) * scale
        return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * turned))

    return _after_warmup(warmup, falling)


@register("schedule", "linear")
def linear(*, warmup: float = 0.0, floor: float = 0.0) -> Schedule:
    """A line from 1 to ``floor``, after a linear rise over the share ``warmup``."""
    if not 0 <= floor <= 1:
        raise ValueError(f"floor must be in [0, 1], got {floor}")
    return _after_warmup(warmup, lambda share: 1 - (1 - floor) * share)


@register("schedule", "exponential")
def exponential(*, floor: float, warmup: float = 0.0) -> Schedule:
    """From 1 down to ``floor`` by the same factor every update, after a linear rise.

    factor = floor^share, so that lr goes from t_max = ``lr`` to t_min = floor t_max.

    Args:
        floor: t_min / t_max, in (0, 1].
        warmup: share of the phase in which the learning rate rises linearly.
    """
    if not 0 < floor <= 1:
        raise ValueError(f"floor must be in (0, 1], got {floor}")
    return _after_warmup(warmup, lambda share: floor**share)


@register("schedule", "steps")
def steps(
    *, at: Sequence[float], gamma: float | Sequence[float] = 0.1, warmup: float = 0.0
) -> Schedule:
    """Multiplied by ``gamma`` at each share of the phase named in ``at`` (0.5: half way).

    Args:
        at: shares of the phase, between 0 and 1.
        gamma: one factor for all of them, or a factor for each, in the same order.
        warmup: share of the phase in which the learning rate rises linearly.
    Raises:
        ValueError: a share is out of range, or there are not as many factors as shares.
    """
    if any(not 0 < mark < 1 for mark in at):
        raise ValueError(f"at holds shares of the phase between 0 and 1, got {sorted(at)}")
    factors = [float(gamma)] * len(at) if isinstance(gamma, int | float) else [*gamma]
    if len(factors) != len(at):
        raise ValueError(
            f"gamma holds {len(factors)} factors for {len(at)} shares in at; give one for each, "
            "or one number for all"
        )
    marks = [*zip(at, factors, strict=True)]
    return _after_warmup(warmup, lambda share: math.prod(by for mark, by in marks if share >= mark))


def _after_warmup(warmup: float, rest: Schedule) -> Schedule:
    if not 0 <= warmup < 1:
        raise ValueError(f"warmup is a share of the phase in [0, 1), got {warmup}")

    def factor(share: float) -> float:
        if share < warmup:
            return max(share / warmup, 1e-3)
        return rest((share - warmup) / (1 - warmup))

    return factor
