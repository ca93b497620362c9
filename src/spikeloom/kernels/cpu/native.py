"""The compiled library: found and opened once, spoken to through plain C structures.

``OPENED`` is None where there is none, and ``PROBLEM`` then says why. The variable
SPIKELOOM_KERNELS names another library (a sanitizer build, say), or is ``none`` to do without.
"""

import ctypes
import os
from ctypes import POINTER, c_char_p, c_float, c_int, c_int32, c_int64, c_void_p
from pathlib import Path

import torch

from spikeloom.kernels.build import LIBRARY, SOURCES, digest

REBUILD = "python -m spikeloom.kernels.build"


class Value(ctypes.Structure):
    """A number, or values: neuron m has ``data[(m / inner) % count]``."""

    _fields_ = (
        ("data", c_void_p),
        ("inner", c_int64),
        ("count", c_int64),
        ("grad", c_void_p),
        ("number", c_float),
    )


class Leak(ctypes.Structure):
    """A decay: ``gain`` counts if ``keep`` is a number."""

    _fields_ = (("keep", Value), ("gain", c_float), ("decay_input", c_int32))


def _fields(kind: type, names: str) -> list[tuple[str, type]]:
    return [(name, kind) for name in names.split()]


class Call(ctypes.Structure):
    """What one call hands over; mirrors ``Call`` in call.hpp."""

    _fields_ = (
        *_fields(c_int32, "kind dtype trace curve reset detach strict threads"),
        *_fields(c_int64, "steps neurons x_stride grad_stride"),
        *_fields(c_float, "v_reset alpha slope centre side stretch"),
        ("leak", Leak),
        ("second", Leak),
        ("threshold", Value),
        ("beta", Value),
        *_fields(c_void_p, "x v w out v_end w_end saved"),
        *_fields(c_void_p, "grad_out grad_v_end grad_w_end grad_x grad_v grad_w"),
        *_fields(c_void_p, "p spike_sum gain_sum p_end spike_sum_end gain_sum_end"),
        *_fields(c_void_p, "h_sum grad_h_sum"),
    )


SIGNATURES = {
    "spikeloom_forward": (c_int, POINTER(Call)),
    "spikeloom_backward": (c_int, POINTER(Call)),
    "spikeloom_recurrent_forward": (c_int, c_void_p),
    "spikeloom_recurrent_backward": (c_int, c_void_p),
    "spikeloom_recurrent_size": (c_int64,),
    "spikeloom_gather": (c_int, c_void_p),
    "spikeloom_pack_rows": (c_int64, c_void_p),
    "spikeloom_transpose_bits": (None, c_void_p, c_void_p, c_int64, c_int64, c_int32),
    "spikeloom_amd": (c_int,),
    "spikeloom_norm_forward": (c_int, c_void_p),
    "spikeloom_norm_backward": (c_int, c_void_p),
    "spikeloom_norm_size": (c_int64,),
    "spikeloom_maxpool_forward": (c_int, c_void_p),
    "spikeloom_maxpool_backward": (c_int, c_void_p),
    "spikeloom_maxpool_size": (c_int64,),
    "spikeloom_timed_forward": (c_int, c_void_p),
    "spikeloom_timed_backward": (c_int, c_void_p),
    "spikeloom_timed_size": (c_int64,),
    "spikeloom_events_open": (c_void_p, c_void_p),
    "spikeloom_events_feed": (c_int, c_void_p, c_void_p, c_void_p, c_void_p, c_int64),
    "spikeloom_events_advance": (c_int, c_void_p, c_int64),
    "spikeloom_events_counts": (None, c_void_p, c_void_p),
    "spikeloom_events_spikes": (None, c_void_p, c_void_p),
    "spikeloom_events_outputs": (None, c_void_p, c_void_p),
    "spikeloom_events_close": (None, c_void_p),
    "spikeloom_events_size": (c_int64, c_int),
    "spikeloom_synapses_sums": (c_int, c_void_p),
    "spikeloom_synapses_gradients": (c_int, c_void_p),
    "spikeloom_synapses_spikes": (c_int, c_void_p),
    "spikeloom_synapses_errors": (c_int, c_void_p),
    "spikeloom_synapses_size": (c_int64, c_int),
    "spikeloom_shown": (c_int, c_void_p),
    "spikeloom_shown_size": (c_int64,),
    "spikeloom_ei_wake": (c_int, c_void_p),
    "spikeloom_ei_sleep": (c_int, c_void_p),
    "spikeloom_ei_rates": (c_int, c_void_p),
    "spikeloom_ei_size": (c_int64,),
    "spikeloom_first_spikes": (c_int, c_void_p),
    "spikeloom_first_spike_learn": (c_int, c_void_p),
    "spikeloom_first_spike_filters": (c_int, c_void_p),
    "spikeloom_first_spike_size": (c_int64, c_int),
    "spikeloom_pack": (c_int, c_void_p, c_int, c_int64, c_void_p, c_int),
    "spikeloom_unpack": (None, c_void_p, c_int, c_int64, c_void_p, c_int),
    "spikeloom_variant": (c_char_p, c_char_p),
    "spikeloom_sources": (c_char_p,),
    "spikeloom_call_size": (c_int64,),
    "spikeloom_program_run": (c_int, c_void_p, c_int64, c_int),
    "spikeloom_program_size": (c_int64, c_int),
    "spikeloom_program_popcount": (c_int, c_int),
    "spikeloom_use_openmp": (None, c_void_p),
    "spikeloom_tensor": (c_void_p, c_void_p, c_void_p, c_int, c_int64, c_int, c_int),
    "spikeloom_pool_size": (c_int64,),
    "spikeloom_pool_shrink": (c_int64, c_int64),
    "spikeloom_pool_limit": (None, c_int64),
    "spikeloom_pool_poison": (None, c_int),
}


