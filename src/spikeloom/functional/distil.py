"""Distillation: answers that follow those of a teacher."""

from torch import Tensor

from spikeloom.functional.neurons.inputs import wide


def logit_mismatch(logits_seq: Tensor, target_seq: Tensor, temperature: float = 1.0) -> Tensor:
    """Divergence of a student's classes from a teacher's: tau^2 KL(q_teacher | q_student).

    q = softmax(mean_t logits / tau); the mean over samples.

    Args:
        logits_seq: of the student.
        target_seq: of the teacher, over any number of steps.
        temperature: tau, > 0.
    Shape:
        logits_seq [T, N, K], target_seq [T', N, K] -> scalar
    Raises:
        ValueError: other samples or classes than the teacher's.
    Source:
        Hinton, Vinyals and Dean, 2015 (arXiv 1503.02531).
    """
    if logits_seq.shape[1:] != target_seq.shape[1:]:
        raise ValueError(
            f"answers [N, K] of {tuple(logits_seq.shape[1:])} cannot follow a teacher's of "
            f"{tuple(target_seq.shape[1:])}; let both see the same batch and the same classes"
        )
    student, teacher = (
        (wide(seq).mean(0) / temperature).log_softmax(1) for seq in (logits_seq, target_seq)
    )
    apart = (teacher.exp() * (teacher - student)).sum(1)
    return temperature**2 * apart.mean()
