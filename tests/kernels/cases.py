"""The options of a neuron call, and rows of them in which every pair of values meets."""

import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from spikeloom.functional import (
    Arctan,
    Decay,
    Dspike,
    Exponential,
    FastSigmoid,
    Gaussian,
    MultiGaussian,
    Rectangle,
    Sigmoid,
    StraightThrough,
    Triangle,
)

SHAPES = {
    "one": (1, 1, 1),
    "one step": (1, 3, 37),
    "odd": (5, 3, 13),
    "flat": (7, 19),
    "image": (4, 2, 3, 5, 7),
    "channels last": (4, 2, 3, 5, 7),
    "samples last": (4, 5, 6),
    "every second step": (4, 3, 21),
    "constant": (5, 2, 3, 4),
    "gaps": (4, 3, 5),
    "empty batch": (4, 0, 3),
    "shared": (9, 4, 3700),  # enough for two threads
}
SHORT = 2  # steps of the exact lane: products of gradients and potentials stay within 24 bits
VALUES = ("number", "scalar", "one", "channel", "neuron", "last", "between", "all")
SPIKING = {
    "reset": (("hard", 0.0), ("hard", -0.25), ("soft", 0.0), ("none", 0.0)),
    "detach_reset": (False, True),
    "strict": (False, True),
    "v_threshold": VALUES,
}
SMOOTH = (
    Arctan(), Arctan(3.0, 0.5), Dspike(), Dspike(0.5, 2.0, 10.0), FastSigmoid(), Sigmoid(),
    Gaussian(), MultiGaussian(3.0, 2.0), Exponential(), Triangle(), Triangle(0.7),
)  # fmt: skip
DYADIC = (Rectangle(), Rectangle(2.0, 0.5), Rectangle(0.5), StraightThrough(0.5))
COMMON = {
    "shape": tuple(SHAPES),
    "dtype": (torch.float32, torch.bfloat16),
    "keep": VALUES,
    "decay_input": (False, True),
    "state": (None, "given", "learnt"),
    "loss": ("spikes", "state", "both", "sum"),
    "memory": ("auto", "low", "off"),
    "threads": (1, 2),
    "variant": ("avx512", "avx2", "baseline"),
}
OPTIONS = {
    "lif": COMMON | SPIKING,
    "lif_mean": COMMON | SPIKING,
    "ternary_lif": COMMON | SPIKING | {"gap": VALUES},
    "ternary_spike": COMMON
    | SPIKING
    | {"reset": (("hard", 0.0), ("soft", 0.0), ("none", 0.0)), "amplitude": VALUES},
    "alif": COMMON
    | SPIKING
    | {"second": VALUES, "second_decay_input": (False, True), "beta": VALUES},
    "cuba_lif": COMMON | SPIKING | {"second": VALUES, "second_decay_input": (False, True)},
    "li": COMMON,
}


def covering(options: dict[str, tuple[Any, ...]], seed: int) -> list[dict[str, Any]]:
    """Rows such that any two values of any two options meet in one of them."""
    names = list(options)
    draw = random.Random(seed)
    left = {
        (a, i, b, j)
        for a, b in itertools.combinations(range(len(names)), 2)
        for i in range(len(options[names[a]]))
        for j in range(len(options[names[b]]))
    }
    rows = []
    while left:
        a, i, b, j = min(draw.sample(sorted(left), 1))
        row: dict[int, int] = {a: i, b: j}
        for axis in draw.sample(range(len(names)), len(names)):
            if axis not in row:
                choices = list(range(len(options[names[axis]])))
                draw.shuffle(choices)
                row[axis] = max(choices, key=lambda c: _gain(row, axis, c, left))
        met = itertools.combinations(sorted(row), 2)
        left -= {(p, row[p], q, row[q]) for p, q in met}
        rows.append({names[axis]: options[names[axis]][at] for axis, at in row.items()})
    return rows


def _gain(row, axis, choice, left):
    pairs = ((min(axis, b), max(axis, b)) for b in row)
    of = row | {axis: choice}
    return sum((a, of[a], b, of[b]) in left for a, b in pairs)


@dataclass
class Draw:
    """Tensors of a case, all from one generator; ``exact``: on a dyadic grid."""

    exact: bool
    dtype: torch.dtype
    generator: torch.Generator
    leaves: dict[str, Tensor] = field(default_factory=dict)

    def numbers(self, shape: tuple[int, ...], scale: float = 2.0, shift: float = 0.3) -> Tensor:
        if self.exact:
            whole = torch.randint(-6, 7, shape, generator=self.generator)
            return (whole / 2).to(self.dtype)
        return (scale * torch.randn(shape, generator=self.generator) + shift).to(self.dtype)

    def between(self, shape: tuple[int, ...], low: float, high: float) -> Tensor:
        if self.exact:
            return torch.full(shape, 0.5)
        return low + (high - low) * torch.rand(shape, generator=self.generator)

    def leaf(self, name: str, tensor: Tensor) -> Tensor:
        self.leaves[name] = tensor.requires_grad_()
        return tensor

    def value(self, name: str, kind: str, step: tuple[int, ...], low: float, high: float):
        if kind == "number":
            return float(self.between((), low, high))
        return self.leaf(name, self.between(_value_shape(kind, step), low, high))


