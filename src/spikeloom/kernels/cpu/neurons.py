"""The fast twins of ``functional.neurons``: same names, same arguments, same results."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from spikeloom.functional import (
    ALIFState,
    CubaState,
    Decay,
    Reset,
    Smooth,
    Surrogate,
    Value,
    check_sequence,
)
from spikeloom.functional.neurons.alif import DEFAULT_ADAPTATION
from spikeloom.functional.neurons.inputs import check_state, misfit
from spikeloom.functional.neurons.lif import DEFAULT_DECAY, DEFAULT_SURROGATE
from spikeloom.kernels.cpu import native, ops, potentials
from spikeloom.kernels.cpu.curves import CURVES, numbers
from spikeloom.kernels.cpu.ops import NOTHING, POTENTIAL, ROUNDED, Numbers, Options, Values
from spikeloom.kernels.setting import current

RESETS = {"hard": 0, "soft": 1, "none": 2}
DECAYS = ("decay", "synapse", "adaptation_decay")
ONE_POTENTIAL = ("lif", "ternary_lif", "ternary_spike")  # what may keep it for the backward
VALUES = ("v_threshold", "beta", "gap", "amplitude")


def lif(
    x_seq: Tensor,
    v: Tensor | None = None,
    *,
    decay: Decay = DEFAULT_DECAY,
    v_threshold: Value = 1.0,
    reset: Reset = "hard",
    v_reset: float = 0.0,
    detach_reset: bool = False,
    surrogate: Surrogate | Smooth = DEFAULT_SURROGATE,
    strict: bool = False,
) -> tuple[Tensor, Tensor]:
    """:func:`spikeloom.functional.lif`, fused over time."""
    out, v, _ = _spiking(
        "lif", x_seq, (v, None), (decay, None), (v_threshold, 0.0),
        reset, v_reset, detach_reset, surrogate, strict,
    )  # fmt: skip
    return out, v


def ternary_lif(
    x_seq: Tensor,
    v: Tensor | None = None,
    *,
    decay: Decay = DEFAULT_DECAY,
    v_threshold: Value = 1.0,
    gap: Value = 1.0,
    reset: Reset = "hard",
    v_reset: float = 0.0,
    detach_reset: bool = False,
    surrogate: Surrogate | Smooth = DEFAULT_SURROGATE,
    strict: bool = False,
) -> tuple[Tensor, Tensor]:
    """:func:`spikeloom.functional.ternary_lif`, fused over time."""
    out, v, _ = _spiking(
        "ternary_lif", x_seq, (v, None), (decay, None), (v_threshold, gap),
        reset, v_reset, detach_reset, surrogate, strict,
    )  # fmt: skip
    return out, v


def ternary_spike(
    x_seq: Tensor,
    v: Tensor | None = None,
    *,
    decay: Decay = DEFAULT_DECAY,
    v_threshold: Value = 1.0,
    amplitude: Value = 1.0,
    reset: Reset = "hard",
    detach_reset: bool = False,
    surrogate: Surrogate | Smooth = DEFAULT_SURROGATE,
    strict: bool = False,
) -> tuple[Tensor, Tensor]:
    """:func:`spikeloom.functional.ternary_spike`, fused over time."""
    out, v, _ = _spiking(
        "ternary_spike", x_seq, (v, None), (decay, None), (v_threshold, amplitude),
        reset, 0.0, detach_reset, surrogate, strict,
    )  # fmt: skip
    return out, v


def lif_mean(
    x_seq: Tensor,
    v: Tensor | None = None,
    *,
    decay: Decay = DEFAULT_DECAY,
    v_threshold: Value = 1.0,
    reset: Reset = "hard",
    v_reset: float = 0.0,
    detach_reset: bool = False,
    surrogate: Surrogate | Smooth = DEFAULT_SURROGATE,
    strict: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """:func:`spikeloom.functional.lif_mean`, fused over time."""
    call = _call(
        "lif", x_seq, (v, None), (decay, None), (v_threshold, 0.0),
        reset, v_reset, detach_reset, surrogate, strict,
    )  # fmt: skip
    return potentials.run(*call)


def alif(
    x_seq: Tensor,
    state: tuple[Tensor, Tensor] | None = None,
    *,
    decay: Decay = DEFAULT_DECAY,
    adaptation_decay: Decay = DEFAULT_ADAPTATION,
    beta: Value = 0.2,
    v_threshold: Value = 1.0,
    reset: Reset = "hard",
    v_reset: float = 0.0,
    detach_reset: bool = False,
    surrogate: Surrogate | Smooth = DEFAULT_SURROGATE,
    strict: bool = False,
) -> tuple[Tensor, ALIFState]:
    """:func:`spikeloom.functional.alif`, fused over time."""
    out, v, a = _spiking(
        "alif", x_seq, state or (None, None), (decay, adaptation_decay), (v_threshold, beta),
        reset, v_reset, detach_reset, surrogate, strict,
    )  # fmt: skip
    assert a is not None
    return out, ALIFState(v, a)


def cuba_lif(
    x_seq: Tensor,
    state: tuple[Tensor, Tensor] | None = None,
    *,
    synapse: Decay = DEFAULT_DECAY,
    decay: Decay = DEFAULT_DECAY,
    v_threshold: Value = 1.0,
    reset: Reset = "hard",
    v_reset: float = 0.0,
    detach_reset: bool = False,
    surrogate: Surrogate | Smooth = DEFAULT_SURROGATE,
    strict: bool = False,
) -> tuple[Tensor, CubaState]:
    """:func:`spikeloom.functional.cuba_lif`, fused over time."""
    i, v = state or (None, None)
    out, v, i = _spiking(
        "cuba_lif", x_seq, (v, i), (decay, synapse), (v_threshold, 0.0),
        reset, v_reset, detach_reset, surrogate, strict,
    )  # fmt: skip
    assert i is not None
    return out, CubaState(i, v)


def li(
    x_seq: Tensor, v: Tensor | None = None, *, decay: Decay = DEFAULT_DECAY
) -> tuple[Tensor, Tensor]:
    """:func:`spikeloom.functional.li`, fused over time."""
    check_sequence(x_seq)
    keep, keep_number, gain = leak(decay)
    found = ops.run(
        "li", x_seq, state_for(x_seq, v), None, Values(keep), Numbers(keep_number, gain),
        Options(decay_input=int(decay.decay_input)),
    )  # fmt: skip
    return found[0], found[1]


def _spiking(
    kind: str,
    x_seq: Tensor,
    states: tuple[Tensor | None, Tensor | None],
    decays: tuple[Decay, Decay | None],
    values: tuple[Value, Value],
    reset: str,
    v_reset: float,
    detach_reset: bool,
    surrogate: Surrogate | Smooth,
    strict: bool,
) -> tuple[Tensor, Tensor, Tensor | None]:
    call = _call(
        kind, x_seq, states, decays, values, reset, v_reset, detach_reset, surrogate, strict
    )
    return ops.run(kind, *call)


def _call(
    kind: str,
    x_seq: Tensor,
    states: tuple[Tensor | None, Tensor | None],
    decays: tuple[Decay, Decay | None],
    values: tuple[Value, Value],
    reset: str,
    v_reset: float,
    detach_reset: bool,
    surrogate: Surrogate | Smooth,
    strict: bool,
) -> tuple[Tensor, Tensor | None, Tensor | None, Values, Numbers, Options]:
    """What ``ops.run`` takes."""
    check_sequence(x_seq)
    first, second = decays
    keep, keep_number, gain = leak(first)
    keep2, keep2_number, gain2 = (None, 0.0, 1.0) if second is None else leak(second)
    (threshold, threshold_number), (beta, beta_number) = map(number_or_tensor, values)
    tensors = Values(keep, keep2, threshold, beta)
    v, w = (state_for(x_seq, state) for state in states)
    learns_keep = keep is not None and keep.requires_grad and first.decay_input
    return (
        x_seq, v, w, tensors,
        Numbers(
            keep_number, gain, keep2_number, gain2, threshold_number, beta_number, float(v_reset),
            *numbers(surrogate),
        ),
        Options(
            RESETS[reset], int(detach_reset), int(strict), CURVES[type(surrogate)],
            int(first.decay_input), int(second is not None and second.decay_input),
            _trace(kind, x_seq, (v, *tensors), learns_keep),
        ),
    )  # fmt: skip


def _trace(kind: str, x_seq: Tensor, others: tuple[Tensor | None, ...], reads_x: bool) -> int:
    """What to keep for the backward; ``reads_x``: it needs the input in any case."""
    if kind not in ONE_POTENTIAL:
        return NOTHING
    needs = torch.is_grad_enabled() and (
        x_seq.requires_grad or any(t is not None and t.requires_grad for t in others)
    )
    memory = current().memory
    if not needs or memory == "low":
        return NOTHING
    if memory == "off":
        return POTENTIAL
    if memory == "rounded" and kind == "lif":  # the sign of one threshold is all that it keeps
        return ROUNDED
    # Where the input stays anyway, or is smaller than the potentials, going through it again costs
    # less than to write and read them.
    small = x_seq.dtype != torch.float32 or (x_seq.shape[0] > 1 and x_seq.stride(0) == 0)
    return NOTHING if reads_x or small else POTENTIAL


def leak(decay: Decay) -> tuple[Tensor | None, float, float]:
    """``keep`` as a tensor, or ``keep`` and ``gain`` as numbers."""
    if isinstance(decay.keep, Tensor):
        return decay.keep.float(), 0.0, 1.0
    return None, float(decay.keep), float(decay.gain)


def number_or_tensor(value: Value) -> tuple[Tensor | None, float]:
    return (value.float(), 0.0) if isinstance(value, Tensor) else (None, float(value))


def state_for(x_seq: Tensor, state: Tensor | None) -> Tensor | None:
    if state is not None:
        check_state(x_seq, state)
    return state


def objections(x_seq: Tensor, v: Any = None, state: Any = None, **options: Any) -> Iterator[str]:
    """Why these kernels cannot serve a call; nothing if they can."""
    if native.OPENED is None:
        yield native.PROBLEM
    if x_seq.device.type != "cpu":
        yield f"x_seq is on {x_seq.device}, not on the CPU"
    if x_seq.dtype not in ops.DTYPES:
        yield f"x_seq is {x_seq.dtype}, not float32 or bfloat16"
    if x_seq.layout != torch.strided:
        yield f"x_seq is {x_seq.layout}, not strided"
    if x_seq.dim() < 2 or x_seq.shape[0] == 0:
        yield f"x_seq has shape {tuple(x_seq.shape)}, which is no sequence [T, N, *] with T >= 1"
    given = v if v is not None else state
    for part in (given,) if isinstance(given, Tensor) else given or ():
        if part is not None and (part.dtype != x_seq.dtype or part.device != x_seq.device):
            yield f"a state is {part.dtype} on {part.device}, unlike x_seq"
    for name in DECAYS:
        if name in options:
            yield from _unfit(name, options[name].keep, x_seq)
    for name in VALUES:
        if name in options:
            yield from _unfit(name, options[name], x_seq)
    if options.get("reset", "hard") not in RESETS:
        yield f"reset must be 'hard', 'soft' or 'none', got {options['reset']!r}"
    if options.get("reset") == "soft" and options.get("gap") == float("inf"):
        yield "a soft reset cannot subtract an infinite gap"
    surrogate = options.get("surrogate", DEFAULT_SURROGATE)
    if type(surrogate) not in CURVES:
        yield f"no kernel for the surrogate {surrogate}"
    if not torch.compiler.is_compiling():
        yield from watched()


def mean_objections(x_seq: Tensor, v: Any = None, **options: Any) -> Iterator[str]:
    """Why ``lif_mean`` cannot serve a call; nothing if it can."""
    yield from objections(x_seq, v, **options)
    if torch.compiler.is_compiling() or not ops.plain(x_seq):
        yield "a graph is traced, and this kernel is no operator of PyTorch"


def _unfit(name: str, value: Value, x_seq: Tensor) -> Iterator[str]:
    if not isinstance(value, Tensor):
        return
    if value.dtype not in (torch.float32, x_seq.dtype) or value.device != x_seq.device:
        yield f"{name} is {value.dtype} on {value.device}, x_seq {x_seq.dtype} on {x_seq.device}"
    if problem := misfit(name, value, x_seq.shape[1:]):
        yield problem


def watched() -> Iterator[str]:
    transforms = getattr(torch._C, "_are_functorch_transforms_active", None)
    if transforms is not None and transforms():
        yield "a transform of torch.func is active"
    if getattr(forward_ad, "_current_level", -1) >= 0:
        yield "forward-mode differentiation is active"
    if torch.jit.is_tracing():  # type: ignore[no-untyped-call, attr-defined]
        yield "torch.jit.trace is active"
