"""``functional.synapses`` and ``functional.hetsyn_lif`` by two sweeps."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from spikeloom.functional import Decay, HetSynState, Smooth, Surrogate
from spikeloom.functional.neurons.hetsyn import RESET, TRIANGLE, check_hetsyn
from spikeloom.functional.neurons.inputs import wide
from spikeloom.functional.neurons.synapses import check_synapses, effective, sharing
from spikeloom.kernels.cpu import neurons
from spikeloom.kernels.two_pass import passes
from spikeloom.kernels.two_pass.gradients import Firing, Passes, Spiking, Synapses

READABLE = Passes(
    passes.sums, passes.input_errors, passes.weight_errors, passes.spikes, passes.errors
)


def synapses(
    x_seq: Tensor,
    state: Tensor | None = None,
    *,
    weight: Tensor,
    decay: Decay,
    by: Passes = READABLE,
) -> tuple[Tensor, Tensor]:
    """:func:`spikeloom.functional.synapses` with a decay for each, by two sweeps."""
    check_synapses(x_seq, state, weight, decay)
    weight, keep = effective(weight.to(wide(x_seq).dtype), decay)
    now = None if state is None else wide(state)
    y_seq, last = Synapses.apply(by, wide(x_seq), weight, keep, now)  # type: ignore[no-untyped-call]
    return y_seq.to(x_seq.dtype), last.to(x_seq.dtype)


def objections(
    x_seq: Tensor, state: Tensor | None = None, *, weight: Tensor, decay: Decay
) -> Iterator[str]:
    """Why the sweeps cannot serve a call; nothing if they can."""
    check_synapses(x_seq, state, weight, decay)
    if sharing(decay.keep, weight) != "synapse":
        yield "decays are shared: the state is small, and autograd may keep it"
    yield from followed(x_seq)


def hetsyn_lif(
    x_seq: Tensor,
    state: HetSynState | None = None,
    *,
    weight: Tensor | None = None,
    decay: Decay | None = None,
    reset_decay: Decay | None = RESET,
    adaptation_decay: Decay | None = None,
    beta: float = 0.0,
    v_threshold: float = 1.0,
    detach_reset: bool = False,
    surrogate: Surrogate | Smooth = TRIANGLE,
    strict: bool = True,
    by: Passes = READABLE,
) -> tuple[Tensor, HetSynState]:
    """:func:`spikeloom.functional.hetsyn_lif` by two sweeps."""
    check_hetsyn(x_seq, state, weight, decay, reset_decay=reset_decay, adaptation=adaptation_decay)
    x = wide(x_seq)
    given = state or HetSynState(None, None, None, None)  # type: ignore[arg-type]
    keep = None
    if weight is not None and decay is not None:
        weight, keep = effective(weight.to(x.dtype), decay)  # type: ignore[assignment]
    jumps, numbers = [], []
    pairs = (reset_decay, v_threshold, given.reset), (adaptation_decay, beta, given.adaptation)
    for leak, amount, part in pairs:
        if leak is None:
            continue
        share = leak.keep.to(x.dtype) if isinstance(leak.keep, Tensor) else None
        jumps += [share, None if part is None else wide(part)]
        numbers.append((0.0 if share is not None else float(leak.keep), amount))
    assert isinstance(surrogate, Surrogate)
    firing = Firing(tuple(numbers), v_threshold, strict, detach_reset, surrogate)
    states = (None if part is None else wide(part) for part in (given.synapses, given.spike))
    spike_seq, current, *ends = Spiking.apply(by, firing, x, weight, keep, *states, *jumps)  # type: ignore[no-untyped-call]
    left = iter(ends)
    last = (
        current, next(left) if reset_decay is not None else None,
        next(left) if adaptation_decay is not None else None, spike_seq[-1],
    )  # fmt: skip
    dtype = x_seq.dtype
    return spike_seq.to(dtype), HetSynState(*(None if e is None else e.to(dtype) for e in last))  # type: ignore[arg-type]


def spiking_objections(
    x_seq: Tensor,
    state: HetSynState | None = None,
    *,
    weight: Tensor | None = None,
    decay: Decay | None = None,
    surrogate: Surrogate | Smooth = TRIANGLE,
    **options: Any,
) -> Iterator[str]:
    """Why the sweeps cannot serve a call; nothing if they can."""
    if weight is not None and decay is not None and sharing(decay.keep, weight) != "synapse":
        yield "recurrent decays are shared: the state is small, and autograd may keep it"
    if isinstance(surrogate, Smooth):
        yield "a smooth surrogate is for checks of the truth"
    for name in ("reset_decay", "adaptation_decay"):
        leak = options.get(name)
        if leak is not None and leak.decay_input:
            yield f"{name} scales the input, which the sweeps leave out"
        if leak is not None and isinstance(leak.keep, Tensor) and leak.keep.requires_grad:
            if leak.keep.dim() > 1:
                yield f"a learnt {name} has more than one axis"
    yield from followed(x_seq)


def followed(x_seq: Tensor) -> Iterator[str]:
    """Whether somebody else watches the call; autograd functions are no operators of PyTorch."""
    if torch.compiler.is_compiling():
        yield "torch is compiling or exporting"
    yield from neurons.watched()
