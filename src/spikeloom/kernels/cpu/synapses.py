"""The fast twins of ``functional.synapses`` and ``functional.hetsyn_lif``: the sweeps, compiled.

Currents of a sample stay in registers, tile by tile, while time passes; gradients add up over
samples in the same order for any number of threads. What neurons hear of each other needs all of a
sample at every step, and takes a matrix of currents that fits the cache.
"""

import ctypes
from collections.abc import Iterator
from ctypes import c_double, c_int32, c_int64, c_void_p
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from spikeloom.functional import Decay, HetSynState
from spikeloom.functional.neurons.inputs import wide
from spikeloom.kernels.cpu import native, ops
from spikeloom.kernels.two_pass import calls, passes
from spikeloom.kernels.two_pass.gradients import Passes
from spikeloom.kernels.two_pass.passes import Cells, Ends, Jump, Maybe

PADDING = 16  # of lanes, as in synapses.hpp
DTYPES = (torch.float32, torch.float64)


class Sequence(ctypes.Structure):
    """Where a sequence lies; mirrors ``Sequence`` in synapses.hpp."""

    _fields_ = (("data", c_void_p), ("time", c_int64), ("sample", c_int64))


class SynapsesCall(ctypes.Structure):
    """What one call hands over; mirrors ``SynapsesCall`` in synapses.hpp."""

    _fields_ = (
        *((name, c_int32) for name in ("threads", "wide", "reverse", "unused")),
        *((name, c_int64) for name in ("steps", "batch", "rows", "lanes", "padded")),
        ("x", Sequence),
        ("y", Sequence),
        *((name, c_void_p) for name in ("weight", "keep", "state", "last")),
        *((name, c_void_p) for name in ("grad_weight", "grad_keep")),
    )


class JumpCall(ctypes.Structure):
    """A current of spikes; mirrors ``JumpCall`` in synapses.hpp."""

    _fields_ = (
        *((name, c_void_p) for name in ("keep", "state", "last")),
        ("amount", c_double),
    )


class SpikingCall(ctypes.Structure):
    """What one call of neurons hands over; mirrors ``SpikingCall`` in synapses.hpp."""

    _fields_ = (
        *((name, c_int32) for name in ("threads", "wide", "strict", "detach")),
        *((name, c_int64) for name in ("steps", "batch", "width", "padded")),
        ("threshold", c_double),
        ("x", Sequence),
        ("spike", Sequence),
        ("h", Sequence),
        *((name, c_void_p) for name in ("weight", "keep", "synapses", "first", "synapses_last")),
        ("jumps", JumpCall * 2),
    )


def sums(x_seq: Tensor, w: Tensor, r: Tensor, state: Maybe) -> tuple[Tensor, Tensor]:
    """``passes.sums``: x is summed over in rows, the neurons are the lanes."""
    if not x_seq.numel():
        return passes.sums(x_seq, w, r, state)
    y_seq = x_seq.new_empty(*x_seq.shape[:2], len(w))
    weight, keep = padded(w.t()), padded(r.t())
    last = x_seq.new_empty(x_seq.shape[1], *weight.shape)
    before = None if state is None else padded(state.transpose(1, 2))
    _filter(x_seq, y_seq, weight, keep, before, last)
    return y_seq, last.transpose(1, 2)[:, : len(w)]


def input_errors(
    d_seq: Tensor, w: Tensor, r: Tensor, grad_state: Maybe = None
) -> tuple[Tensor, Maybe]:
    """``passes.input_errors``: the same sums, backwards in time and over neurons."""
    if grad_state is not None or not d_seq.numel():
        return passes.input_errors(d_seq, w, r, grad_state)
    grad_x = d_seq.new_empty(*d_seq.shape[:2], w.shape[1])
    _filter(d_seq, grad_x, padded(w), padded(r), None, None, reverse=True)
    return grad_x, None


