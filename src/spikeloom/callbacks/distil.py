"""Plain distillation: of a teacher's answers, and of its firing rates."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from spikeloom.callbacks.base import Term
from spikeloom.callbacks.potentials import Seen
from spikeloom.callbacks.taught import Taught, TaughtLayers
from spikeloom.functional.distil import logit_mismatch
from spikeloom.functional.neurons.inputs import wide
from spikeloom.functional.tandem import rate_mismatch
from spikeloom.learning.base import Batch
from spikeloom.papers import Paper
from spikeloom.registry import Unsupported, register

PAPER = Paper(
    key="hinton2015distilling",
    title="Distilling the Knowledge in a Neural Network",
    authors=("Geoffrey Hinton", "Oriol Vinyals", "Jeff Dean"),
    venue="arXiv preprint arXiv:1503.02531",
    year=2015,
    url="https://arxiv.org/abs/1503.02531",
)


@register("callback", "distil_logits", paper=PAPER, status="exact")
class DistilLogits(Taught):
    """Distils answers: weight tau^2 KL(q_teacher | q_model), q = softmax(mean logits / tau).

    Added each time that a learner asks for its loss, so branches of a network follow too.

    Args:
        weight: of the term.
        temperature: tau, > 0.
        steps: of the teacher where they differ from the model's, for repeated images.
        teacher: handed over by the run: see ``[teacher]``.
    Raises:
        ValueError: an argument out of range.
        Unsupported: no teacher.
    Source:
        Hinton, Vinyals and Dean, 2015 (arXiv 1503.02531).
    """

    name = "distil_logits"

    def __init__(
        self,
        *,
        weight: float = 1.0,
        temperature: float = 4.0,
        steps: int | None = None,
        teacher: nn.Module | None = None,
    ) -> None:
        super().__init__(weight, steps, teacher)
        if not temperature > 0:
            raise ValueError(f"temperature must be > 0, got {temperature}")
        self.temperature = temperature

    @contextmanager
    def term(self, model: nn.Module) -> Iterator[Term]:
        def value(batch: Batch, logits_seq: Tensor) -> Tensor:
            target_seq = self.answer(batch.x_seq)
            answers = logits_seq.shape[1] // target_seq.shape[1]  # of a head, for each sample
            target_seq = target_seq.repeat(1, answers, 1)
            return self.weight * logit_mismatch(logits_seq, target_seq, self.temperature)

        yield value


@register("callback", "distil_rates")
class DistilRates(TaughtLayers):
    """Distils firing rates: weight sum_pairs mean (rate_S - rate_T)^2.

    Layers that are paired need the same shape; gradients pass the surrogate.

    Args:
        weight: of the sum.
        pairs: names, or patterns that match one layer each, of layers of neurons of the model and
            of the teacher; the last neurons of every stage by default.
        steps: of the teacher where they differ from the model's, for repeated images.
        teacher: handed over by the run: see ``[teacher]``.
    Raises:
        ValueError: an argument out of range.
        Unsupported: no teacher, no such layers, other numbers of stages, or layers that differ in
            shape.
    """

    name = "distil_rates"

    def apart(self, own: Seen, other: Seen) -> Tensor:
        rates = [wide(layer.spike_seq).mean(0) for layer in (own, other)]
        if rates[0].shape != rates[1].shape:
            raise Unsupported(
                f"distil_rates compares {own.name} of shape {tuple(rates[0].shape[1:])} with "
                f"{other.name} of the teacher of shape {tuple(rates[1].shape[1:])}; pair layers "
                "of one shape, or use mpfd"
            )
        return rate_mismatch(rates[0], rates[1])
