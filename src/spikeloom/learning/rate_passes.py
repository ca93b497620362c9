"""The two passes of rate-based back-propagation."""

from collections import defaultdict
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spikeloom.functional import batch_statistics, rate_batch_norm, rate_bn_neuron, rate_neuron
from spikeloom.kernels import door
from spikeloom.layers import (
    BatchNorm,
    Dropout,
    Stack,
    Temporal,
    carry,
    is_constant,
    ruled,
    standing_in,
)
from spikeloom.layers.base import State
from spikeloom.learning.base import Unsupported

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
        self.drops: dict[nn.Module, int] = defaultdict(int)  # calls of the simulation
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
            ruled(self.model, self._spike, Temporal),  # type: ignore[type-abstract]  # asked for, never made
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
        self._check_calls(len(pieces))
        torch.clear_autocast_cache()  # what it holds was made without a graph
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces)

    def rates(self, x_seq: Tensor) -> Tensor:
        """The mean outputs as a function of the weights: one graph, as deep as the network.

        Shape:
            x_seq [T, N, *], the same as before -> [N, K]
        """
        x = x_seq[:1] if is_constant(x_seq) else x_seq.mean(0, keepdim=True)
        with (
            ruled(self.model, self._rate, Temporal),  # type: ignore[type-abstract]  # asked for, never made
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
        self.drops[dropout] += 1
        return x_seq * self.masks[dropout]

    def _check_calls(self, calls: int) -> None:
        counts = {layer: len(found) for layer, found in self.norms.items()} | self.drops
        names = {layer: name for name, layer in self.model.named_modules()}
        for layer, count in counts.items():
            if count != calls:
                raise Unsupported(
                    f"rate_bp keeps the statistics of a batch norm and the mask of a dropout once, "
                    f"and {names[layer]} ({type(layer).__name__}) is called twice; give every "
                    "place a layer of its own"
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
