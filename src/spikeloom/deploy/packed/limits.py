"""Whole thresholds: for one step, scale, norm and threshold of a counted layer are one comparison.

A layer of weights +-1 sums its spikes to a whole number z. Its neurons, at rest before the only
step, fire where

    rest + gain (scale z + bias) >= v_threshold,   that is   sign(scale) z >= limit
    limit = ceil((v_threshold - rest - gain bias) / (gain |scale|))

for each channel. The limits are computed with fractions, so nothing is rounded: spikes are those of
real numbers. With more steps the potential mixes the sums of several of them, and with a leak it is
no whole number: there scale and norm stay one factor and one shift for each channel.
"""

import math
from dataclasses import replace
from fractions import Fraction

import torch
from torch import Tensor

from spikeloom.functional import Decay
from spikeloom.functional.program import Neurons, Node, Program, Sum


def with_limits(program: Program) -> Program:
    """The program for T = 1 with whole thresholds wherever a neuron has one counted sum."""
    nodes = tuple(_limited(node, program) for node in program.nodes)
    changed = any(new is not old for new, old in zip(nodes, program.nodes, strict=True))
    return replace(program, nodes=nodes, steps=1 if changed else program.steps)


def _limited(node: Node, program: Program) -> Node:
    if not isinstance(node, Sum) or node.neurons is None or node.neurons.kind != "lif":
        return node
    (term, *others), given = node.terms, dict(node.neurons.arguments)
    unit = program.scales[term.source]
    decay = given.get("decay")
    threshold = _channels(given.get("v_threshold", 1.0), node.shape)
    gains = _channels(decay.gain, node.shape) if isinstance(decay, Decay) else None
    exact = math.frexp(unit)[0] == 0.5  # a power of two: its product with a limit is not rounded
    if others or term.coded is None or threshold is None or gains is None or not exact:
        return node
    rest = _number(given.get("v_reset", 0.0) if given.get("reset", "hard") == "hard" else 0.0)
    bound = term.coded.fan_in * (program.levels[term.source] or 1)
    signs, limits = [], []
    for c in range(node.shape[0]):
        factor = gains[c] * Fraction(float(term.coded.scale[c])) * Fraction(unit)
        need = threshold[c] - rest - gains[c] * Fraction(float(node.bias[c]))
        limits.append(_limit(factor, need, bool(given.get("strict", False)), bound))
        signs.append((factor > 0) - (factor < 0))
    whole = torch.tensor(limits, dtype=torch.float32).view(-1, 1, 1) * unit
    neurons = Neurons("lif", {"decay": Decay(1.0), "v_threshold": whole}, node.neurons.name)
    coded = replace(term.coded, scale=torch.tensor(signs, dtype=torch.float32))
    return replace(
        node, terms=(replace(term, coded=coded),), bias=torch.zeros_like(node.bias), neurons=neurons
    )


def _limit(factor: Fraction, need: Fraction, strict: bool, bound: int) -> int:
    """The least whole number z with |factor| z >= need (or > it), within what sums can be."""
    if factor == 0:
        return int(need >= 0 if strict else need > 0)
    ratio = need / abs(factor)
    limit = math.floor(ratio) + 1 if strict else math.ceil(ratio)
    return max(-bound, min(limit, bound + 1))


def _channels(value: float | Tensor, shape: tuple[int, int, int]) -> list[Fraction] | None:
    """The value of each channel; None if it differs within one."""
    if not isinstance(value, Tensor) or value.numel() == 1:
        return [_number(float(value))] * shape[0]
    if tuple(value.shape) != (shape[0], 1, 1):
        return None
    return [_number(number) for number in value.flatten().tolist()]


def _number(value: float) -> Fraction:
    """The float32 that networks compute with."""
    return Fraction(float(torch.tensor(value, dtype=torch.float32)))
