"""What each kind of layer does, by what went in and what came out."""

from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import type_before_parametrizations

from spikeloom.deploy.energy.fan_out import MAPS, MAXIMA, POOLS, fan_out, weights_of, windows
from spikeloom.deploy.energy.ledger import Ledger, Origin
from spikeloom.deploy.energy.synapses import CURRENTS, tally_synapses
from spikeloom.deploy.energy.tally import Tally, count
from spikeloom.functional import Decay
from spikeloom.layers import (
    BatchNorm,
    Dropout,
    Latest,
    ModerateDropout,
    Neuron,
    NoNorm,
    NoReadout,
    Softmax,
    StepBatchNorm,
    Temporal,
    TernaryLIF,
    ThresholdBatchNorm,
)

TORCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
NORMS = (BatchNorm, StepBatchNorm, *TORCH_NORMS)
FOLDING = (BatchNorm, ThresholdBatchNorm, *TORCH_NORMS)  # into a map's weights; none of their kin
PASSING = (
    nn.Identity, nn.Flatten, nn.Unflatten, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d,
    Dropout, ModerateDropout, NoReadout, Latest,
)  # fmt: skip
KNOWN = (*MAPS, *POOLS, *NORMS, *PASSING, Temporal, nn.ReLU)


def tally_layer(ledger: Ledger, name: str, layer: nn.Module, x: Tensor, out: Tensor) -> None:
    """Add one call of a layer, one of ``KNOWN``, to its tally.

    Shape:
        x, out [M, *] of maps and pools, else [T, N, *]
    """
    if isinstance(layer, Softmax):
        ledger.uncounted[f"softmax of {name}"] = None
        return
    shifts = isinstance(layer, NoNorm) and layer.bias is not None
    if isinstance(layer, PASSING) and not shifts:
        if out is not x:
            ledger.set_origin(out, _passed(ledger.origin(x), out))
        return
    ledger.read_by(x)
    if isinstance(layer, MAPS):
        origin = _map(ledger, name, layer, x, out)
    elif isinstance(layer, POOLS):
        origin = _pool(ledger, name, layer, x, out)
    elif isinstance(layer, (*NORMS, NoNorm)):
        origin = _norm(ledger, name, layer, x, out)
    elif isinstance(layer, CURRENTS):
        origin = tally_synapses(ledger, name, layer, x, out)
    elif isinstance(layer, Temporal):
        origin = _neurons(ledger, name, layer, x, out)
    else:
        origin = _rectifier(ledger, name, layer, out)
    ledger.set_origin(out, origin)


def _passed(origin: Origin, out: Tensor) -> Origin:
    known = origin.touched
    same = known is not None and known.numel() == out.numel()
    return origin._replace(touched=known.reshape(out.shape) if known is not None and same else None)


def _map(ledger: Ledger, name: str, layer: nn.Module, x: Tensor, out: Tensor) -> Origin:
    """A convolution, linear map or token mixing."""
    # a linear map acts along the last axis, whatever is before it
    shape = (x.shape[-1],) if isinstance(layer, nn.Linear) else tuple(x.shape[1:])
    row = _map_row(ledger, name, layer, shape)
    assert row.fan_out is not None
    calls = x.numel() / prod(shape)
    row.runs += 1
    row.calls += calls
    row.dense += calls * row.dense_each
    row.out_size = round(out.numel() / calls)
    row.read(x, prod(shape))
    row.inputs.levels |= ledger.origin(x).levels
    row.meet(x.reshape(-1, *shape), levels=row.inputs.levels)
    bias = getattr(layer, "bias", None)
    silent: Any = 0 if bias is None else bias.detach().to(out.dtype)
    if bias is not None and not isinstance(layer, nn.Linear):
        silent = silent.view(-1, *(1,) * (out.dim() - 2))
    return Origin(row, out != silent)


def _map_row(ledger: Ledger, name: str, layer: nn.Module, shape: tuple[int, ...]) -> Tally:
    """The tally of a map; one that gets samples of several shapes has one for each."""
    kind = type_before_parametrizations(layer).__name__
    row = ledger.row(name, "map", kind)
    if row.fan_out is not None and tuple(row.fan_out.shape) != shape:
        row = ledger.row(f"{name} on {' x '.join(map(str, shape))}", "map", kind)
    if row.fan_out is None:
        weight, bias = weights_of(layer), getattr(layer, "bias", None)
        row.weights, row.zeros = weight.numel(), int((weight == 0).sum())
        row.parameters = weight.numel() + (0 if bias is None else bias.numel())
        row.biased = bias is not None
        row.fan_out = fan_out(layer, shape)
        full = fan_out(layer, shape, every=True) if row.zeros else row.fan_out
        row.dense_each = float(full.sum())
    return row


def _pool(ledger: Ledger, name: str, layer: nn.Module, x: Tensor, out: Tensor) -> Origin:
    """Averages and maxima: an addition or comparison for each input and window."""
    row = ledger.row(name, "pool", type(layer).__name__)
    shape = tuple(x.shape[1:])
    inside = windows(layer, shape).to(x.device)
    row.calls += len(x)
    row.read(x, prod(shape))
    row.adds += float(((x != 0).sum(0, dtype=torch.float64) * inside).sum())
    row.dense_adds += len(x) * float(inside.sum())
    row.write(out, prod(out.shape[1:]))
    row.notes["comparisons" if isinstance(layer, MAXIMA) else "1/size goes into weights"] = None
    return Origin(touched=out != 0, levels=isinstance(layer, MAXIMA) and ledger.origin(x).levels)


