"""The fast twins of ``functional.first_spike``: equal to the bit, event by event.

Weights go over in rows of an input each, so that an event adds one row to all potentials. Samples
that learn from nothing are shared among threads; learning is one sample after the other.
"""

import ctypes
from collections.abc import Iterator
from ctypes import c_double, c_int32, c_int64, c_void_p

import torch
from torch import Tensor

from spikeloom.functional.first_spike import Filters, FirstSpikeLayer, Groups, Rule
from spikeloom.functional.first_spike.rules import RULES
from spikeloom.kernels.cpu import native, ops
from spikeloom.kernels.cpu.synapses import padded

REGULATIONS = ("none", "competition", "neuron")


class FirstSpikeCall(ctypes.Structure):
    """What a forward pass hands over; mirrors ``FirstSpikeCall`` in first_spike.hpp."""

    _fields_ = (
        *((name, c_int32) for name in ("threads", "strict")),
        *((name, c_int64) for name in ("samples", "inputs", "outputs", "padded", "limit_stride")),
        *((name, c_void_p) for name in ("times", "weight", "limit", "fired", "v")),
    )


class FirstSpikeTraining(ctypes.Structure):
    """What learning hands over; mirrors ``FirstSpikeTraining`` in first_spike.hpp."""

    _fields_ = (
        *((name, c_int32) for name in ("rule", "regulation", "compete", "damped")),
        *((name, c_int64) for name in ("samples", "inputs", "classes", "size", "spared", "padded")),
        *(
            (name, c_double)
            for name in (
                *("a_plus", "a_minus", "anti_plus", "anti_minus", "gap", "eta"),
                *("w_min", "w_max", "beta"),
            )
        ),
        *((name, c_void_p) for name in ("times", "y", "dropped", "weight", "threshold", "own")),
        *((name, c_void_p) for name in ("total", "fired", "v")),
    )


class FilterTraining(ctypes.Structure):
    """What filters that learn hand over; mirrors ``FilterTraining`` in first_spike.hpp."""

    _fields_ = (
        *((name, c_int64) for name in ("samples", "inputs", "filters", "padded")),
        *((name, c_double) for name in ("rate", "eta", "goal", "least")),
        *((name, c_void_p) for name in ("times", "weight", "threshold", "winner")),
    )


def first_spikes(
    t: Tensor, weight: Tensor, threshold: Tensor, *, strict: bool = True
) -> tuple[Tensor, Tensor]:
    """:func:`spikeloom.functional.first_spike.first_spikes`, samples shared among threads."""
    t, rows, limit = t.contiguous(), padded(weight.t()), threshold.contiguous()
    fired = t.new_empty(len(t), len(weight))
    v = torch.empty(fired.shape, dtype=torch.float64)
    call = FirstSpikeCall(
        threads=torch.get_num_threads(), strict=strict, samples=len(t), inputs=t.shape[1],
        outputs=len(weight), padded=rows.shape[1],
        limit_stride=len(weight) if limit.dim() == 2 else 0, times=t.data_ptr(),
        weight=rows.data_ptr(), limit=limit.data_ptr(), fired=fired.data_ptr(), v=v.data_ptr(),
    )  # fmt: skip
    native.run("spikeloom_first_spikes", call)
    return fired, v


