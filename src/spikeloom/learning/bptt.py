"""Back-propagation through time with surrogate gradients."""

from torch import nn

from spikeloom.layers import unrolled
from spikeloom.learning.base import Batch, Loss, Metrics, Progress, of_batch
from spikeloom.papers import Paper
from spikeloom.registry import register

PAPER = Paper(
    key="neftci2019surrogate",
    title="Surrogate Gradient Learning in Spiking Neural Networks",
    authors=("Emre O. Neftci", "Hesham Mostafa", "Friedemann Zenke"),
    venue="IEEE Signal Processing Magazine",
    form="article",
    year=2019,
    url="https://doi.org/10.1109/MSP.2019.2931595",
)


@register("learner", "bptt", paper=PAPER, status="exact")
class BPTT:
    """Back-propagation through time: autograd through all T steps.

    dL/dW = sum_t dL/dh[t] dh[t]/dW, where the spike's derivative is its surrogate's slope and
    dL/dh[t] collects what comes from the layers above and from h[t + 1].

    Source:
        Neftci, Mostafa and Zenke, IEEE Signal Processing Magazine 36(6), 2019.
    """

    def prepare(self, model: nn.Module) -> nn.Module:
        return model

    def step(self, model: nn.Module, batch: Batch, loss: Loss, progress: Progress) -> Metrics:
        logits_seq = unrolled(model, batch.x_seq)
        value = loss(logits_seq, batch.y)
        value.backward()
        return Metrics(value.detach(), of_batch(logits_seq.detach(), batch.y))

    def finish(self, model: nn.Module) -> nn.Module:
        return model
