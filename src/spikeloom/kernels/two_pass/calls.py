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
    leak: Decay | None = None,
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
    jump_decays = {"reset": reset_decay, "adaptation": adaptation_decay}
    check_hetsyn(x_seq, state, weight, decay, leak, **jump_decays)
    shape, x = x_seq.shape, wide(x_seq).flatten(2) if x_seq.dim() > 3 else wide(x_seq)
    given = state or HetSynState(None, None, None, None)  # type: ignore[arg-type]
    keep = None
    if weight is not None and decay is not None:
        weight, keep = effective(weight.to(x.dtype), decay)
    jumps, numbers = [], []
    pairs = (reset_decay, v_threshold, given.reset), (adaptation_decay, beta, given.adaptation)
    for leak, amount, part in pairs:
        if leak is None:
            continue
        share = leak.keep.to(x.dtype) if isinstance(leak.keep, Tensor) else None
        jumps += [share, None if part is None else wide(part).reshape(x.shape[1:])]
        numbers.append((0.0 if share is not None else float(leak.keep), amount))
    assert isinstance(surrogate, Surrogate)
    firing = Firing(tuple(numbers), v_threshold, strict, detach_reset, surrogate)
    states = (
        None if given.synapses is None else wide(given.synapses),
        None if given.spike is None else wide(given.spike).reshape(x.shape[1:]),
    )
    spike_seq, current, *found = Spiking.apply(by, firing, x, weight, keep, *states, *jumps)  # type: ignore[no-untyped-call]
    spike_seq = spike_seq.view(shape).to(x_seq.dtype)
    left = iter([end.reshape(shape[1:]).to(x_seq.dtype) for end in found])
    b, a = (None if each is None else next(left) for each in jump_decays.values())
    current = None if current is None else current.to(x_seq.dtype)
    return spike_seq, HetSynState(current, b, a, spike_seq[-1])


def spiking_objections(
    x_seq: Tensor,
    state: HetSynState | None = None,
    *,
    weight: Tensor | None = None,
    decay: Decay | None = None,
    leak: Decay | None = None,
    surrogate: Surrogate | Smooth = TRIANGLE,
    **options: Any,
) -> Iterator[str]:
    """Why the sweeps cannot serve a call; nothing if they can."""
    if leak is not None:
        yield "all synapses of a neuron share its leak: the state is small, autograd may keep it"
    if weight is not None and decay is not None and sharing(decay.keep, weight) != "synapse":
        yield "recurrent decays are shared: the state is small, and autograd may keep it"
    if isinstance(surrogate, Smooth):
        yield "a smooth surrogate is for checks of the truth"
    for name in ("reset_decay", "adaptation_decay"):
        share = options.get(name)
        if share is not None and share.decay_input:
            yield f"{name} scales the input, which the sweeps leave out"
        axes = share.keep.dim() if share is not None and isinstance(share.keep, Tensor) else 0
        if axes > 1 or (axes and x_seq.dim() != 3):
            yield f"{name} is not one number for each of the neurons in a row"
    yield from followed(x_seq)


def followed(x_seq: Tensor) -> Iterator[str]:
    """Whether somebody else watches the call; autograd functions are no operators of PyTorch."""
    if torch.compiler.is_compiling():
        yield "torch is compiling or exporting"
    yield from neurons.watched()
