"""What all supervised rules for layers of first spikes share: one sample after the other."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from spikeloom.functional.first_spike import (
    FirstSpikeLayer,
    Groups,
    Rule,
    scores,
)
from spikeloom.kernels import door
from spikeloom.layers.first_spike import FirstSpikes
from spikeloom.learning.base import Batch, Loss, Metrics, Progress, Unsupported, bare, to_scale

_learn = door("first_spike_learn")


class InTraining(nn.Module):
    """A model, and what its training remembers from one sample to the next."""

    own: Tensor
    total: Tensor
    epoch: Tensor
    right: Tensor
    seen: Tensor
    accuracy: Tensor

    def __init__(self, model: FirstSpikes) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("own", model.threshold.clone())
        total = model.weight.double().cumsum(1)[:, -1].to(model.weight.dtype)
        self.register_buffer("total", total)
        self.register_buffer("epoch", torch.tensor(-1))
        for name in ("right", "seen"):  # of this epoch
            self.register_buffer(name, torch.tensor(0))
        chance = torch.tensor(1 / model.groups.classes, dtype=torch.float64)
        self.register_buffer("accuracy", chance)  # of the epoch before

    def turn(self, epoch: int) -> None:
        """Begin an epoch, unless it has begun."""
        if int(self.epoch) == epoch:
            return
        if int(self.seen):
            self.accuracy.copy_(self.right.double() / self.seen)
        self.epoch.fill_(epoch)
        self.right.zero_()
        self.seen.zero_()
        self.own.copy_(self.model.threshold)


class FirstSpikeLearner:
    """The engine of the rules.

    Args:
        rule: at the rates of the first epoch.
        spared: L, the first neurons of a class that are no targets.
        eta_decay: ξ, what the step of regulated thresholds is multiplied by after every epoch.
        dropout: share of neurons that cannot fire for a sample.
        decay: what all rates are multiplied by after every epoch.
        normalise: keep what the magnitudes of a neuron's weights add up to.
    Raises:
        ValueError: an argument out of range; regulation without a step, or the other way round.
    """

    online = True

    def __init__(
        self,
        rule: Rule,
        *,
        spared: int,
        eta_decay: float,
        dropout: float,
        decay: float,
        normalise: bool,
    ) -> None:
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout is a share of neurons in 0..1, 1 excluded, got {dropout}")
        if rule.w_min >= rule.w_max:
            raise ValueError(f"weights need w_min < w_max, got {rule.w_min} and {rule.w_max}")
        if (rule.regulation == "none") != (rule.eta == 0):
            raise ValueError(
                f"regulation = {rule.regulation!r} and eta = {rule.eta}: the step of regulated "
                "thresholds; give both or none"
            )
        self.rule, self.spared, self.eta_decay = rule, spared, eta_decay
        self.dropout, self.decay, self.normalise = dropout, decay, normalise

    def prepare(self, model: nn.Module) -> nn.Module:
        if not isinstance(model, FirstSpikes):
            raise Unsupported(
                f"{self.rule.name} trains layers of first spikes, and {type(model).__name__} is "
                'none; take the model "first_spike"'
            )
        self._groups(model)
        model.extractor.learning = False
        return InTraining(model)

    @torch.no_grad()
    def step(self, model: nn.Module, batch: Batch, loss: Loss, progress: Progress) -> Metrics:
        assert isinstance(model, InTraining)
        net, groups = model.model, self._groups(model.model)
        if batch.y.dim() != 1:
            raise Unsupported(
                f"{self.rule.name} learns from classes [N], not {tuple(batch.y.shape)}; "
                "take out what mixes labels"
            )
        net.extractor.eval()
        model.turn(progress.epoch)
        own = net.threshold if self.rule.regulation == "neuron" else model.own
        total = model.total if self.normalise else None
        layer = FirstSpikeLayer(net.weight.data, net.threshold, own, total)
        t, v = _learn(
            net.times(batch.x_seq), batch.y, layer, groups=groups,
            rule=self._rule(progress.epoch, float(model.accuracy)),
            dropped=self._dropped(len(batch.y), groups.count),
        )  # fmt: skip
        logits = scores(t, v, groups.classes)
        model.right += (logits.argmax(1) == batch.y).sum()
        model.seen += len(batch.y)
        inner = bare(loss)
        return Metrics(to_scale(loss, inner(logits[None], batch.y)), logits[None])

    def finish(self, model: nn.Module) -> nn.Module:
        assert isinstance(model, InTraining)
        return model.model

    def _groups(self, model: FirstSpikes) -> Groups:
        """The neurons of the layer, those that are spared among them."""
        try:
            return replace(model.groups, spared=self.spared)
        except ValueError as error:
            raise Unsupported(
                f"spared = {self.spared} leaves no target of {model.groups.size} neurons a class; "
                "give the model more with size, or set spared = 0"
            ) from error

    def _rule(self, epoch: int, accuracy: float) -> Rule:
        """The rule with the rates of an epoch."""
        rate, rule = self.decay**epoch, self.rule
        good, bad = (1 - accuracy, accuracy) if rule.name == "r_stdp" else (1.0, 1.0)
        return replace(
            rule, a_plus=rule.a_plus * rate * good, a_minus=rule.a_minus * rate * good,
            anti_plus=rule.anti_plus * rate * bad, anti_minus=rule.anti_minus * rate * bad,
            eta=rule.eta * self.eta_decay**epoch,
        )  # fmt: skip

    def _dropped(self, samples: int, neurons: int) -> Tensor | None:
        return torch.rand(samples, neurons) < self.dropout if self.dropout else None