def _norm(ledger: Ledger, name: str, layer: nn.Module, x: Tensor, out: Tensor) -> Origin:
    """A norm that alone reads a map goes into its weights and bias; others cost what they do."""
    origin = ledger.origin(x)
    row = ledger.row(name, "norm", type(layer).__name__)
    row.parameters = sum(p.numel() for p in layer.parameters())
    row.calls += x.shape[0] * x.shape[1]
    row.out_size = prod(out.shape[2:])
    by_step = type(layer) not in (*FOLDING, NoNorm)
    row.source, row.keeps_factor = origin.map, by_step
    row.multiplies += 0 if isinstance(layer, NoNorm) else out.numel()
    if isinstance(layer, StepBatchNorm):  # other weights at every step: nothing folds
        row.source = None
    row.adds += out.numel()
    row.dense_adds += out.numel()
    row.notes["differs from step to step" if by_step else "no map to fold into"] = None
    return Origin(touched=origin.touched)


def _rectifier(ledger: Ledger, name: str, layer: nn.Module, out: Tensor) -> Origin:
    row = ledger.row(name, "rectifier", type(layer).__name__)
    row.neurons = ledger.size(out)
    row.calls += out.numel() / row.neurons
    row.adds += out.numel()
    row.dense_adds += out.numel()
    row.spikes += count(out)
    row.write(out, row.neurons)
    return Origin()


def _neurons(ledger: Ledger, name: str, layer: Temporal, x: Tensor, out: Tensor) -> Origin:
    row = ledger.row(name, "neurons", type(layer).__name__)
    row.neurons = prod(x.shape[2:])
    if not row.calls:
        row.states = _states(layer, x) // max(row.neurons, 1)
        row.leaks, row.decays = _leaks(layer), _decays(layer, row.neurons)
        weight = layer.arguments().get("weight")
        own = sum(p.numel() for p in layer.parameters())
        row.parameters = own - (weight.numel() if isinstance(weight, Tensor) else 0)
    row.calls += x.shape[0] * x.shape[1]
    row.updates += x.numel()
    touched = ledger.touched(x)
    weight = layer.arguments().get("weight")
    if isinstance(weight, Tensor):
        touched = touched | _recurrent(ledger, name, weight.detach(), out, apart=row.decays > 0)
    row.touched += count(touched)
    row.spikes += count(out)
    row.outputs.levels = levels = type(layer) is TernaryLIF
    row.write(out, row.neurons)
    if not isinstance(layer, Neuron):
        row.notes["puts out numbers"] = None
    return Origin(levels=levels)


def _recurrent(ledger: Ledger, name: str, weight: Tensor, out: Tensor, *, apart: bool) -> Tensor:
    """The weights within a layer of neurons; returns which neurons they reach.

    Args:
        apart: whether a spike is added to a current of every synapse, not to one of the neuron.

    Shape:
        weight [C, C], out [T, N, C, *] -> [T, N, C, *]
    """
    row = ledger.row(f"{name} (recurrent)", "recurrent", "Recurrent")
    there = (weight != 0).double()
    before = torch.cat([torch.zeros_like(out[:1]), out[:-1]])  # nothing is heard at first
    row.weights = row.parameters = weight.numel()
    row.zeros = int((weight == 0).sum())
    row.calls += out.shape[0] * out.shape[1]
    row.in_size = row.out_size = prod(out.shape[2:])
    row.out_size = weight.numel() if apart else row.out_size
    row.dense += out.numel() * weight.shape[0]
    row.inputs.see(before)
    row.events += count(before)
    channels = (before != 0).movedim(2, -1)
    row.fan_out = there.sum(0)
    row.meet(channels.reshape(-1, channels.shape[-1]))
    return (channels.double() @ there.T > 0).movedim(-1, 2)


def _states(layer: Temporal, x_seq: Tensor) -> int:
    """Numbers that the neurons of one sample keep from step to step."""
    _, state = layer.function(x_seq[:1, :1], None, **layer.arguments())
    parts = [state] if isinstance(state, Tensor) else [part for part in state if part is not None]
    return sum(part.numel() for part in parts)


def _decays(layer: Temporal, neurons: int) -> int:
    """Decays that each of these neurons has for itself alone, if it has several."""
    keeps = [value.keep for value in layer.arguments().values() if isinstance(value, Decay)]
    sizes = (torch.as_tensor(keep).numel() for keep in keeps)
    return sum(size // neurons for size in sizes if size > neurons)


def _leaks(layer: Temporal) -> bool:
    """Whether what is kept from step to step is multiplied by something."""
    keeps = [value.keep for value in layer.arguments().values() if isinstance(value, Decay)]
    return not keeps or any(bool((torch.as_tensor(keep) != 1).any()) for keep in keeps)


__all__ = ["KNOWN", "tally_layer"]
