"""The two passes of rate-based back-propagation, and which networks they can go through."""

from collections import defaultdict
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spikeloom.functional import batch_statistics, rate_batch_norm, rate_bn_neuron, rate_neuron
from spikeloom.kernels import door, operator_of
from spikeloom.layers import (
    BatchNorm,
    Dropout,
    NoNorm,
    Stack,
    StepBatchNorm,
    Temporal,
    TemporalEffectiveBatchNorm,
    ThresholdBatchNorm,
    carry,
    is_constant,
    ruled,
    standing_in,
    units,
)
from spikeloom.layers.base import State, dynamics
from spikeloom.learning.base import Unsupported

LINEAR = (
    nn.Linear,
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.AvgPool1d,
    nn.AvgPool2d,
    nn.AdaptiveAvgPool2d,
    nn.Flatten,
    nn.Identity,
)
_lif_rate, _bn_lif_rate = door("lif_rate"), door("bn_lif_rate")


class Simulation:
    """One batch through a network: first its spikes, then its rates.

    What the first pass found is kept here, for the second one; nothing stays on the layers.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.neurons: dict[Temporal, tuple[Tensor, Tensor]] = {}  # rate and gain
        self.norms: dict[BatchNorm, list[tuple[Tensor, Tensor]]] = defaultdict(list)
        self.masks: dict[Dropout, Tensor] = {}
        self.before: dict[Temporal, BatchNorm] = {}  # whose input has yet to go through the norm

    @torch.no_grad()
    def run(self, x_seq: Tensor, size: int) -> Tensor:
        """The outputs of the spiking network, ``size`` steps at a time, without a graph.

        Running statistics of batch norms move here, and nowhere else.

        Shape:
            x_seq [T, N, *] -> [T, N, K]
        """
        pieces, states = [], None
        with (
            ruled(self.model, self._spike, Temporal),  # type: ignore[type-abstract]
            standing_in(self.model, Stack, self._row),
            standing_in(self.model, BatchNorm, self._normalise),
            standing_in(self.model, Dropout, self._drop),
        ):
            for piece in x_seq.split(size):
                y_seq, states = carry(self.model, piece, states)
                pieces.append(y_seq)
        layers = (module for module in self.model.modules() if isinstance(module, Temporal))
        # The sums are ours alone: dividing them in place spares two tensors a layer.
        self.neurons = {
            layer: (state.spike_sum.div_(state.steps), state.gain_sum.div_(state.steps))
            for layer, state in zip(layers, states or (), strict=True)
        }
        self._check_norms(len(pieces))
        torch.clear_autocast_cache()  # what it holds was made without a graph
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces)

    def rates(self, x_seq: Tensor) -> Tensor:
        """The mean outputs as a function of the weights: one graph, as deep as the network.

        Shape:
            x_seq [T, N, *], the same as before -> [N, K]
        """
        x = x_seq[:1] if is_constant(x_seq) else x_seq.mean(0, keepdim=True)
        with (
            ruled(self.model, self._rate, Temporal),  # type: ignore[type-abstract]
            standing_in(self.model, Stack, self._row),
            standing_in(self.model, BatchNorm, self._normalise_mean),
            standing_in(self.model, Dropout, self._drop),
        ):
            logits_seq: Tensor = self.model(x)
        return logits_seq[0]

    def _row(self, row: Stack, x_seq: Tensor) -> Tensor:
        """What a row of layers puts out; a norm is left to the neurons that follow it."""
        for layer, following in pairwise([*row, None]):
            assert layer is not None
            if _as_one(layer, following, x_seq):
                assert isinstance(layer, BatchNorm)
                assert isinstance(following, Temporal)
                self.before[following] = layer
            else:
                x_seq = layer(x_seq)
        return x_seq

    def _spike(self, neuron: Temporal, x_seq: Tensor, state: State) -> tuple[Tensor, State]:
        norm = self.before.pop(neuron, None)
        if norm is None:
            found: tuple[Tensor, State] = _lif_rate(x_seq, state, **neuron.arguments())
            return found
        y_seq, state, mean, rstd = _bn_lif_rate(
            x_seq, state=state, **_affine(norm), **neuron.arguments()
        )
        self.norms[norm].append((mean, rstd))
        return y_seq, state

    def _rate(self, neuron: Temporal, c_seq: Tensor, _: State) -> tuple[Tensor, State]:
        norm = self.before.pop(neuron, None)
        if norm is None:
            return rate_neuron(c_seq[0], *self.neurons[neuron])[None], None
        statistics = *self._statistics(norm), norm.scaled_weight(), norm.bias
        return rate_bn_neuron(c_seq[0], *statistics, *self.neurons[neuron])[None], None

    def _normalise(self, norm: BatchNorm, x_seq: Tensor) -> Tensor:
        if not norm.training:
            return type(norm).forward(norm, x_seq)
        y_seq, mean, rstd = batch_statistics(x_seq, **_affine(norm))
        self.norms[norm].append((mean, rstd))
        return y_seq

    def _normalise_mean(self, norm: BatchNorm, c_seq: Tensor) -> Tensor:
        if not norm.training:
            return type(norm).forward(norm, c_seq)
        statistics = *self._statistics(norm), norm.scaled_weight(), norm.bias
        return rate_batch_norm(c_seq[0], *statistics)[None]

    def _statistics(self, norm: BatchNorm) -> tuple[Tensor, Tensor]:
        """Mean and 1 / standard deviation by which a norm takes the mean input current."""
        means, rstds = map(torch.stack, zip(*self.norms[norm], strict=True))
        # E[(x - mean) rstd] = (c - centre) E[rstd], but for a correlation over the pieces.
        rstd = rstds.mean(0)
        return means[0] if len(means) == 1 else (means * rstds).mean(0) / rstd, rstd

    def _drop(self, dropout: Dropout, x_seq: Tensor) -> Tensor:
        if not dropout.training or dropout.p == 0:
            return x_seq
        if dropout not in self.masks:
            self.masks[dropout] = F.dropout(torch.ones_like(x_seq[0]), dropout.p)
        return x_seq * self.masks[dropout]

    def _check_norms(self, calls: int) -> None:
        if any(len(found) != calls for found in self.norms.values()):
            raise Unsupported(
                "rate_bp keeps one mean and variance for each batch norm, and one is called twice; "
                "give every place a norm of its own"
            )


def _affine(norm: BatchNorm) -> dict[str, Any]:
    return {
        "weight": norm.scaled_weight(),
        "bias": norm.bias,
        "running_mean": norm.running_mean,
        "running_var": norm.running_var,
        "momentum": norm.momentum,
        "eps": norm.eps,
    }


def _as_one(norm: nn.Module | None, neuron: nn.Module | None, x_seq: Tensor) -> bool:
    """Whether a norm and the neurons after it may run as one operator."""
    return (
        isinstance(norm, BatchNorm)
        and isinstance(neuron, Temporal)
        and norm.training
        and not any(m._forward_hooks or m._forward_pre_hooks for m in (norm, neuron))
        and x_seq.dim() > 2
        and x_seq.shape[2] == norm.channels
    )


def refuse_followed(model: nn.Module) -> None:
    """Raise Unsupported if somebody follows the neurons through the simulation."""
    if any(m.rule is not dynamics for m in model.modules() if isinstance(m, Temporal)):
        raise Unsupported(
            "rate_bp simulates without a graph, and a callback (im_loss, say) takes a term of the "
            "loss from the potentials of the simulation: it could get no gradient; leave it out or "
            "use another learner"
        )


def refuse(model: nn.Module) -> None:
    """Check that a network is LIF neurons, batch norms and linear maps.

    A module of one's own that calls layers in its ``forward`` must say ``step_by_step = True`` of
    its class, and may put them together by what is linear: sums, concatenation.

    Raises:
        Unsupported: with the first part that is not, and why.
    """
    for name, module in units("", model):
        if reason := problem(module):
            raise Unsupported(
                f"rate_bp cannot go through {name} ({type(module).__name__}): {reason}"
            )
    if not any(isinstance(module, Temporal) for module in model.modules()):
        raise Unsupported("rate_bp needs spiking neurons, and the model has none; use bptt")
    norms = (module for module in model.modules() if isinstance(module, BatchNorm))
    if any(norm.together for norm in norms):
        raise Unsupported(
            "rate_bp takes the statistics of batch norms in one process; run one process, or leave "
            "out the norm"
        )


def problem(module: nn.Module) -> str:
    """Why the two passes cannot go through a layer; empty if they can."""
    if isinstance(module, Temporal):
        return _problem_of_neurons(module)
    if isinstance(module, TemporalEffectiveBatchNorm | StepBatchNorm):
        return (
            "every step has a learnt scale of its own, of which a mean over time knows nothing; "
            "use norm 'bn' or 'tdbn'"
        )
    if type(module) in (BatchNorm, ThresholdBatchNorm, Dropout, NoNorm):
        return ""
    if isinstance(module, nn.MaxPool1d | nn.MaxPool2d | nn.AdaptiveMaxPool2d):
        return "the greatest of rates is not the rate of the greatest; use average pooling"
    if isinstance(module, LINEAR):
        return ""
    return (
        "it is not known to be linear, so that its mean output need not follow from its mean "
        "input; between neurons there may be linear maps, average pooling, norms 'bn' and 'tdbn', "
        "and dropout that is shared by all steps"
    )


def _problem_of_neurons(layer: Temporal) -> str:
    if operator_of(layer.function) != "lif":
        return (
            "firing rate and gain are known for LIF neurons and their kin (lif, if, plif and ltmd "
            "without learnt values) alone; use one of these, and no read-out that integrates"
        )
    learnt = [name for name, _ in layer.named_parameters()]
    if learnt:
        return (
            f"{', '.join(sorted(learnt))} would get no gradient: the published traces are those "
            "of the input current; fix it with learn = []"
        )
    return ""