def weight_errors(
    x_seq: Tensor,
    d_seq: Tensor,
    w: Tensor,
    r: Tensor,
    state: Maybe = None,
    grad_state: Maybe = None,
) -> tuple[Tensor, Tensor]:
    """``passes.weight_errors``."""
    if state is not None or grad_state is not None or not (x_seq.numel() and d_seq.numel()):
        return passes.weight_errors(x_seq, d_seq, w, r, state, grad_state)
    weight, keep = padded(w.t()), padded(r.t())
    x, d = along(x_seq), along(d_seq)
    grads = [torch.empty_like(weight) for _ in range(2)]
    call = _call(x, d, weight, keep)
    call.grad_weight, call.grad_keep = (grad.data_ptr() for grad in grads)
    native.run("spikeloom_synapses_gradients", call)
    grad_w, grad_r = (grad[:, : len(w)].t().contiguous() for grad in grads)
    return grad_w, grad_r


def spikes(x_seq: Tensor, cells: Cells) -> tuple[Tensor, Tensor, Ends]:
    """``passes.spikes``: who is heard lies in the rows."""
    if not x_seq.numel():
        return passes.spikes(x_seq, cells)
    x, width = along(x_seq), x_seq.shape[2]
    spike_seq, h_seq = (torch.empty(x.shape, dtype=x.dtype) for _ in range(2))
    call, alive = _cells(x, cells, transposed=True)
    call.spike, call.h = at(spike_seq), at(h_seq)
    synapses = first = last = None
    if cells.weight is not None:
        last = x.new_empty(x.shape[1], width, call.padded)
        synapses = None if cells.synapses is None else padded(cells.synapses.transpose(1, 2))
    if cells.spike is not None:
        first = padded(cells.spike)
    call.synapses, call.first, call.synapses_last = map(ops.address, (synapses, first, last))
    ends = []
    for k, jump in enumerate(cells.jumps):
        before = None if jump.state is None else padded(jump.state)
        after = x.new_empty(x.shape[1], call.padded)
        alive += [before, after]
        call.jumps[k].state, call.jumps[k].last = ops.address(before), after.data_ptr()
        ends.append(after[:, :width])
    native.run("spikeloom_synapses_spikes", call)
    current = None if last is None else last.transpose(1, 2)[:, :width]
    return spike_seq, h_seq, Ends(current, tuple(ends))


def errors(
    grad_seq: Tensor, slope_seq: Tensor, cells: Cells, grads: Ends | None = None
) -> tuple[Tensor, Maybe, Ends]:
    """``passes.errors``: who hears lies in the rows."""
    given = () if grads is None else (grads.synapses, *grads.jumps)
    if any(grad is not None for grad in given) or not grad_seq.numel():
        return passes.errors(grad_seq, slope_seq, cells, grads)
    grad, slope = along(grad_seq), along(slope_seq)
    d_seq = torch.empty(grad.shape, dtype=grad.dtype)
    call, _alive = _cells(grad, cells, transposed=False)
    call.spike, call.h = at(d_seq), at(slope)
    native.run("spikeloom_synapses_errors", call)
    return d_seq, None, Ends(None, (None,) * len(cells.jumps))


COMPILED = Passes(sums, input_errors, weight_errors, spikes, errors)
synapses = partial(calls.synapses, by=COMPILED)
hetsyn_lif = partial(calls.hetsyn_lif, by=COMPILED)


def objections(
    x_seq: Tensor, state: Tensor | None = None, *, weight: Tensor, decay: Decay
) -> Iterator[str]:
    """Why the compiled sweeps cannot serve a call; nothing if they can."""
    yield from calls.objections(x_seq, state, weight=weight, decay=decay)
    yield from placed(x_seq, weight=weight, decay=decay.keep, state=state)
    yield from carried(state)


