"""Event-driven back-propagation: gradients of spike times, which live at spikes alone."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from spikeloom.functional import early, supervised
from spikeloom.kernels import door
from spikeloom.layers import (
    BatchNorm,
    DoubleExponential,
    Dropout,
    Neuron,
    NoNorm,
    NoReadout,
    StepBatchNorm,
    Temporal,
    TemporalEffectiveBatchNorm,
)
from spikeloom.layers.double_exponential import PAPER
from spikeloom.learning.base import Batch, Loss, Metrics, Progress, Unsupported
from spikeloom.learning.event_thresholds import Driven, calibrate, threshold_of, transfer
from spikeloom.learning.links import linked
from spikeloom.learning.plastic import Map
from spikeloom.registry import register

_timed = door("timed")

# Layers that leave spike times as they are, or mix them linearly.
LINEAR = (
    nn.Linear, nn.Conv2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.Flatten, nn.Identity, Dropout,
    NoNorm, NoReadout,
)  # fmt: skip
# What cannot be in a network, and what to write in its place.
INSTEAD: dict[tuple[type[nn.Module], ...], str] = {
    (Neuron, nn.ReLU): (
        'the gradient of a spike time is that of neuron = { name = "double_exponential", '
        'per = "channel" }'
    ),
    (Temporal,): 'spike times are those of a spiking read-out: readout = "early_spikes"',
    (BatchNorm, StepBatchNorm, TemporalEffectiveBatchNorm): (
        "statistics of a batch tie the spikes of different neurons together: "
        'norm = "none" and weight = "standardised"'
    ),
    (nn.MaxPool2d,): 'a maximum hears one of several equal spikes: pool = "average"',
}


@register("learner", "event_bp", paper=PAPER, status="exact")
class EventBP:
    """Event-driven back-propagation with gradients of spike times.

    Neurons give two gradients, one for the weights and one for the input spikes of the maps that
    drive them; :func:`spikeloom.functional.timed` has the equations. Before each forward pass raw
    weights are clamped and learnt scales move into the thresholds; in the first step thresholds
    that never were are calibrated, once in the life of a model.

    Args:
        tau_grad: time constant of the gradients of input spikes [steps], > 1.
        clip: largest 1/du in the gradients of the weights.
        spikes_at_start: mean spikes of a neuron in T steps that thresholds are calibrated to, at
            most T; 0 leaves them as they are.
        transfer: move the scales of standardised weights into the thresholds.
        supervised: give the label's output neuron one spike more in training.
    Raises:
        ValueError: tau_grad <= 1, clip <= 0 or spikes_at_start < 0; in the first step,
            spikes_at_start > T.
        Unsupported: a network with other neurons, a norm, max-pooling or another read-out; with
            one threshold for a layer; with anything between maps and neurons; or labels of several
            classes.
    Source:
        Zhu et al., NeurIPS 2022 and 2023, as in the code of the latter. Inferred: the last third
        of T steps starts with step ``2 * T // 3``, and gamma is kept above 0.01.
    """

    def __init__(
        self,
        *,
        tau_grad: float = 2.5,
        clip: float = 4.0,
        spikes_at_start: float = 0.6,
        transfer: bool = True,
        supervised: bool = True,
    ) -> None:
        if not tau_grad > 1 or not clip > 0:
            raise ValueError(f"need tau_grad > 1 and clip > 0, got {tau_grad} and {clip}")
        if not spikes_at_start >= 0:
            raise ValueError(
                f"spikes_at_start must be > 0, or 0 to leave thresholds as they are, got "
                f"{spikes_at_start}"
            )
        self.tau_grad, self.clip, self.spikes_at_start = tau_grad, clip, spikes_at_start
        self.transfer, self.supervised = transfer, supervised
        self.layers: list[Driven] = []  # in the order they run; empty before the first step

    def prepare(self, model: nn.Module) -> nn.Module:
        for name, layer in _units("", model):
            if why := self._objection(layer):
                raise Unsupported(f"event_bp: {name} ({type(layer).__name__}): {why}")
        return model

    def step(self, model: nn.Module, batch: Batch, loss: Loss, progress: Progress) -> Metrics:
        if batch.y.dim() != 1:
            raise Unsupported(
                "event_bp needs one class for each sample; leave out augmentations that mix labels"
            )
        first = not self.layers
        if first:
            self.layers = layers_of(model, batch.x_seq[:, :1])
        transfer(self.layers, fold=self.transfer)
        if first and self.spikes_at_start:
            calibrate(model, batch.x_seq, self.spikes_at_start)
        emitted: list[Tensor] = []  # of the output, without supervised spikes

        def fire(neuron: DoubleExponential, x_seq: Tensor, link: Any, _: list[Map]) -> Tensor:
            arguments: Any = {
                "tau_m": neuron.tau_m, "tau_s": neuron.tau_s, "tau_grad": self.tau_grad,
                "v_threshold": neuron.v_threshold.now(), "clip": self.clip,
            }  # fmt: skip
            spike_seq: Tensor = _timed(x_seq, link, **arguments)
            if neuron is not self.layers[-1].neuron:
                return spike_seq
            emitted.append(spike_seq.detach())
            if not self.supervised:
                return spike_seq
            return supervised(spike_seq, x_seq, link, batch.y, **arguments)

        with parametrize.cached(), linked(model, fire):
            value = loss(model(batch.x_seq), batch.y)
            value.backward()
        return Metrics(value.detach(), early(emitted[-1]))

    def finish(self, model: nn.Module) -> nn.Module:
        return model

    def _objection(self, layer: nn.Module) -> str:
        """Why a layer cannot be in the network; empty if it can."""
        if isinstance(layer, DoubleExponential):
            if layer.strict or layer.v_threshold.learnt:
                return "fires at its threshold, which is not learnt: leave out `strict` and `learn`"
            moves = self.transfer or self.spikes_at_start > 0
            if moves and layer.v_threshold.number is not None:
                return 'its thresholds will differ by channel: neuron = { per = "channel", ... }'
            return ""
        for kinds, why in INSTEAD.items():
            if isinstance(layer, kinds):
                return why
        if isinstance(layer, nn.Conv2d):
            plain = layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
            return "" if plain else "the padding must be a number of zeros"
        if isinstance(layer, LINEAR):
            return ""
        return "it is not known what this layer does to spike times; take it out"


def layers_of(model: nn.Module, x_seq: Tensor) -> list[Driven]:
    """The neurons in the order they run, with the maps that drive them.

    Shape:
        x_seq [T, N, *]
    Raises:
        Unsupported: as :func:`linked`; an output that is no spikes; thresholds of another number
            than the outputs of the map.
    """
    found: list[Driven] = []
    fired: list[Tensor] = []

    def fire(neuron: DoubleExponential, x_seq: Tensor, link: Any, maps: list[Map]) -> Tensor:
        _check_channels(neuron, maps)
        spike_seq: Tensor = _timed(
            x_seq, link, tau_m=neuron.tau_m, tau_s=neuron.tau_s,
            v_threshold=neuron.v_threshold.now(),
        )  # fmt: skip
        found.append(Driven(neuron, tuple(maps)))
        fired.append(spike_seq)
        return spike_seq

    with torch.random.fork_rng(), linked(model, fire):
        out = model(x_seq)
    if not fired or out is not fired[-1]:
        raise Unsupported(
            "event_bp: the network answers with something else than the spikes of its last "
            'neurons; give the model readout = "early_spikes"'
        )
    return found


def _check_channels(neuron: DoubleExponential, maps: list[Map]) -> None:
    if neuron.v_threshold.number is not None:
        return
    theta = threshold_of(neuron)
    channels = theta.shape[0] if theta.dim() else 1
    if any(layer.weight.shape[0] != channels for layer in maps):
        raise Unsupported(
            f"event_bp: neurons with thresholds of shape {tuple(theta.shape)} behind a map of "
            f'{maps[0].weight.shape[0]} outputs; build them with their shape and per = "channel"'
        )


def _units(name: str, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Layers by name: modules without children, and neurons and maps, whose children are theirs."""
    alone = not any(module.children()) and not isinstance(module, nn.Sequential)
    if alone or isinstance(module, (Temporal, nn.Linear, nn.Conv2d)):
        yield name or "the network", module
        return
    for inner, child in module.named_children():
        yield from _units(f"{name}.{inner}".lstrip("."), child)
