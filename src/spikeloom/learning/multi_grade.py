"""Multi-grade learning: one grade after the other, each on what those before it left over."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from spikeloom.layers import Grades
from spikeloom.layers.grades import PAPER
from spikeloom.learning.base import Batch, Loss, Metrics, Noted, Progress, Unsupported, bare
from spikeloom.registry import register


@register("learner", "mgdl", paper=PAPER, status="exact")
class MultiGrade:
    """Multi-grade deep learning (MGDL): a phase trains one grade on the residual of those before.

    Grade l descends loss(f_l(h_{l-1}), e_l) with e_l = y - F_{l-1}; grades before it stay as they
    are, those after it are closed. Optimizer and schedule start anew with the phase. Training
    scores are of the accumulated prediction against y.

    Args:
        nth: phases of this learner before this one, which the run counts: the grade to train.
        cache: compute h_{l-1} and F_{l-1} of all training samples once, at the beginning of the
            phase; false computes them at every step, as augmentation needs.
        rescale: divide e_l by its root mean square, and multiply f_l by it; not in the paper.
    Raises:
        Unsupported: a model that is not made of grades, or has fewer than there are phases; a loss
            of classes.
    Source:
        Fang and Xu, NeurIPS 2024; Xu, arXiv 2302.00150. Rescaling is our own.
    """

    def __init__(self, *, nth: int = 0, cache: bool = True, rescale: bool = False) -> None:
        self.grade, self.caches, self.rescale = nth, cache, rescale

    def prepare(self, model: nn.Module) -> nn.Module:
        grades = _grades(model)
        if self.grade >= len(grades):
            raise Unsupported(
                f"a phase of mgdl trains one grade, and this would be the one after the last of "
                f"{len(grades)}; take out phases, or give the model more grades"
            )
        grades.open(self.grade)
        return model

    @torch.no_grad()
    def begin(self, model: nn.Module, batches: Iterable[Batch]) -> Noted:
        """Features and predictions of the grades before, and the size of what they left over."""
        grades, seen, known = _grades(model), list[Tensor](), list[Tensor]()
        squares = count = 0.0
        alive: Tensor | None = None
        for batch in batches:
            h_seq, before = grades.below(batch.x_seq, self.grade)
            residual = batch.y - before
            squares += float(residual.double().square().sum())
            count += residual.numel()
            if self.grade:
                here = (h_seq != 0).flatten(0, 1).any(0)
                alive = here if alive is None else alive | here
                if self.caches:
                    seen.append(h_seq.transpose(0, 1))
                    known.append(before)
        rms = (squares / max(count, 1)) ** 0.5
        if self.rescale:
            grades.gain[self.grade] = rms or 1.0
        facts = {"residual rms": rms}
        if alive is not None:
            facts["dead features"] = 1 - float(alive.double().mean())
        if not seen:  # the first grade sees the samples as they are
            return Noted(facts=facts)
        return Noted(torch.cat(seen), torch.cat(known), facts)

    def step(self, model: nn.Module, batch: Batch, loss: Loss, progress: Progress) -> Metrics:
        grades = _grades(model)
        inner = bare(loss)
        if not getattr(inner, "numbers", False):
            raise Unsupported(
                "mgdl learns what is left of numbers, which classes have not; take data of numbers "
                'and loss = "mse"'
            )
        for part in (part for grade in range(self.grade) for part in grades.part(grade)):
            part.eval()
        if batch.known is None:
            h_seq, before = grades.below(batch.x_seq, self.grade)
        else:
            h_seq, before = batch.x_seq, batch.known
        gain = grades.gain[self.grade]
        answer_seq = grades.answer(h_seq, self.grade)
        value = loss(answer_seq, (batch.y - before) / gain)
        value.backward()
        return Metrics(value.detach(), before + gain * answer_seq.detach())

    def finish(self, model: nn.Module) -> nn.Module:
        return model


def _grades(model: nn.Module) -> Grades:
    if isinstance(model, Grades):
        return model
    raise Unsupported(
        f"mgdl trains networks made of grades, and {type(model).__name__} is none; take "
        '"graded_mlp", or cut a stack of layers with spikeloom.layers.Grades'
    )
