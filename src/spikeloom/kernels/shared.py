"""``functional.synapses`` with decays that synapses share: a linear map and leaky integrators.

With a decay for each neuron the sums of the inputs decay; with one for each input, the inputs do.
Neurons of HetSyn with a leak, but without recurrence, are leaky integrators and neurons without.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from spikeloom.functional import Decay, HetSynState
from spikeloom.functional.neurons.synapses import check_synapses, effective, sharing


def synapses(
    x_seq: Tensor, state: Tensor | None = None, *, weight: Tensor, decay: Decay
) -> tuple[Tensor, Tensor]:
    """:func:`spikeloom.functional.synapses`, each half by its own kernel."""
    kind = check_synapses(x_seq, state, weight, decay)
    weight, keep = effective(weight, decay)
    leak = Decay(keep.flatten() if isinstance(keep, Tensor) else keep, trusted=True)
    from spikeloom.kernels.door import door  # which knows this file

    linear, li = door("linear"), door("li")
    if kind == "neuron":
        y_seq, last = li(linear(x_seq, weight), state, decay=leak)
    else:
        traces, last = li(x_seq, state, decay=leak)
        y_seq = linear(traces, weight)
    return y_seq, last


def objections(
    x_seq: Tensor, state: Tensor | None = None, *, weight: Tensor, decay: Decay
) -> Iterator[str]:
    """Why this cannot serve a call; nothing if it can."""
    check_synapses(x_seq, state, weight, decay)
    if sharing(decay.keep, weight) == "synapse":
        yield "every synapse has a decay of its own"
    if weight.dtype != x_seq.dtype or torch.is_autocast_enabled(x_seq.device.type):
        yield f"input and weights are to be {x_seq.dtype} and {weight.dtype}"


def hetsyn_lif(
    x_seq: Tensor,
    state: HetSynState | None = None,
    *,
    leak: Decay,
    weight: None = None,
    decay: None = None,
    **options: Any,
) -> tuple[Tensor, HetSynState]:
    """:func:`spikeloom.functional.hetsyn_lif` with a leak and no recurrence."""
    from spikeloom.kernels.door import door  # which knows this file

    c_seq, last = door("li")(x_seq, None if state is None else state.synapses, decay=leak)
    before = None if state is None else state._replace(synapses=None)
    spike_seq, after = door("hetsyn_lif")(c_seq, before, **options)
    return spike_seq, after._replace(synapses=last)


def spiking_objections(
    x_seq: Tensor,
    state: HetSynState | None = None,
    *,
    weight: Tensor | None = None,
    leak: Decay | None = None,
    **options: Any,
) -> Iterator[str]:
    """Why this cannot serve a call; nothing if it can."""
    if leak is None:
        yield "there is no leak that synapses share"
    if weight is not None:
        yield "spikes come back through a weight before the leak"
