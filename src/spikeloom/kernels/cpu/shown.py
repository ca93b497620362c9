"""The fast twin of ``functional.diehl_cook.shown``: presentations in one call, sparse in spikes."""

import ctypes
from collections.abc import Iterator
from ctypes import c_double, c_float, c_int32, c_int64, c_uint64, c_void_p

import torch
from torch import Tensor
from torch.nn.functional import pad

from spikeloom.functional.decay import exponential
from spikeloom.functional.diehl_cook import Competing, Learning, Shown, check_shown, probability
from spikeloom.kernels.cpu import native
from spikeloom.kernels.cpu.synapses import padded


class ShownCall(ctypes.Structure):
    """What one call hands over; mirrors ``ShownCall`` in shown.hpp."""

    _fields_ = (
        *((name, c_int32) for name in ("threads", "learns", "nearest", "one_spike")),
        *((name, c_int64) for name in ("samples", "inputs", "padded", "steps")),
        *((name, c_int64) for name in ("refractory", "least", "most")),
        ("seed", c_uint64),
        *((name, c_float) for name in ("keep", "rest", "reset", "threshold", "inhibition")),
        *((name, c_float) for name in ("theta_step", "theta_keep", "a_plus", "a_minus")),
        *((name, c_float) for name in ("keep_plus", "keep_minus", "low", "high")),
        ("total", c_double),
        *((name, c_void_p) for name in ("x", "rate", "w", "theta", "counts")),
    )


def shown(
    x: Tensor,
    w: Tensor,
    theta: Tensor,
    T: int,
    seed: int,
    cells: Competing,
    learning: Learning | None = None,
) -> Shown:
    """:func:`spikeloom.functional.diehl_cook.shown`, compiled."""
    check_shown(x, w, theta, T)
    x = x.contiguous()
    rows = padded(w.t())
    rows = rows.clone() if rows.data_ptr() == w.data_ptr() else rows
    limits = pad(theta, (0, rows.shape[1] - len(theta)), value=torch.inf).clone()
    counts = x.new_zeros(len(x), rows.shape[1])
    rate = torch.tensor([probability(cells, showing) for showing in range(cells.most)])
    if x.numel() and w.numel():
        call = _call(x, rows, T, seed, cells, learning)
        call.x, call.rate, call.w = x.data_ptr(), rate.data_ptr(), rows.data_ptr()
        call.theta, call.counts = limits.data_ptr(), counts.data_ptr()
        native.run("spikeloom_shown", call)
    return Shown(rows[:, : len(w)].t().contiguous(), limits[: len(w)], counts[:, : len(w)])


def objections(
    x: Tensor,
    w: Tensor,
    theta: Tensor,
    T: int,
    seed: int,
    cells: Competing,
    learning: Learning | None = None,
) -> Iterator[str]:
    """Why the kernel cannot serve a call; nothing if it can."""
    if native.OPENED is None:
        yield native.PROBLEM
    for name, value in {"x": x, "w": w, "theta": theta}.items():
        if value.dtype != torch.float32 or value.device.type != "cpu":
            yield f"{name} is {value.dtype} on {value.device}, not float32 on the CPU"
    if learning and not learning.rule.bounds.additive:
        yield "changes depend on the weight"
    if learning and learning.rule.coincidence != "counts":
        yield "spikes in one step are no pair"


def _call(
    x: Tensor, rows: Tensor, T: int, seed: int, cells: Competing, learning: Learning | None
) -> ShownCall:
    samples, inputs = x.shape
    call = ShownCall(
        torch.get_num_threads(), learning is not None, 0, cells.one_spike,
        samples, inputs, rows.shape[1], T, cells.refractory, cells.least, cells.most, seed,
        exponential(cells.tau, dt=cells.dt).keep, cells.v_rest, cells.v_reset, cells.v_threshold,
        cells.inhibition, cells.theta_step, exponential(cells.tau_theta, dt=cells.dt).keep,
    )  # fmt: skip
    if learning:
        rule = learning.rule
        call.nearest = rule.pairing == "nearest"
        call.a_plus, call.a_minus = rule.a_plus, rule.a_minus
        call.keep_plus, call.keep_minus = rule.pre.decay.keep, rule.post.decay.keep
        call.low, call.high, call.total = rule.bounds.low, rule.bounds.high, learning.total
    return call


def _check_size() -> None:
    opened = native.OPENED
    if opened is not None and opened.spikeloom_shown_size() != ctypes.sizeof(ShownCall):
        raise ImportError("ShownCall differs between shown.py and shown.hpp")


_check_size()
