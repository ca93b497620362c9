"""Batch normalisation against PyTorch's and against its formulas."""

import math

import pytest
import torch
from torch import nn

from spikeloom.layers import BatchNorm, NoNorm, StepBatchNorm, ThresholdBatchNorm, of_sum

SHAPES = [(4, 3, 5), (4, 3, 5, 7), (2, 3, 5, 4, 6), (1, 2, 5, 3, 3)]


def dressed(norm):
    """The norm with weights and biases that are not 1 and 0."""
    with torch.no_grad():
        for parameter in norm.parameters():
            parameter.copy_(torch.rand_like(parameter) + 0.5)
    return norm


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("training", [True, False])
def test_equals_batch_norm_of_time_folded_into_the_batch(shape, training):
    ours, theirs = dressed(BatchNorm(5)).train(training), nn.BatchNorm1d(5).train(training)
    theirs.load_state_dict({**ours.state_dict(), "num_batches_tracked": torch.tensor(0)})
    outcomes = []
    x_seq = torch.randn(shape) * 3 + 1
    pull = torch.randn(shape)
    for norm in (ours, lambda x: theirs(x.reshape(len(x) * x.shape[1], 5, -1)).view(shape)):
        x = x_seq.clone().requires_grad_()
        y_seq = norm(x)
        (y_seq * pull).sum().backward()
        outcomes.append((y_seq, x.grad))
    torch.testing.assert_close(*outcomes)
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad)
    torch.testing.assert_close(ours.bias.grad, theirs.bias.grad)
    torch.testing.assert_close(ours.running_mean, theirs.running_mean)
    torch.testing.assert_close(ours.running_var, theirs.running_var)


def test_statistics_pool_over_time_batch_and_space():
    norm, x_seq = BatchNorm(1, eps=1e-12), torch.tensor([1.0, 3.0, 5.0, 7.0]).view(2, 1, 1, 2)
    spread = math.sqrt((9 + 1 + 1 + 9) / 4)
    expected = torch.tensor([-3.0, -1.0, 1.0, 3.0]) / spread
    torch.testing.assert_close(norm(x_seq).flatten(), expected)
    assert norm.running_mean.item() == pytest.approx(0.1 * 4.0)
    assert norm.running_var.item() == pytest.approx(0.9 + 0.1 * 20 / 3)


def test_evaluation_uses_the_running_averages_and_leaves_them():
    norm = dressed(BatchNorm(3)).eval()
    norm.running_mean.fill_(2.0)
    norm.running_var.fill_(4.0)
    x_seq = torch.randn(2, 2, 3)
    expected = norm.weight * (x_seq - 2) / math.sqrt(4 + 1e-5) + norm.bias
    torch.testing.assert_close(norm(x_seq), expected)
    assert (norm.running_mean == 2).all()


def test_half_precision_keeps_float32_statistics():
    norm, x_seq = BatchNorm(3), torch.randn(4, 8, 3, 5, 5) + 10
    half = norm(x_seq.bfloat16())
    assert half.dtype == torch.bfloat16
    assert norm.running_mean.dtype == torch.float32
    torch.testing.assert_close(norm.running_mean, torch.full((3,), 1.0), atol=0.05, rtol=0)


def test_state_dict_names_stay():
    names = ["weight", "bias", "running_mean", "running_var"]
    assert list(BatchNorm(3).state_dict()) == names


@pytest.mark.parametrize("norm", [BatchNorm(3), ThresholdBatchNorm(3), StepBatchNorm(3, T=2)])
def test_refuses_another_number_of_channels(norm):
    with pytest.raises(ValueError, match="built for 3 channels"):
        norm(torch.zeros(2, 2, 4))


def test_refuses_one_value_per_channel():
    with pytest.raises(ValueError, match="more than 1 value"):
        BatchNorm(3)(torch.zeros(1, 1, 3))


def test_threshold_norm_scales_to_the_threshold():
    plain, scaled = BatchNorm(3), ThresholdBatchNorm(3, v_threshold=0.5, alpha=0.25)
    dressed(plain)
    scaled.load_state_dict(plain.state_dict())
    x_seq = torch.randn(4, 6, 3, 5)
    expected = 0.125 * (plain(x_seq) - plain.bias.view(-1, 1)) + plain.bias.view(-1, 1)
    torch.testing.assert_close(scaled(x_seq), expected)
    torch.testing.assert_close(scaled.running_var, plain.running_var)


def test_threshold_norm_starts_with_the_spread_of_the_threshold():
    y_seq = ThresholdBatchNorm(3, v_threshold=0.7)(5 * torch.randn(8, 50, 3) + 2)
    assert y_seq.std().item() == pytest.approx(0.7, rel=1e-2)


def test_threshold_norms_that_add_up_share_the_spread():
    norm = ThresholdBatchNorm(3, v_threshold=0.7)
    assert of_sum(norm, branches=4) is norm
    assert norm.scale == pytest.approx(0.35)
    assert isinstance(of_sum(BatchNorm(3)), BatchNorm)


@pytest.mark.parametrize("arguments", [{"v_threshold": 0.0}, {"alpha": -1.0}])
def test_threshold_norm_refuses_scales_that_are_not_positive(arguments):
    with pytest.raises(ValueError, match="must be > 0"):
        ThresholdBatchNorm(3, **arguments)


def test_step_norm_keeps_statistics_and_weights_of_every_step():
    norm, x_seq = dressed(StepBatchNorm(3, T=4)), torch.randn(4, 6, 3, 5)
    y_seq = norm(x_seq)
    for t, step in enumerate(norm.steps):
        mean, var = x_seq[t].mean((0, 2)), x_seq[t].var((0, 2), correction=0)
        scale = step.weight / (var + 1e-5).sqrt()
        expected = (x_seq[t] - mean.view(-1, 1)) * scale.view(-1, 1)
        torch.testing.assert_close(y_seq[t], expected)
        torch.testing.assert_close(step.running_mean, 0.1 * mean)


def test_step_norm_has_no_bias():
    norm = StepBatchNorm(3, T=2)
    assert [name for name, _ in norm.named_parameters()] == ["steps.0.weight", "steps.1.weight"]


def test_step_norm_takes_shorter_sequences_and_refuses_longer_ones():
    norm, x_seq = StepBatchNorm(3, T=3), torch.randn(4, 6, 3)
    assert norm(x_seq[:2]).shape == (2, 6, 3)
    with pytest.raises(ValueError, match=r"built for T = 3, got a sequence of 4"):
        norm(x_seq)


def test_no_norm_does_nothing():
    x_seq = torch.randn(2, 2, 3)
    assert NoNorm(3)(x_seq) is x_seq


@pytest.mark.parametrize("size", [(), (4, 4)], ids=["vectors", "images"])
def test_no_norm_may_add_a_bias_to_every_channel(size):
    plain, biased = NoNorm(3), NoNorm(3, bias=True)
    x_seq = torch.randn(2, 5, 3, *size)
    assert plain(x_seq) is x_seq
    assert not list(plain.parameters())
    assert torch.equal(biased(x_seq), x_seq), "it starts at 0"
    with torch.no_grad():
        biased.bias.copy_(torch.arange(3))
    torch.testing.assert_close((biased(x_seq) - x_seq)[:, :, 2], torch.full_like(x_seq[:, :, 2], 2))
