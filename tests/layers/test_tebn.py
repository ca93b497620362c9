"""TEBN against the numbers of its specification and the norm that it extends."""

import pytest
import torch
from torch import nn

from spikeloom.functional import Triangle, factor, lif
from spikeloom.layers import BatchNorm
from spikeloom.layers.tebn import TemporalEffectiveBatchNorm

X = torch.tensor([[0.0, 2.0], [4.0, 6.0]])[..., None]


def example() -> TemporalEffectiveBatchNorm:
    norm = TemporalEffectiveBatchNorm(1, T=2)
    with torch.no_grad():
        norm.weight.fill_(1.5)
        norm.bias.fill_(0.25)
        norm.p.copy_(torch.tensor([1.0, 0.5]))
    return norm


def test_p_of_one_is_batch_norm_with_its_running_statistics() -> None:
    x_seq = torch.randn(4, 3, 5, 6, 6)
    norm, plain = TemporalEffectiveBatchNorm(5, T=4), BatchNorm(5)
    reference = nn.BatchNorm2d(5)
    want = reference(x_seq.flatten(0, 1)).unflatten(0, (4, 3))
    for one in (norm, plain):
        torch.testing.assert_close(one(x_seq), want, rtol=0, atol=1e-6)
        torch.testing.assert_close(one.running_mean, reference.running_mean)
        torch.testing.assert_close(one.running_var, reference.running_var)


def test_p_of_zero_silences_bias_too() -> None:
    norm = example()
    nn.init.zeros_(norm.p)
    assert not norm(X).any()


def test_one_step_is_a_scaled_batch_norm() -> None:
    x_seq = torch.randn(1, 6, 3)
    norm = TemporalEffectiveBatchNorm(3, T=1)
    nn.init.constant_(norm.p, 0.7)
    torch.testing.assert_close(norm(x_seq), 0.7 * BatchNorm(3)(x_seq))


def test_the_worked_example() -> None:
    norm = example()
    out = norm(X)
    want = torch.tensor([[-1.76246, -0.42082], [0.46041, 1.13123]])
    torch.testing.assert_close(out[..., 0], want, rtol=0, atol=1e-5)
    out.sum().backward()
    torch.testing.assert_close(norm.p.grad, torch.tensor([-2.18328, 3.18328]), rtol=0, atol=1e-5)


def test_gradient_of_p_is_that_of_finite_differences() -> None:
    norm = TemporalEffectiveBatchNorm(3, T=4).double()
    x_seq, g = torch.randn(4, 5, 3, dtype=torch.float64), torch.randn(4, 5, 3, dtype=torch.float64)

    def head(p: torch.Tensor) -> torch.Tensor:
        norm.p.data.copy_(p)
        return (torch.tanh(norm(x_seq)) * g).sum()

    start = torch.randn(4, dtype=torch.float64)
    head(start).backward()
    found = norm.p.grad
    for t in range(4):
        shift = torch.zeros(4, dtype=torch.float64)
        shift[t] = 1e-6
        slope = (head(start + shift) - head(start - shift)).item() / 2e-6
        assert abs(slope - float(found[t])) < 1e-7


def test_scaling_weight_and_bias_against_p_changes_nothing() -> None:
    norm = example()
    before = norm(X)
    with torch.no_grad():
        norm.weight.mul_(3.0)
        norm.bias.mul_(3.0)
        norm.p.div_(3.0)
    torch.testing.assert_close(norm(X), before)


def test_folded_weights_are_those_of_the_worked_example() -> None:
    norm = example()
    with torch.no_grad():
        norm.running_mean.fill_(3.0)
        norm.running_var.fill_(5.0)
    W, b = norm.folded(torch.full((1, 1), 2.0), torch.full((1,), 0.1))
    torch.testing.assert_close(W.flatten(), torch.tensor([1.34164, 0.67082]), rtol=0, atol=1e-5)
    torch.testing.assert_close(b.flatten(), torch.tensor([-1.69538, -0.84769]), rtol=0, atol=1e-5)


def test_folded_inference_is_evaluation_with_the_layer() -> None:
    conv, norm = nn.Conv2d(3, 5, 3, padding=1), TemporalEffectiveBatchNorm(5, T=4)
    nn.init.normal_(norm.p)
    x_seq = torch.randn(4, 2, 3, 6, 6)
    currents = conv(x_seq.flatten(0, 1)).unflatten(0, (4, 2))
    norm(currents)  # move the running statistics
    norm.eval()
    want = norm(currents)
    W, b = norm.folded(conv.weight, conv.bias)
    for t in range(4):
        found = torch.nn.functional.conv2d(x_seq[t], W[t], b[t], padding=1)
        torch.testing.assert_close(found, want[t], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(norm.step(currents[t], t), want[t])


def test_the_neuron_it_was_used_with() -> None:
    x_seq = torch.tensor([0.9, 0.9, 0.2, 1.1, 0.5]).view(5, 1, 1).requires_grad_()
    spikes, _ = lif(x_seq, decay=factor(0.25), strict=True, surrogate=Triangle(alpha=1.0))
    assert spikes.flatten().tolist() == [0, 1, 0, 1, 0]
    spikes.sum().backward()
    want = torch.tensor([0.937183, 0.782795, 0.374675, 0.727812, 0.5])
    torch.testing.assert_close(x_seq.grad.flatten(), want, rtol=0, atol=1e-5)


def test_another_number_of_steps_is_refused() -> None:
    with pytest.raises(ValueError, match="T = 2 steps, got 3"):
        example()(torch.zeros(3, 2, 1))
    with pytest.raises(ValueError, match=r"0 \.\.\. 1"):
        example().eval().step(torch.zeros(2, 1), 2)
    with pytest.raises(RuntimeError, match="all steps"):
        example().step(torch.zeros(2, 1), 0)


def test_half_precision_stays_what_it_is():
    norm = TemporalEffectiveBatchNorm(3, T=2)
    x_seq = torch.randn(2, 4, 3, 5, 5, dtype=torch.bfloat16)
    assert norm(x_seq).dtype == torch.bfloat16
    assert norm.eval().step(x_seq[0], 0).dtype == torch.bfloat16
