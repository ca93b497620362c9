"""What synapses with currents of their own do: additions for spikes, and decays at every step."""

from typing import Any

import torch
from torch import Tensor

from spikeloom.deploy.energy.ledger import Ledger, Origin
from spikeloom.deploy.energy.tally import Tally, count
from spikeloom.functional import Decay, synapses
from spikeloom.functional.neurons.synapses import sharing
from spikeloom.layers import GroupedSynapses, Synapses

CURRENTS = (Synapses, GroupedSynapses)


def tally_synapses(
    ledger: Ledger, name: str, layer: Synapses | GroupedSynapses, x: Tensor, out: Tensor
) -> Origin:
    """Two rows: the weights that spikes meet, and the currents or traces that decay at every step.

    With a decay for each synapse a spike adds its weight to one current for each output, and every
    step all of them decay and are summed up. With decays that inputs share, as the levels of
    grouped synapses, the traces of the inputs decay, and are multiplied by the weights.

    Shape:
        x [T, N, I], out [T, N, O]
    """
    arguments = layer.arguments()
    if isinstance(layer, GroupedSynapses):
        weight, share, levels = arguments["weight"], arguments["share"], arguments["levels"]
        mixed = (weight[:, None] * share.movedim(-1, 1)).flatten(1)
        used = weight if layer.logits is None else mixed  # of fixed levels each synapse has one
        keep = torch.as_tensor(levels).repeat_interleave(weight.shape[1])
        _traces(ledger, name, layer, x.repeat(1, 1, len(levels)), (used, mixed, keep), x)
    else:
        weight, keep = arguments["weight"], arguments["decay"].keep
        if sharing(keep, weight) == "input":
            _traces(ledger, name, layer, x, (weight, weight, keep.flatten()), x)
        else:
            _currents(ledger, name, layer, x, out)
    return Origin(touched=out != 0)


def _currents(ledger: Ledger, name: str, layer: Any, x: Tensor, out: Tensor) -> None:
    keep, weight = layer.arguments()["decay"].keep, layer.weight.detach()
    each = sharing(keep, weight) == "synapse"
    row = _map(ledger, name, layer, weight, weight)
    row.out_size = weight.numel() if each else len(weight)  # what a spike is added to
    row.inputs.levels |= ledger.origin(x).levels
    _read(row, x, row.inputs.levels)
    held = _decaying(ledger, f"{name} (currents)", layer, x, len(weight))
    held.states = weight.shape[1] if each else 1
    held.decays = held.states if each else 0
    held.leaks = bool((torch.as_tensor(keep) != 1).any())
    held.touched += count(out)


def _traces(
    ledger: Ledger,
    name: str,
    layer: Any,
    every: Tensor,
    weights: tuple[Tensor, Tensor, Tensor],
    x: Tensor,
) -> None:
    """Of all inputs, as often as they have levels; weights as stored and as they meet these."""
    used, mixed, keep = weights
    held = _decaying(ledger, f"{name} (traces)", layer, x, every.shape[2])
    held.states, held.leaks = 1, bool((keep != 1).any())
    held.read(x, x.shape[2])
    one = torch.eye(every.shape[2], dtype=x.dtype, device=x.device)
    trace_seq, _ = synapses(every, weight=one, decay=Decay(keep[:, None], trusted=True))
    held.touched += count(trace_seq)
    row = _map(ledger, name, layer, used.detach(), mixed.detach())
    row.out_size = len(mixed)
    _read(row, trace_seq, False)


def _map(ledger: Ledger, name: str, layer: Any, used: Tensor, met: Tensor) -> Tally:
    row = ledger.row(name, "map", type(layer).__name__)
    row.weights = row.parameters = used.numel()
    row.zeros = int((used == 0).sum())
    row.fan_out = (met != 0).sum(0, dtype=torch.float64)
    row.dense_each = float(used.numel())
    return row


def _read(row: Tally, x: Tensor, levels: bool) -> None:
    calls = x.shape[0] * x.shape[1]
    row.runs += 1
    row.calls += calls
    row.dense += calls * row.dense_each
    row.read(x, x.shape[2])
    row.meet(x.flatten(0, 1), levels=levels)


def _decaying(ledger: Ledger, name: str, layer: Any, x: Tensor, sums: int) -> Tally:
    row = ledger.row(name, "synapses", "Decay")
    calls = x.shape[0] * x.shape[1]
    row.neurons, row.parameters = sums, sum(p.numel() for p in layer.decay.parameters())
    row.calls += calls
    row.updates += calls * sums
    return row


__all__ = ["CURRENTS", "tally_synapses"]
