"""Shortcut back-propagation: classifiers on early stages carry the loss to shallow layers."""

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from spikeloom.learning.base import Batch, Loss, Metrics, Progress, Unsupported, of_batch
from spikeloom.learning.stages import classes_of, leaving, mean_place
from spikeloom.papers import Paper
from spikeloom.registry import register

PAPER = Paper(
    key="guo2024shortcut",
    title="Take A Shortcut Back: Mitigating the Gradient Vanishing for Training Spiking Neural "
    "Networks",
    authors=(
        "Yufei Guo",
        "Yuanpei Chen",
        "Zecheng Hao",
        "Weihang Peng",
        "Zhou Jie",
        "Yuhan Zhang",
        "Xiaode Liu",
        "Zhe Ma",
    ),
    venue="Advances in Neural Information Processing Systems",
    year=2024,
    url="https://arxiv.org/abs/2401.04486",
)

Combine = Literal["logits", "losses"]


class Branched(nn.Module):
    """A staged model and a classifier on each of its stages but the last.

    branch_l[t] = V_l mean_space(h_l[t]) + a_l, where h_l is what stage l puts out.
    """

    def __init__(self, model: nn.Module, chosen: Sequence[int], channels: Sequence[int]) -> None:
        super().__init__()
        self.model, self.chosen = model, tuple(chosen)
        K = classes_of(model)
        self.branches = nn.ModuleList(nn.Linear(channels[stage], K) for stage in chosen)

    def forward(self, x_seq: Tensor) -> Tensor:
        logits_seq: Tensor = self.model(x_seq)
        return logits_seq

    def with_branches(self, x_seq: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The logits of the model and those of its branches, each [T, N, K]."""
        with leaving(self.model, self.chosen) as seen:
            logits_seq = self.model(x_seq)
        pairs = zip(self.branches, seen, strict=True)
        return logits_seq, [branch(mean_place(h_seq)) for branch, h_seq in pairs]


@register("learner", "shortcut_bp", paper=PAPER, status="exact")
class ShortcutBP:
    """BPTT through the sum of the logits of the network and of classifiers on early stages.

    logits[t] = main[t] + λ(i) sum_l branch_l[t], with λ(i) = ``weight`` (1 - i / I) over the
    updates i of the phase (``evolve``; else constant). Scores are those of the main logits alone,
    and the branches are gone from the finished model. Sequences go through whole, also under
    ``run.memory = "low"``: branches read every step of a stage.

    Args:
        weight: λ at the start; the paper's plain variant has 1 with ``evolve=False``.
        evolve: let λ fall to 0.
        combine: ``logits`` are added (the paper), or ``losses`` (deep supervision, for
            comparison).
        stages: which stages get a branch; all but the last if None.
    Raises:
        ValueError: weight < 0, unknown ``combine``, or no stage or one twice.
        Unsupported: the model has no stages, or not those.
    Source:
        Guo et al., NeurIPS 2024 (arXiv 2401.04486), eqs. for o_final and λ(i). Inferred, as the
        paper leaves it open: a linear classifier for each branch on the spatial mean, the mean over
        time after it, and branches after all stages but the last.
    """

    def __init__(
        self,
        *,
        weight: float = 0.25,
        evolve: bool = True,
        combine: Combine = "logits",
        stages: Sequence[int] | None = None,
    ) -> None:
        if not weight >= 0:
            raise ValueError(f"weight must be >= 0, got {weight}")
        if combine not in ("logits", "losses"):
            raise ValueError(f"combine must be 'logits' or 'losses', got {combine!r}")
        if stages is not None and (not stages or len(set(stages)) < len(stages)):
            raise ValueError(f"stages must name at least one, each once, got {list(stages)}")
        self.weight, self.evolve, self.combine, self.stages = weight, evolve, combine, stages

    def prepare(self, model: nn.Module) -> nn.Module:
        channels = getattr(model, "stage_channels", None)
        if channels is None or len(channels) < 1:
            raise Unsupported(
                f"shortcut_bp puts classifiers on stages, and {type(model).__name__} has none; "
                "give the model `stages` and `stage_channels`"
            )
        chosen = range(len(channels) - 1) if self.stages is None else sorted(self.stages)
        if not all(0 <= stage < len(channels) for stage in chosen):
            raise Unsupported(
                f"{type(model).__name__} has stages 0 to {len(channels) - 1}, got {list(chosen)}"
            )
        weight = next(model.parameters())
        return Branched(model, chosen, channels).to(weight.device, weight.dtype)

    def step(self, model: nn.Module, batch: Batch, loss: Loss, progress: Progress) -> Metrics:
        assert isinstance(model, Branched)
        share = self.coefficient(progress)
        logits_seq, branches = model.with_branches(batch.x_seq)
        if self.combine == "logits":
            total = logits_seq
            passes = logits_seq.shape[1] // len(batch.y)  # a head may answer a sample twice
            for branch_seq in branches:
                total = total + share * branch_seq.repeat(1, passes, 1)
            value = loss(total, batch.y)
        else:
            value = loss(logits_seq, batch.y)
            for branch_seq in branches:
                value = value + share * loss(branch_seq, batch.y)
        value.backward()
        return Metrics(value.detach(), of_batch(logits_seq.detach(), batch.y))

    def coefficient(self, progress: Progress) -> float:
        """λ at this update."""
        return self.weight * (1 - progress.share if self.evolve else 1.0)

    def finish(self, model: nn.Module) -> nn.Module:
        assert isinstance(model, Branched)
        return model.model
