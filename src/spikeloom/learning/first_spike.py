"""Supervised rules for layers of first spikes, sample after sample: S2-STDP, SSTDP, R-STDP."""

from dataclasses import replace
from typing import TypedDict, Unpack

import torch
from torch import Tensor, nn

from spikeloom.functional.first_spike import (
    FirstSpikeLayer,
    Groups,
    Regulation,
    Rule,
    RuleName,
    scores,
)
from spikeloom.kernels import door
from spikeloom.layers.first_spike import PAPER, FirstSpikes
from spikeloom.learning.base import Batch, Loss, Metrics, Objective, Progress, Unsupported, to_scale
from spikeloom.papers import Paper
from spikeloom.registry import register

S2 = Paper(
    key="goupy2024paired",
    title="Paired Competing Neurons Improving STDP Supervised Local Learning in Spiking Neural "
    "Networks",
    authors=("Gaspard Goupy", "Pierre Tirilly", "Ioan Marius Bilasco"),
    venue="Frontiers in Neuroscience",
    year=2024,
    url="https://doi.org/10.3389/fnins.2024.1401690",
    form="article",
)
SSTDP_PAPER = Paper(
    key="liu2021sstdp",
    title="SSTDP: Supervised Spike Timing Dependent Plasticity for Efficient Spiking Neural Network "
    "Training",
    authors=("Fangxin Liu", "Wenbo Zhao", "Yongbiao Chen", "Zongwu Wang", "Tao Yang", "Li Jiang"),
    venue="Frontiers in Neuroscience",
    year=2021,
    url="https://doi.org/10.3389/fnins.2021.756876",
    form="article",
)
_learn = door("first_spike_learn")


class Options(TypedDict, total=False):
    """What the rules have in common.

    Args:
        spared: L, the first neurons of a class that are no targets: pushed away from its samples.
        compete: only the first neuron of each class learns; with one neuron it changes nothing.
        regulation: of the competition: ``competition`` has thresholds in training that rise where
            a neuron wins a sample of its class and fall where it loses one, never below that of the
            layer, and start anew at every epoch; ``neuron`` moves each neuron's own threshold the
            same way, without bound and for good (the ablation CR-1).
        eta: η_θ, step of these thresholds, in potential.
        eta_decay: ξ, what eta is multiplied by after every epoch.
        dropout: share of neurons that cannot fire for a sample.
        decay: what all rates are multiplied by after every epoch.
        normalise: keep what the magnitudes of a neuron's weights add up to.
        beta: changes shrink by exp(-β distance) towards the bounds; None for additive ones.
    """

    spared: int
    compete: bool
    regulation: Regulation
    eta: float
    eta_decay: float
    dropout: float
    decay: float
    normalise: bool
    beta: float | None


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
    """The engine of the rules; see :class:`S2STDP`."""

    online = True

    def __init__(
        self,
        rule: Rule,
        *,
        spared: int = 0,
        compete: bool = False,
        regulation: Regulation = "none",
        eta: float = 0.0,
        eta_decay: float = 1.0,
        dropout: float = 0.0,
        decay: float = 0.98,
        normalise: bool = True,
        beta: float | None = None,
    ) -> None:
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout is a share of neurons in 0..1, 1 excluded, got {dropout}")
        if rule.w_min >= rule.w_max:
            raise ValueError(f"weights need w_min < w_max, got {rule.w_min} and {rule.w_max}")
        if (regulation == "none") != (eta == 0):
            raise ValueError(
                f"regulation = {regulation!r} and eta = {eta}: the step of regulated thresholds; "
                "give both or none"
            )
        self.rule = replace(rule, compete=compete, regulation=regulation, eta=eta, beta=beta)
        self.spared, self.eta_decay, self.dropout = spared, eta_decay, dropout
        self.decay, self.normalise = decay, normalise

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
                f"{self.rule.name} learns from classes [N], and targets are {tuple(batch.y.shape)}; "
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
        inner = loss.loss if isinstance(loss, Objective) else loss
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


