"""The loss of LTMD against its closed form."""

import pytest
import torch
from torch.nn import functional as F

from spikeloom.losses import (
    CountMSE,
    RateCrossEntropy,
    TemporalEfficientTraining,
    TwoPassCrossEntropy,
)
from spikeloom.losses.ltmd import disagreement
from spikeloom.registry import Unsupported

T, N, K = 3, 6, 4


def logits_seq(rows=N):
    return torch.randn(T, rows, K, dtype=torch.float64)


def classes():
    return torch.randint(K, (N,))


def test_the_disagreement_of_the_worked_example():
    z1, z2 = torch.tensor([[1.0, 0.0, -1.0]]), torch.tensor([[0.5, 0.5, -1.0]])
    assert disagreement(z1, z2).item() == pytest.approx(0.0350427, abs=1e-7)
    assert disagreement(z2, z1).item() == pytest.approx(0.0350427, abs=1e-7)


def test_it_is_the_mean_of_both_divergences_over_samples_and_classes():
    z1, z2 = logits_seq().mean(0), logits_seq().mean(0)
    log1, log2 = torch.log_softmax(z1, 1), torch.log_softmax(z2, 1)
    both = [
        F.kl_div(one, other, reduction="batchmean", log_target=True) / K
        for one, other in ((log1, log2), (log2, log1))
    ]
    torch.testing.assert_close(disagreement(z1, z2), sum(both) / 2)


def test_the_loss_is_half_of_each_cross_entropy_and_half_the_disagreement():
    x, y = logits_seq(2 * N), classes()
    z1, z2 = x[:, :N].mean(0), x[:, N:].mean(0)
    ce = 0.5 * (F.cross_entropy(z1, y) + F.cross_entropy(z2, y))
    torch.testing.assert_close(TwoPassCrossEntropy()(x, y), ce + 0.5 * disagreement(z1, z2))
    torch.testing.assert_close(TwoPassCrossEntropy(weight=0.0)(x, y), ce)


def test_equal_answers_leave_the_cross_entropy():
    x, y = logits_seq(), classes()
    twice = torch.cat([x, x], 1)
    assert disagreement(*twice.mean(0).chunk(2)) == 0
    torch.testing.assert_close(TwoPassCrossEntropy()(twice, y), RateCrossEntropy()(x, y))


def test_one_row_for_each_target_is_the_cross_entropy():
    x, y = logits_seq(), classes()
    assert torch.equal(TwoPassCrossEntropy()(x, y), RateCrossEntropy()(x, y))
    smooth = {"label_smoothing": 0.1}
    assert torch.equal(TwoPassCrossEntropy(**smooth)(x, y), RateCrossEntropy(**smooth)(x, y))


def test_gradients_of_two_passes_are_the_slopes_of_the_loss():
    x, y = logits_seq(2 * N).requires_grad_(), classes()
    assert torch.autograd.gradcheck(lambda x: TwoPassCrossEntropy()(x, y), x)


@pytest.mark.parametrize("build", [RateCrossEntropy, TemporalEfficientTraining, CountMSE])
def test_other_losses_refuse_two_answers_and_name_the_remedy(build):
    with pytest.raises(Unsupported, match=r'12 rows for 6 .* loss = "ltmd".*two_passes = false'):
        build()(logits_seq(2 * N), classes())


@pytest.mark.parametrize("rows", [N - 1, 3 * N])
def test_another_number_of_rows_is_refused(rows):
    with pytest.raises(Unsupported, match=f"got {rows} rows for 6 targets"):
        TwoPassCrossEntropy()(logits_seq(rows), classes())


def test_impossible_weights_are_refused():
    with pytest.raises(ValueError, match="weight must be >= 0"):
        TwoPassCrossEntropy(weight=-0.1)
    with pytest.raises(ValueError, match="label_smoothing"):
        TwoPassCrossEntropy(label_smoothing=1.0)
