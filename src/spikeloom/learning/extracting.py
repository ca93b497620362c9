"""Extractors of features learn without labels, sample after sample or batch after batch."""

from collections.abc import Iterable
from typing import TypeVar

import torch
from torch import Tensor, nn

from spikeloom.functional.first_spike import Filters
from spikeloom.layers.extractors import Extractor, SoftHebb, SpikingConvolution
from spikeloom.layers.extractors.soft_hebb import LEVELS, PAPER
from spikeloom.layers.first_spike import FirstSpikes, one_step
from spikeloom.learning.base import (
    Batch,
    Loss,
    Metrics,
    Noted,
    Progress,
    Unsupported,
    bare,
    to_scale,
)
from spikeloom.papers import Paper
from spikeloom.registry import register

Kind = TypeVar("Kind", bound=Extractor)
CSNN = Paper(
    key="falez2019multi",
    title="Multi-layered Spiking Neural Network with Target Timestamp Threshold Adaptation and "
    "STDP",
    authors=("Pierre Falez", "Pierre Tirilly", "Ioan Marius Bilasco", "Philippe Devienne",
             "Pierre Boulet"),
    venue="International Joint Conference on Neural Networks",
    year=2019,
    url="https://arxiv.org/abs/1904.01908",
)  # fmt: skip


@register("learner", "csnn_stdp", paper=CSNN, status="reconstruction")
class CsnnSTDP:
    """Trains the spiking convolution of ``extractor = "stdp_csnn"`` by competition of filters.

    Of each image one patch, drawn anew every time, at all places alike: the first filter that
    reaches its threshold learns, and thresholds move so that filters fire at ``goal``. The rest of
    the model stays as it is; as it has not learnt anything, scores are those of chance.

    Args:
        rate: of weights.
        eta: step of thresholds, in potential.
        goal: time at which filters are to fire, in 0..1.
        least: bound of thresholds from below.
        decay: what both rates are multiplied by after each of so many ``stages``.
        stages: equal parts of the phase.
    Raises:
        Unsupported: the model has no such extractor.
    Source:
        Falez et al., IJCNN 2019; constants of Goupy, Tirilly and Bilasco, NeurIPS 2024,
        whose stages are the passes of the training set. Their patches leave out the last rows and
        columns.
    """

    online = True
    caches = True

    def __init__(
        self,
        *,
        rate: float = 0.1,
        eta: float = 1.0,
        goal: float = 0.75,
        least: float = 2.0,
        decay: float = 0.95,
        stages: int = 100,
    ) -> None:
        if stages < 1:
            raise ValueError(f"stages must be >= 1, got {stages}")
        self.rate, self.eta, self.goal, self.least = rate, eta, goal, least
        self.decay, self.stages = decay, stages

    def prepare(self, model: nn.Module) -> nn.Module:
        _extractor(model, SpikingConvolution, "csnn_stdp", "stdp_csnn").learning = True
        return model

    def begin(self, model: nn.Module, batches: Iterable[Batch]) -> Noted:
        """Spike times of all training images, by filters and ranges learnt from them."""
        net = _extractor(model, SpikingConvolution, "csnn_stdp", "stdp_csnn")
        t = net.fit(torch.cat([one_step(batch.x_seq) for batch in batches]))
        return Noted(t[:, None], t.new_empty(len(t), 0))

    @torch.no_grad()
    def step(self, model: nn.Module, batch: Batch, loss: Loss, progress: Progress) -> Metrics:
        net = _extractor(model, SpikingConvolution, "csnn_stdp", "stdp_csnn")
        x = batch.x_seq[0]
        t = net.times(x) if batch.known is None else x
        corner = torch.stack([torch.randint(size, (len(t),)) for size in net.shape], dim=1)
        scale = self.decay ** (self.stages * progress.update // max(1, progress.updates))
        how = Filters(self.rate * scale, self.eta * scale, self.goal, self.least)
        net.learn(t, corner, how)
        return _silent(model, batch, loss)

    def finish(self, model: nn.Module) -> nn.Module:
        return model


@register("learner", "softhebb", paper=PAPER, status="reconstruction")
class SoftHebbian:
    """Trains the convolutions of ``extractor = "softhebb_cnn"``: soft winners, no labels.

    All three learn from every batch. The rest of the model stays as it is; as it has not learnt
    anything, scores are those of chance.

    Args:
        rates: of each convolution, before √|‖w‖ - 1| of each filter.
    Raises:
        Unsupported: the model has no such extractor.
        ValueError: not a rate for each.
    Source:
        Journé et al., ICLR 2023; as paired by Goupy, Tirilly and Bilasco, NeurIPS 2024:
        one epoch in batches of 10.
    """

    online = True

    def __init__(self, *, rates: tuple[float, ...] = (0.08, 0.005, 0.01)) -> None:
        if len(rates) != len(LEVELS):
            raise ValueError(f"rates must be {len(LEVELS)}, one for each convolution, got {rates}")
        self.rates = rates

    def prepare(self, model: nn.Module) -> nn.Module:
        _extractor(model, SoftHebb, "softhebb", "softhebb_cnn").learning = True
        return model

    @torch.no_grad()
    def step(self, model: nn.Module, batch: Batch, loss: Loss, progress: Progress) -> Metrics:
        _extractor(model, SoftHebb, "softhebb", "softhebb_cnn").learn(
            one_step(batch.x_seq), self.rates
        )
        return _silent(model, batch, loss)

    def finish(self, model: nn.Module) -> nn.Module:
        return model


def _extractor(model: nn.Module, kind: type[Kind], learner: str, name: str) -> Kind:
    found = model.extractor if isinstance(model, FirstSpikes) else None
    if isinstance(found, kind):
        return found
    what = type(model).__name__ if found is None else f"its {type(found).__name__}"
    raise Unsupported(
        f"{learner} trains the extractor {name}, and {what} is none; take the model "
        f'"first_spike" with extractor = {{ name = "{name}" }}'
    )


def _silent(model: nn.Module, batch: Batch, loss: Loss) -> Metrics:
    """Metrics of a step that answers nothing."""
    assert isinstance(model, FirstSpikes)
    logits_seq: Tensor = model.weight.new_zeros(1, len(batch.y), model.groups.classes)
    inner = bare(loss)
    return Metrics(to_scale(loss, inner(logits_seq, batch.y)), logits_seq)