@torch.no_grad()
def first_spike_learn(
    t: Tensor,
    y: Tensor,
    layer: FirstSpikeLayer,
    *,
    groups: Groups,
    rule: Rule,
    dropped: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """:func:`spikeloom.functional.first_spike.first_spike_learn`, a batch in one call."""
    t, y, rows = t.contiguous(), y.contiguous(), padded(layer.weight.t())
    gone = None if dropped is None else dropped.contiguous()
    fired = t.new_empty(len(t), groups.count)
    v = torch.empty(fired.shape, dtype=torch.float64)
    numbers = {
        name: getattr(rule, name)
        for name in ("a_plus", "a_minus", "anti_plus", "anti_minus", "gap", "eta", "w_min", "w_max")
    }
    call = FirstSpikeTraining(
        rule=RULES.index(rule.name), regulation=REGULATIONS.index(rule.regulation),
        compete=rule.compete, damped=rule.beta is not None, samples=len(t), inputs=t.shape[1],
        classes=groups.classes, size=groups.size, spared=groups.spared, padded=rows.shape[1],
        beta=rule.beta or 0.0, times=t.data_ptr(), y=y.data_ptr(), dropped=ops.address(gone),
        weight=rows.data_ptr(), threshold=layer.threshold.data_ptr(), own=layer.own.data_ptr(),
        total=ops.address(layer.total), fired=fired.data_ptr(), v=v.data_ptr(), **numbers,
    )  # fmt: skip
    native.run("spikeloom_first_spike_learn", call)
    layer.weight.copy_(rows[:, : groups.count].t())
    return fired, v


@torch.no_grad()
def learn_filters(t: Tensor, weight: Tensor, threshold: Tensor, *, how: Filters) -> Tensor:
    """:func:`spikeloom.functional.first_spike.learn_filters`, all patches in one call."""
    t, rows = t.contiguous(), padded(weight.t())
    winner = torch.empty(len(t), dtype=torch.int64)
    call = FilterTraining(
        samples=len(t), inputs=t.shape[1], filters=len(weight), padded=rows.shape[1],
        rate=how.rate, eta=how.eta, goal=how.goal, least=how.least, times=t.data_ptr(),
        weight=rows.data_ptr(), threshold=threshold.data_ptr(), winner=winner.data_ptr(),
    )  # fmt: skip
    native.run("spikeloom_first_spike_filters", call)
    weight.copy_(rows[:, : len(weight)].t())
    return winner


def objections(
    t: Tensor, weight: Tensor, threshold: Tensor, *, strict: bool = True
) -> Iterator[str]:
    """Why the kernel cannot serve a forward pass; nothing if it can."""
    yield from _placed(t=t, weight=weight, threshold=threshold)
    if t.dim() != 2 or weight.dim() != 2 or threshold.shape[-1] != len(weight):
        yield "t is not [B, I], weight not [O, I], or threshold not of O"


def learning_objections(
    t: Tensor,
    y: Tensor,
    layer: FirstSpikeLayer,
    *,
    groups: Groups,
    rule: Rule,
    dropped: Tensor | None = None,
) -> Iterator[str]:
    """Why the kernel cannot serve a call that learns; nothing if it can."""
    given = {"t": t, "weight": layer.weight, "threshold": layer.threshold, "own": layer.own}
    yield from _placed(**given, **({} if layer.total is None else {"total": layer.total}))
    if any(not part.is_contiguous() for part in (layer.threshold, layer.own)):
        yield "thresholds are not dense"
    known = not len(y) or 0 <= int(y.min()) <= int(y.max()) < groups.classes
    if y.dtype != torch.int64 or not known:
        yield f"y is {y.dtype} and must hold classes 0..{groups.classes - 1} as int64"
    if layer.weight.shape != (groups.count, t.shape[1]):
        yield f"weight {tuple(layer.weight.shape)} is not [{groups.count}, {t.shape[1]}]"


def filter_objections(
    t: Tensor, weight: Tensor, threshold: Tensor, *, how: Filters
) -> Iterator[str]:
    """Why the kernel cannot serve filters that learn; nothing if it can."""
    yield from _placed(t=t, weight=weight, threshold=threshold)
    if not threshold.is_contiguous():
        yield "threshold is not dense"


def _placed(**values: Tensor) -> Iterator[str]:
    if native.OPENED is None:
        yield native.PROBLEM
    for name, value in values.items():
        if value.device.type != "cpu" or value.dtype != torch.float32:
            yield f"{name} is {value.dtype} on {value.device}, not float32 on the CPU"
    if not all(ops.plain(value) for value in values.values()):
        yield "a tensor does not hold its data itself, or a dispatch mode watches"
