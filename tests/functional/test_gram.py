"""Gram matrices of potentials, and distilled answers."""

import pytest
import torch
import torch.nn.functional as F

from spikeloom.functional.distil import logit_mismatch
from spikeloom.functional.gram import gram, gram_mismatch

T, N = 3, 4


def potentials(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(T, N, *shape, generator=generator, dtype=torch.float64)


def test_rows_are_of_norm_one_and_equal_a_loop() -> None:
    h_seq = potentials(2, 3, 3)
    found = gram(h_seq)
    for t in range(T):
        F_t = h_seq[t].flatten(1)
        product = F_t @ F_t.T
        torch.testing.assert_close(found[t], product / product.norm(dim=1, keepdim=True))


def test_the_distance_is_the_mean_over_steps_of_that_over_samples() -> None:
    one, other = potentials(5), potentials(5, seed=1)
    want = sum((gram(one)[t] - gram(other)[t]).norm() ** 2 / N for t in range(T)) / T
    torch.testing.assert_close(gram_mismatch(one, other), want)


def test_a_layer_is_at_no_distance_from_itself_scaled_or_rotated() -> None:
    h_seq = potentials(2, 3)
    assert gram_mismatch(h_seq, h_seq) == 0
    turned = h_seq.flatten(2) @ torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64)).Q
    other = potentials(7, seed=1)
    for same in (2.5 * h_seq, turned):
        assert gram_mismatch(h_seq, same) < 1e-20
        torch.testing.assert_close(gram_mismatch(same, other), gram_mismatch(h_seq, other))


def test_layers_of_other_sizes_and_steps_are_compared() -> None:
    small, large = potentials(2, 3, 3), potentials(4, 6, 6, seed=1)
    assert gram_mismatch(small, large) > 0
    mean = large.mean(0, keepdim=True)
    torch.testing.assert_close(
        gram_mismatch(small[:2], large), gram_mismatch(small[:2].mean(0, keepdim=True), mean)
    )


def test_silent_layers_and_single_samples_stay_finite() -> None:
    silent = torch.zeros(T, N, 5, requires_grad=True)
    value = gram_mismatch(silent, potentials(5).float())
    value.backward()
    assert value.isfinite()
    assert silent.grad is not None
    assert silent.grad.isfinite().all()
    assert gram_mismatch(potentials(5)[:, :1], potentials(5, seed=1)[:, :1]) < 1e-20


def test_batches_of_other_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="same batch"):
        gram_mismatch(potentials(5), potentials(5)[:, :2])


def test_gradients_reach_the_potentials() -> None:
    one = potentials(3).requires_grad_()
    assert torch.autograd.gradcheck(lambda h: gram_mismatch(h, potentials(2, seed=1)), one)


def test_answers_differ_by_a_scaled_divergence() -> None:
    one, other, tau = potentials(6), potentials(6, seed=1), 3.0
    q, p = ((seq.mean(0) / tau).softmax(1) for seq in (one, other))
    want = tau**2 * F.kl_div(q.log(), p, reduction="batchmean")
    torch.testing.assert_close(logit_mismatch(one, other, tau), want)
    assert logit_mismatch(one, one + 7.0, tau).abs() < 1e-12
    with pytest.raises(ValueError, match=r"\(4, 6\) cannot follow a teacher's of \(4, 1\)"):
        logit_mismatch(one, other[..., :1])