def find(path: Path) -> tuple[ctypes.CDLL | None, str]:
    """Open a library; with None comes the reason."""
    if not path.exists():
        return None, f"the kernels are not compiled: run {REBUILD} (needs a C++ compiler)"
    try:
        opened = ctypes.CDLL(str(path))
        for name, (result, *arguments) in SIGNATURES.items():
            function = getattr(opened, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError) as error:
        return None, f"the compiled kernels do not load ({error}): run {REBUILD}"
    if SOURCES.is_dir() and opened.spikeloom_sources().decode() != digest():
        return None, f"the kernels were compiled from other sources: run {REBUILD}"
    if opened.spikeloom_call_size() != ctypes.sizeof(Call):
        return None, f"the compiled kernels expect other arguments: run {REBUILD}"
    _share_threads(opened)
    return opened, ""


def _share_threads(opened: ctypes.CDLL) -> None:
    """Let the kernels run on torch's own OpenMP threads, where its library has them."""
    name = "libtorch_cpu.so"
    path = Path(torch.__file__).parent / "lib" / name
    if not path.exists():
        return
    try:
        parallel = ctypes.CDLL(str(path)).GOMP_parallel
    except (OSError, AttributeError):
        return
    opened.spikeloom_use_openmp(ctypes.cast(parallel, c_void_p))


def _chosen() -> tuple[ctypes.CDLL | None, str]:
    chosen = os.environ.get("SPIKELOOM_KERNELS")
    if chosen == "none":
        return None, "the variable SPIKELOOM_KERNELS is 'none'"
    return find(Path(chosen) if chosen else LIBRARY)


OPENED, PROBLEM = _chosen()


def opened() -> ctypes.CDLL:
    """The library.

    Raises:
        RuntimeError: there is none; says why.
    """
    if OPENED is None:
        raise RuntimeError(PROBLEM)
    return OPENED


def variant(name: str | None = None) -> str:
    """The instruction set in use; with a name, change to it if this machine can."""
    found: bytes = opened().spikeloom_variant(name.encode() if name else None)
    return found.decode()


def run(function: str, call: ctypes.Structure) -> None:
    """Call an entry point with its structure.

    Raises:
        MemoryError: no memory for the working rows.
    """
    if getattr(opened(), function)(ctypes.byref(call)) != 0:
        raise MemoryError(f"{function}: no memory for its working rows")