@register("learner", "s2_stdp", paper=S2, status="exact")
class S2STDP(FirstSpikeLearner):
    """S2-STDP: every neuron is drawn to a time around the layer's mean, its class's before it.

    e = t - d,  Δw = e a_plus where the input came up to the spike, e a_minus elsewhere. PCN is
    ``size = 2`` with ``spared = 1, compete = true``; NCG is ``size = 5`` with these and
    ``regulation = "competition"``.

    Args:
        a_plus, a_minus: rates, a_minus <= 0.
        gap: how much earlier the class of a sample is to fire than others.
        w_min, w_max: bounds of weights.
        **options: see :class:`Options`.
    Raises:
        Unsupported: a model that is no layer of first spikes, or has too few neurons a class.
        ValueError: an argument out of range.
    Source:
        Goupy, Tirilly and Bilasco, Frontiers in Neuroscience 18, 2024; NeurIPS 2024.
    """

    def __init__(
        self,
        *,
        a_plus: float = 0.01,
        a_minus: float = -0.05,
        gap: float = 0.01,
        w_min: float = 0.0,
        w_max: float = 1.0,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(_rule("s2_stdp", a_plus, a_minus, gap, w_min, w_max), **options)


@register("learner", "sstdp", paper=SSTDP_PAPER, status="exact")
class SSTDP(FirstSpikeLearner):
    """SSTDP: as S2-STDP, but a neuron that is early or late enough learns nothing.

    Args:
        a_plus, a_minus, gap, w_min, w_max: as of :class:`S2STDP`.
        **options: see :class:`Options`; as published ``normalise`` is off, which is the default.
    Raises:
        Unsupported, ValueError: as :class:`S2STDP`.
    Source:
        Liu et al., Frontiers in Neuroscience 15, 2021, as in the code of Goupy, Tirilly and Bilasco.
    """

    def __init__(
        self,
        *,
        a_plus: float = 0.05,
        a_minus: float = -0.005,
        gap: float = 0.04,
        w_min: float = 0.0,
        w_max: float = 1.0,
        **options: Unpack[Options],
    ) -> None:
        options.setdefault("normalise", False)
        super().__init__(_rule("sstdp", a_plus, a_minus, gap, w_min, w_max), **options)


@register("learner", "r_stdp", paper=PAPER, status="exact")
class RSTDP(FirstSpikeLearner):
    """R-STDP: the first neuron of all is rewarded if it is of the sample's class, else punished.

    Rewards are scaled by the share of wrong answers of the epoch before, punishments by that of
    right ones; in the first epoch answers count as drawn by chance.

    Args:
        a_plus, a_minus: rates of rewards.
        anti_plus, anti_minus: rates of punishments.
        w_min, w_max: bounds of weights.
        **options: see :class:`Options`; as published ``normalise`` is off, which is the default.
    Raises:
        Unsupported, ValueError: as :class:`S2STDP`.
    Source:
        Mozafari et al., IEEE Transactions on Neural Networks and Learning Systems 29, 2018, as in
        the code of Goupy, Tirilly and Bilasco.
    """

    def __init__(
        self,
        *,
        a_plus: float = 0.05,
        a_minus: float = -0.05,
        anti_plus: float = -0.001,
        anti_minus: float = 0.001,
        w_min: float = 0.2,
        w_max: float = 0.8,
        **options: Unpack[Options],
    ) -> None:
        options.setdefault("normalise", False)
        rule = _rule("r_stdp", a_plus, a_minus, 0.0, w_min, w_max)
        super().__init__(replace(rule, anti_plus=anti_plus, anti_minus=anti_minus), **options)


def _rule(
    name: RuleName, a_plus: float, a_minus: float, gap: float, w_min: float, w_max: float
) -> Rule:
    return Rule(name, a_plus=a_plus, a_minus=a_minus, gap=gap, w_min=w_min, w_max=w_max)
