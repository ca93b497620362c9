import pytest
import torch

from spikeloom.losses import MSE
from spikeloom.registry import Unsupported


def test_the_mean_over_steps_is_taken_before_the_square():
    out_seq = torch.tensor([[[0.0]], [[2.0]]])
    assert MSE()(out_seq, torch.tensor([[1.0]])) == 0


def test_mse_is_the_mean_over_samples_and_outputs():
    out_seq, y = torch.randn(3, 5, 4), torch.randn(5, 4)
    want = (out_seq.mean(0) - y).square().mean()
    torch.testing.assert_close(MSE()(out_seq, y), want)
    torch.testing.assert_close(MSE(half=True, over="sum")(out_seq, y), 2 * want)


def test_one_answer_to_the_sequence_is_enough():
    out, y = torch.randn(1, 5, 4), torch.randn(5, 4)
    torch.testing.assert_close(MSE()(out, y), MSE()(out.expand(3, 5, 4), y))


def test_targets_of_another_width_are_refused():
    with pytest.raises(Unsupported, match=r"\(5, 4\) and \(5, 1\)"):
        MSE()(torch.zeros(2, 5, 4), torch.zeros(5, 1))
    with pytest.raises(ValueError, match="use 'mean' or 'sum'"):
        MSE(over="max")
