"""Networks that grow grade by grade: heads on nested features, added up."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from spikeloom.papers import Paper

PAPER = Paper(
    key="fang2024addressing",
    title="Addressing Spectral Bias of Deep Neural Networks by Multi-Grade Deep Learning",
    authors=("Ronglong Fang", "Yuesheng Xu"),
    venue="Advances in Neural Information Processing Systems",
    year=2024,
    url="https://arxiv.org/abs/2410.16105",
)


class Grades(nn.Module):
    """Stacks of layers in a row, each with a head; the network answers with the sum of the heads.

    h_0 = x, h_l = features_l(h_{l-1}), F_l = Σ_{m <= l} gain_m heads_m(h_m), and the output is F_L.
    What a head puts out is no part of what the next grade sees. ``gain`` is a buffer, so that
    checkpoints and copies of the network know which grades count: 1 at first, 0 for grades that
    training grade by grade has not opened yet, and the size of what a grade learnt where that was
    rescaled.

    Args:
        features: one stack for each grade, input to features.
        heads: one for each grade, features to answers.
    Shape:
        x_seq [T, N, *] -> y_seq [T, N, K]
    Raises:
        ValueError: not as many heads as stacks, or none.
    Source:
        Xu, arXiv 2302.00150; Fang and Xu, NeurIPS 2024.
    Example:
        >>> Grades([nn.Linear(2, 5), nn.Linear(5, 4)], [nn.Linear(5, 1), nn.Linear(4, 1)])(
        ...     torch.zeros(1, 3, 2)
        ... ).shape
        torch.Size([1, 3, 1])
    """

    step_by_step: ClassVar[bool] = True
    gain: Tensor

    def __init__(self, features: Sequence[nn.Module], heads: Sequence[nn.Module]) -> None:
        super().__init__()
        if not features or len(features) != len(heads):
            raise ValueError(
                f"a grade is a stack and a head, got {len(features)} stacks and {len(heads)} heads"
            )
        self.features, self.heads = nn.ModuleList(features), nn.ModuleList(heads)
        self.register_buffer("gain", torch.ones(len(self.features)))

    def __len__(self) -> int:
        """Number of grades."""
        return len(self.features)

    @property
    def count(self) -> int:
        """Number of grades that are open."""
        return int(self.gain.count_nonzero())

    def forward(self, x_seq: Tensor) -> Tensor:
        return self.running(x_seq)[-1]

    def running(self, x_seq: Tensor) -> list[Tensor]:
        """F_1, ..., F_L: what the network would answer if it ended with each grade.

        Shape:
            x_seq [T, N, *] -> L x [T, N, K]
        """
        h_seq, found = x_seq, list[Tensor]()
        for at, (features, head) in enumerate(zip(self.features, self.heads, strict=True)):
            h_seq = features(h_seq)
            y_seq = self.gain[at] * head(h_seq)
            found.append(found[-1] + y_seq if found else y_seq)
        return found

    def open(self, grade: int) -> None:
        """Let the grades up to this one count, counted from 0, and those after it not."""
        self.gain[grade] = 1
        self.gain[grade + 1 :] = 0

    @torch.no_grad()
    def below(self, x_seq: Tensor, grade: int) -> tuple[Tensor, Tensor]:
        """What a grade sees, and what those before it answer, without gradients.

        Shape:
            x_seq [T, N, *] -> h_seq [T, N, *], F [N, K], the mean over steps; 0 for grade 0
        """
        h_seq, total = x_seq, x_seq.new_zeros(())
        for at in range(grade):
            h_seq = self.features[at](h_seq)
            total = total + self.gain[at] * self.heads[at](h_seq).mean(0)
        return h_seq, total

    def answer(self, h_seq: Tensor, grade: int) -> Tensor:
        """What the head of a grade says, before its gain.

        Shape:
            h_seq [T, N, *] -> [T, N, K]
        """
        y_seq: Tensor = self.heads[grade](self.features[grade](h_seq))
        return y_seq

    def part(self, grade: int) -> list[nn.Module]:
        """The stack and the head of a grade."""
        return [self.features[grade], self.heads[grade]]


class FirstGrades(nn.Module):
    """The same network, ending with a grade; it shares weights.

    Args:
        grades: the network.
        count: grades that answer, >= 1.
    Shape:
        as :class:`Grades`
    """

    def __init__(self, grades: Grades, count: int) -> None:
        super().__init__()
        self.grades, self.count = grades, count

    def forward(self, x_seq: Tensor) -> Tensor:
        return self.grades.running(x_seq)[self.count - 1]
