"""The pass on rates: values of the simulation, derivatives of the averages."""

import pytest
import torch

from spikeloom.functional import batch_norm, batch_statistics, rate_batch_norm, rate_neuron


def test_a_layer_of_neurons_has_the_rate_as_value_and_the_gain_as_slope():
    c = torch.randn(3, 5, requires_grad=True)
    rate, gain, g = torch.rand(3, 5), torch.randn(3, 5), torch.randn(3, 5)
    out = rate_neuron(c, rate, gain)
    assert torch.equal(out, rate)
    out.backward(g)
    assert torch.equal(c.grad, g * gain)


def published(c, mean, var, weight, bias, eps):
    """The statistics' values are given, their gradients those of c."""
    over = [d for d in range(c.dim()) if d != 1]
    channel = (1, -1, *[1] * (c.dim() - 2))
    own = c.mean(over)
    mean = mean + (own - own.detach())
    spread = (c - mean.view(channel)).square().mean(over)
    var = (var + (spread - spread.detach())).clamp(min=0)
    y = (c - mean.view(channel)) / (var.view(channel) + eps).sqrt()
    return weight.view(channel) * y + bias.view(channel)


@pytest.mark.parametrize("space", [(), (3, 5)])
def test_the_norm_is_that_of_the_paper(space):
    torch.manual_seed(0)
    x_seq = 2 * torch.randn(4, 6, 5, *space, dtype=torch.float64) + 0.7
    weight, bias = (torch.randn(5, dtype=torch.float64, requires_grad=True) for _ in range(2))
    running = torch.zeros(5, dtype=torch.float64), torch.ones(5, dtype=torch.float64)
    y_seq, mean, rstd = batch_statistics(x_seq, weight, bias, *running)
    c = x_seq.mean(0).requires_grad_()
    ours = rate_batch_norm(c, mean, rstd, weight, bias)
    theirs = published(c, mean, rstd**-2 - 1e-5, weight, bias, 1e-5)
    torch.testing.assert_close(ours, y_seq.mean(0))
    torch.testing.assert_close(ours, theirs)
    g = torch.randn_like(c)
    for a, b in zip(
        torch.autograd.grad(ours, (c, weight, bias), g),
        torch.autograd.grad(theirs, (c, weight, bias), g),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def test_statistics_are_those_of_batch_norm():
    x_seq, weight = torch.randn(3, 4, 6, 2, 2), torch.rand(6)
    ours, theirs = ((torch.zeros(6), torch.ones(6)) for _ in range(2))
    y_seq, _, _ = batch_statistics(x_seq, weight, None, *ours)
    want = batch_norm(x_seq, weight, None, *theirs, training=True)
    torch.testing.assert_close((y_seq, *ours), (want, *theirs))


def test_one_value_per_channel_has_no_variance():
    with pytest.raises(ValueError, match="more than one value per channel"):
        batch_statistics(torch.ones(1, 1, 3), None, None, torch.zeros(3), torch.ones(3))
