"""Rate-based back-propagation: a simulation without a graph, then one pass on firing rates."""

from typing import Literal

from torch import nn

from spikeloom.functional.neurons.inputs import wide
from spikeloom.learning.base import Batch, Loss, Metrics, Progress, of_batch
from spikeloom.learning.rate_passes import Simulation
from spikeloom.learning.rate_refusals import refuse, refuse_now
from spikeloom.papers import Paper
from spikeloom.registry import register

PAPER = Paper(
    key="yu2024rate",
    title="Advancing Training Efficiency of Deep Spiking Neural Networks through Rate-based "
    "Backpropagation",
    authors=("Chengting Yu", "Lei Liu", "Gaoang Wang", "Erping Li", "Aili Wang"),
    venue="Advances in Neural Information Processing Systems",
    year=2024,
    url="https://arxiv.org/abs/2410.11488",
    code="https://github.com/Tab-ct/rate-based-backpropagation",
)

Steps = Literal["multi", "single"]


@register("learner", "rate_bp", paper=PAPER, status="exact")
class RateBP:
    """Rate-based back-propagation: memory and backward time do not grow with T.

    The network is simulated without a graph, while every neuron notes its firing rate e_T and its
    gain g_T = d e_T / dc. Then it runs once more, on mean inputs and rates, with

        value of a layer of neurons = e_T,    dL/dc = dL/de_T g_T,

    and gets (1/T) sum_t dL/do[t], o[t] the outputs of the simulation. This is 1/T of the gradient
    of BPTT where errors and the neurons' derivatives do not go together in time, which always holds
    for the last linear map.

    Args:
        steps: ``multi``: all steps of a layer, then the next layer; batch norms take their
            statistics over time. ``single``: all layers for a step, then the next step, in memory
            that does not grow with T; every step has statistics of its own.
        scale_loss_by_T: back-propagate 1/T of the loss, as published; without, gradients are as
            large as those of BPTT.
    Raises:
        ValueError: unknown ``steps``.
        Unsupported: the model is not linear between its neurons, or these are not LIF; a callback
            takes a term of the loss from the simulation; several processes share batch norms.
    Source:
        Yu et al., NeurIPS 2024 (arXiv 2410.11488): rate_M and rate_S. Where the authors' code
        takes the last step's statistics (single) or frame, here it is the mean.
    """

    def __init__(self, *, steps: Steps = "multi", scale_loss_by_T: bool = True) -> None:
        if steps not in ("multi", "single"):
            raise ValueError(f"steps must be 'multi' or 'single', got {steps!r}")
        self.steps, self.scale_loss_by_T = steps, scale_loss_by_T

    def prepare(self, model: nn.Module) -> nn.Module:
        refuse(model)
        return model

    def step(self, model: nn.Module, batch: Batch, loss: Loss, progress: Progress) -> Metrics:
        refuse_now(model)
        T = len(batch.x_seq)
        simulation = Simulation(model)
        logits_seq = simulation.run(batch.x_seq, T if self.steps == "multi" else 1)
        outputs = wide(logits_seq).requires_grad_()
        value = loss(outputs, batch.y)
        (value / T if self.scale_loss_by_T else value).backward()
        if outputs.grad is not None:
            logits = simulation.rates(batch.x_seq)
            logits.backward(outputs.grad.sum(0).to(logits.dtype))
        return Metrics(value.detach(), of_batch(logits_seq, batch.y))

    def finish(self, model: nn.Module) -> nn.Module:
        return model
