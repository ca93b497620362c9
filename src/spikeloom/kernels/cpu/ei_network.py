"""Fast twins of ``functional.ei_wake``, ``ei_rates`` and ``ei_sleep``: many steps in one call.

Work is done for spikes alone: a step costs the synapses of the neurons and inputs that fired, and a
row of operations for the neurons; asleep, one for all synapses. Equal to the truth bit for bit.
"""

import ctypes
from collections.abc import Iterator
from ctypes import c_double, c_float, c_int32, c_int64, c_uint64, c_void_p
from typing import Any

import torch
from torch import Tensor

from spikeloom.functional.ei_life import Slept, Woken
from spikeloom.functional.ei_network import AgeSTDP, EICell, EIState, check_p, sources_of
from spikeloom.functional.sleep import Sleep, Totals, drift, ratio
from spikeloom.kernels.cpu import native


class EICall(ctypes.Structure):
    """What one call hands over; mirrors ``EICall`` in ei.hpp."""

    _fields_ = (
        *((name, c_int32) for name in ("threads", "learns")),
        *((name, c_int64) for name in ("inputs", "neurons", "excitatory")),
        *((name, c_float) for name in ("k_syn", "k_m", "k_adapt", "resistance")),
        *((name, c_float) for name in ("v_rest", "v_reset", "v_threshold", "jump")),
        *((name, c_float) for name in ("v_lowest", "v_highest")),
        *((name, c_float) for name in ("threshold_lowest", "threshold_highest")),
        *((name, c_float) for name in ("floor", "ceiling")),
        ("ages", c_int64),
        *((name, c_void_p) for name in ("at_pre", "at_post", "weight")),
        *((name, c_void_p) for name in ("v", "i_syn", "adaptation", "age", "fired", "counts")),
        ("seed", c_uint64),
        ("p", c_void_p),
        *((name, c_int64) for name in ("steps", "samples", "p_step", "start", "stop", "skip")),
        ("number", c_int64),
        *((name, c_double) for name in ("decay", "excited", "inhibited", "tolerance")),
        ("noise", c_float),
        *((name, c_void_p) for name in ("reference", "shift", "log")),
    )


@torch.no_grad()
def ei_wake(
    p_seq: Tensor,
    weight: Tensor,
    state: EIState,
    *,
    cell: EICell,
    rule: AgeSTDP | None,
    seed: int,
    start: int = 0,
    stop: int | None = None,
) -> Woken:
    """:func:`spikeloom.functional.ei_wake`, compiled."""
    T, N, _ = check_p(p_seq, weight)
    weight, state = weight.clone(), _copied(state)
    counts = torch.zeros(N, len(weight), dtype=torch.int64)
    call, _alive = _awake(p_seq, weight, counts, cell, seed)
    _learning(call, rule)
    _stateful(call, state)
    call.start, call.stop = start, T * N if stop is None else stop
    native.run("spikeloom_ei_wake", call)
    return Woken(counts, weight, state)


@torch.no_grad()
def ei_rates(p_seq: Tensor, weight: Tensor, *, cell: EICell, seed: int, skip: int = 0) -> Tensor:
    """:func:`spikeloom.functional.ei_rates`, compiled; samples are shared among threads."""
    _, N, _ = check_p(p_seq, weight)
    counts = torch.zeros(N, len(weight), dtype=torch.int64)
    call, _alive = _awake(p_seq, weight.contiguous(), counts, cell, seed)
    call.skip = skip
    native.run("spikeloom_ei_rates", call)
    return counts


@torch.no_grad()
def ei_sleep(
    weight: Tensor,
    state: EIState,
    *,
    cell: EICell,
    rule: AgeSTDP | None,
    sleep: Sleep,
    start: Totals,
    seed: int,
    number: int = 0,
) -> Slept:
    """:func:`spikeloom.functional.ei_sleep`, compiled."""
    weight, state = weight.clone(), _copied(state)
    by = drift(weight, sleep, start, sources_of(weight, cell))
    tables = [part.contiguous() for part in (by.reference, by.shift, ratio(weight, by.reference))]
    counts = torch.zeros(len(weight), dtype=torch.int64)
    call = _network(weight, counts, cell, seed)
    _learning(call, rule)
    _stateful(call, state)
    call.number, call.stop, call.decay, call.noise = number, sleep.steps, by.decay, sleep.noise
    call.excited, call.inhibited = start.groups.tolist()
    call.tolerance = -1.0 if sleep.sums or sleep.tolerance is None else sleep.tolerance
    call.reference, call.shift, call.log = (part.data_ptr() for part in tables)
    native.run("spikeloom_ei_sleep", call)
    return Slept(call.stop, counts, weight, state)


def objections(
    first: Tensor, second: Any, third: Any = None, *, rule: AgeSTDP | None = None, **options: Any
) -> Iterator[str]:
    """Why the kernels cannot serve a call; nothing if they can."""
    if native.OPENED is None:
        yield native.PROBLEM
    tensors = [part for part in (first, second) if isinstance(part, Tensor)]
    if any(part.dtype != torch.float32 or part.device.type != "cpu" for part in tensors):
        yield "they compute in float32, on the CPU"


def _network(weight: Tensor, counts: Tensor, cell: EICell, seed: int) -> EICall:
    call = EICall(torch.get_num_threads(), 0)
    call.neurons, call.excitatory = len(weight), cell.excitatory
    call.inputs = weight.shape[1] - len(weight)
    call.k_syn, call.k_m, call.k_adapt = 1 / cell.tau_syn, 1 / cell.tau_m, 1 / cell.tau_adapt
    for name in ("resistance", "v_rest", "v_reset", "v_threshold", "jump"):
        setattr(call, name, getattr(cell, name))
    call.v_lowest, call.v_highest = cell.v_bounds
    call.threshold_lowest, call.threshold_highest = cell.threshold_bounds
    call.weight, call.counts, call.seed = weight.data_ptr(), counts.data_ptr(), seed
    return call


def _awake(
    p_seq: Tensor, weight: Tensor, counts: Tensor, cell: EICell, seed: int
) -> tuple[EICall, Tensor]:
    """The call, and the tensor that it points into: a step that is repeated stays one."""
    T, N, P = p_seq.shape
    still = p_seq.stride(0) == 0
    p = p_seq[:1].contiguous() if still else p_seq.contiguous()
    call = _network(weight, counts, cell, seed)
    call.p, call.p_step, call.steps, call.samples = p.data_ptr(), 0 if still else N * P, T, N
    return call, p


def _learning(call: EICall, rule: AgeSTDP | None) -> None:
    if rule is None:
        return
    at_pre, at_post = rule.changes  # kept by the rule
    call.learns, call.floor, call.ceiling, call.ages = 1, rule.floor, rule.ceiling, len(at_pre)
    call.at_pre, call.at_post = at_pre.data_ptr(), at_post.data_ptr()


def _stateful(call: EICall, state: EIState) -> None:
    for name, part in state._asdict().items():
        setattr(call, name, part.data_ptr())


def _copied(state: EIState) -> EIState:
    return EIState(*(part.clone().contiguous() for part in state))


if native.OPENED is not None and native.OPENED.spikeloom_ei_size() != ctypes.sizeof(EICall):
    raise ImportError("EICall differs between ei_network.py and ei.hpp")