def spiking_objections(
    x_seq: Tensor, state: HetSynState | None = None, **options: Any
) -> Iterator[str]:
    """Why the compiled sweeps cannot serve a call; nothing if they can."""
    yield from calls.spiking_objections(x_seq, state, **options)
    weight, decay = options.get("weight"), options.get("decay")
    leaks = {name: options.get(name) for name in ("reset_decay", "adaptation_decay")}
    keeps = {name: None if leak is None else leak.keep for name, leak in leaks.items()}
    yield from placed(x_seq, weight=weight, decay=None if decay is None else decay.keep, **keeps)
    for part in state or ():
        yield from carried(part)


def placed(x_seq: Tensor, **values: Any) -> Iterator[str]:
    """Whether there are kernels, and all numbers lie where they can read them."""
    if native.OPENED is None:
        yield native.PROBLEM
    if wide(x_seq).dtype not in DTYPES:
        yield f"x_seq is {x_seq.dtype}"
    for name, value in {"x_seq": x_seq, **values}.items():
        if isinstance(value, Tensor) and value.device.type != "cpu":
            yield f"{name} is on {value.device}, not on the CPU"
    if not ops.plain(x_seq):
        yield "x_seq does not hold its data itself, or a dispatch mode watches"


def carried(state: Maybe) -> Iterator[str]:
    """Whether somebody asks for the gradient of a state."""
    if state is not None and state.requires_grad and torch.is_grad_enabled():
        yield "the carried state wants a gradient"


def padded(matrix: Tensor) -> Tensor:
    """Lanes padded with zeros.

    Shape:
        [*, L] -> [*, P], contiguous
    """
    return pad(matrix, (0, -matrix.shape[-1] % PADDING)).contiguous()


def along(x_seq: Tensor) -> Tensor:
    """The sequence if its samples are dense, else a copy."""
    return x_seq if x_seq.shape[2] == 1 or x_seq.stride(2) == 1 else x_seq.contiguous()


def at(x_seq: Tensor) -> Sequence:
    """Where a sequence with dense samples lies."""
    return Sequence(x_seq.data_ptr(), x_seq.stride(0), x_seq.stride(1))


def _call(x: Tensor, y: Tensor, weight: Tensor, keep: Tensor) -> SynapsesCall:
    steps, batch, rows = x.shape
    return SynapsesCall(
        torch.get_num_threads(), x.dtype == torch.float64, 0, 0,
        steps, batch, rows, y.shape[2], weight.shape[1], at(x), at(y),
        weight.data_ptr(), keep.data_ptr(), 0, 0, 0, 0,
    )  # fmt: skip


def _filter(
    x_seq: Tensor,
    y_seq: Tensor,
    weight: Tensor,
    keep: Tensor,
    state: Maybe,
    last: Maybe,
    *,
    reverse: bool = False,
) -> None:
    x = along(x_seq)
    call = _call(x, y_seq, weight, keep)
    call.reverse, call.state, call.last = reverse, ops.address(state), ops.address(last)
    native.run("spikeloom_synapses_sums", call)


def _cells(x: Tensor, cells: Cells, *, transposed: bool) -> tuple[SpikingCall, list[Any]]:
    """The structure with all but the sequences that are written; and tensors it points into."""
    steps, batch, width = x.shape
    weight, keep = (
        None if matrix is None else padded(matrix.t() if transposed else matrix)
        for matrix in (cells.weight, cells.keep)
    )
    call = SpikingCall(
        torch.get_num_threads(), x.dtype == torch.float64, cells.strict, cells.detach,
        steps, batch, width, width + -width % PADDING, cells.v_threshold, at(x),
    )  # fmt: skip
    call.weight, call.keep = ops.address(weight), ops.address(keep)
    alive: list[Any] = [weight, keep]
    for k, jump in enumerate(cells.jumps):
        alive.append(_share(jump, x))
        call.jumps[k].keep, call.jumps[k].amount = alive[-1].data_ptr(), jump.amount
    return call, alive


def _share(jump: Jump, x: Tensor) -> Tensor:
    """The share that is kept, for each lane."""
    keep = torch.as_tensor(jump.keep, dtype=x.dtype).detach()
    return padded(keep.expand(x.shape[2]))