def _value_shape(kind: str, step: tuple[int, ...]) -> tuple[int, ...]:
    inner = step[1:]
    match kind:
        case "scalar":
            return ()
        case "one":
            return (1,) * len(step)
        case "channel":
            return (*inner[:1], *(1 for _ in inner[1:]))
        case "neuron":
            return inner
        case "last":
            return step[-1:]
        case "between":  # per sample and last axis: constant along those in between
            return (step[0], *(1 for _ in inner[:-1]), *inner[-1:])
    return step


def sequence(draw: Draw, name: str) -> Tensor:
    """The input in the layout that its shape is named for, requiring gradients."""
    T, *step = SHAPES[name]
    T = min(T, SHORT) if draw.exact else T
    match name:
        case "channels last":
            x = draw.numbers((T * step[0], *step[1:])).to(memory_format=torch.channels_last)
            return draw.leaf("x", x.view(T, *step))
        case "samples last":
            return draw.leaf("x", draw.numbers((T, *step[::-1]))).transpose(1, 2)
        case "every second step":
            return draw.leaf("x", draw.numbers((2 * T, *step)))[::2]
        case "constant":
            return draw.leaf("x", draw.numbers(tuple(step))).expand(T, *step)
        case "gaps":
            return draw.leaf("x", draw.numbers((T, *step[:-1], step[-1] + 2)))[..., :-2]
    return draw.leaf("x", draw.numbers((T, *step)))


STATES = {
    "lif": 1, "lif_mean": 1, "ternary_lif": 1, "ternary_spike": 1, "li": 1, "alif": 2,
    "cuba_lif": 2,
}  # fmt: skip


def arguments(op: str, row: dict[str, Any], draw: Draw) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and keyword arguments of a call."""
    x_seq = sequence(draw, row["shape"])
    step = tuple(x_seq.shape[1:])
    states = None
    if row["state"]:
        states = [draw.numbers(step, 0.5, 0.0) for _ in range(STATES[op])]
        if row["state"] == "learnt":
            states = [draw.leaf(f"state {k}", state) for k, state in enumerate(states)]
        states = states[0] if len(states) == 1 else tuple(states)
    options: dict[str, Any] = {
        "decay": Decay(draw.value("keep", row["keep"], step, 0.3, 0.95), row["decay_input"])
    }
    if op in ("alif", "cuba_lif"):
        keep = draw.value("second", row["second"], step, 0.3, 0.95)
        name = "synapse" if op == "cuba_lif" else "adaptation_decay"
        options[name] = Decay(keep, row["second_decay_input"])
    if op == "alif":
        options["beta"] = draw.value("beta", row["beta"], step, 0.1, 0.6)
    if op == "ternary_lif":
        options["gap"] = draw.value("gap", row["gap"], step, 0.3, 1.5)
    if op == "ternary_spike":
        options["amplitude"] = draw.value("amplitude", row["amplitude"], step, 0.5, 1.5)
    if op != "li":
        options["reset"], options["v_reset"] = row["reset"]
        options["v_threshold"] = draw.value("v_threshold", row["v_threshold"], step, 0.5, 1.2)
        options |= {name: row[name] for name in ("detach_reset", "strict", "surrogate")}
    if op == "ternary_spike":
        del options["v_reset"]  # between two thresholds it is 0
    return (x_seq, states), options


Run = Callable[..., tuple[Tensor, *tuple[Any, ...]]]


def outcome(run: Run, op: str, row: dict[str, Any], exact: bool, seed: int):
    """Output, states and gradients of a call."""
    draw = Draw(exact, row["dtype"], torch.Generator().manual_seed(seed))
    (x_seq, states), options = arguments(op, row, draw)
    out, *more = run(x_seq, states, **options)
    after = [part for each in more for part in ((each,) if isinstance(each, Tensor) else each)]
    incoming = Draw(exact, row["dtype"], torch.Generator().manual_seed(seed + 1))
    grads = [incoming.numbers(tuple(part.shape), 1.0, 0.0) for part in (out, *after)]
    parts = (out, *after)
    chosen = {"spikes": [0], "state": range(1, len(parts)), "both": range(len(parts))}
    if row["loss"] == "sum":
        total = out.sum()
    else:
        total = sum((parts[k] * grads[k]).sum() for k in chosen[row["loss"]])
    names = list(draw.leaves)
    found = torch.autograd.grad(total, [draw.leaves[n] for n in names], allow_unused=True)
    return out.detach(), [s.detach() for s in after], dict(zip(names, found, strict=True))
