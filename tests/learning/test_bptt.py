"""Back-propagation through time against gradients derived by hand."""

import pytest
import torch
from torch import nn

from spikeloom.functional import Decay, Triangle
from spikeloom.layers import LIF, OverTime
from spikeloom.learning import BPTT, Batch, Progress
from spikeloom.losses import RateCrossEntropy

NOW = Progress(epoch=0, epochs=1, update=0, updates=1)

# One input, one neuron, weight 1, keep 1/2, threshold 1, slope g = 1 - |h - 1|:
#   x 0.8 0.8 0.6 -> h 0.8 1.2 and then with a reset h 0.7 (soft: 0.1 left) or 0.6 (hard: 0 left),
#   and L = s[1] + 2 s[2] + 3 s[3], so that, with d for the derivative by the weight,
#   dL = sum_t t g[t] dh[t] and dh[t] = x[t] + dv[t-1] / 2.
X = (0.8, 0.8, 0.6)
BY_HAND = {
    # dv = dh (1 - g)              dh: 0.8, 0.8 + 0.16/2, 0.6 + 0.176/2
    ("soft", False): 0.8 * 0.8 + 2 * 0.8 * 0.88 + 3 * 0.7 * 0.688,
    # dv = dh                      dh: 0.8, 0.8 + 0.8/2, 0.6 + 1.2/2
    ("soft", True): 0.8 * 0.8 + 2 * 0.8 * 1.2 + 3 * 0.7 * 1.2,
    # dv = dh (1 - s) - h g dh     dh: 0.8, 0.8 + 0.288/2, 0.6 - 0.90624/2
    ("hard", False): 0.8 * 0.8 + 2 * 0.8 * 0.944 + 3 * 0.6 * 0.14688,
    # dv = dh (1 - s)              dh: 0.8, 0.8 + 0.8/2, 0.6 + 0
    ("hard", True): 0.8 * 0.8 + 2 * 0.8 * 1.2 + 3 * 0.6 * 0.6,
}


def one_to_one(reset, detach_reset):
    linear = nn.Linear(1, 1, bias=False).double()
    nn.init.ones_(linear.weight)
    neuron = LIF(
        decay=Decay(0.5), reset=reset, detach_reset=detach_reset, surrogate=Triangle(alpha=1.0)
    )
    return nn.Sequential(OverTime(linear), neuron)


def weighted(spike_seq, y):
    return (spike_seq.flatten() * y).sum()


def batch():
    x_seq = torch.tensor(X, dtype=torch.float64).view(3, 1, 1)
    return Batch(x_seq, torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64))


@pytest.mark.parametrize(("reset", "detach_reset"), BY_HAND)
def test_gradient_of_one_neuron_over_three_steps(reset, detach_reset):
    model = one_to_one(reset, detach_reset)
    seen = BPTT().step(model, batch(), weighted, NOW)
    assert seen.logits_seq.flatten().tolist() == [0.0, 1.0, 0.0]
    assert seen.loss.item() == 2.0
    (weight,) = model.parameters()
    assert weight.grad.item() == pytest.approx(BY_HAND[reset, detach_reset], rel=1e-12)


def test_gradients_add_up_in_grad():
    model = one_to_one("soft", False)
    for times in (1, 2, 3):
        BPTT().step(model, batch(), weighted, NOW)
        (weight,) = model.parameters()
        assert weight.grad.item() == pytest.approx(times * BY_HAND["soft", False], rel=1e-12)


def test_equals_autograd_of_the_whole_network():
    model = nn.Sequential(OverTime(nn.Linear(4, 6)), LIF(), OverTime(nn.Linear(6, 3)))
    x_seq, y = 2 * torch.rand(5, 7, 4), torch.randint(3, (7,))
    seen = BPTT().step(model, Batch(x_seq, y), RateCrossEntropy(), NOW)
    loss = RateCrossEntropy()(model(x_seq), y)
    expected = torch.autograd.grad(loss, list(model.parameters()))
    assert torch.equal(seen.loss, loss.detach())
    for p, grad in zip(model.parameters(), expected, strict=True):
        assert torch.equal(p.grad, grad)


def test_what_a_step_reports_holds_no_graph():
    seen = BPTT().step(one_to_one("hard", False), batch(), weighted, NOW)
    assert not seen.loss.requires_grad
    assert not seen.logits_seq.requires_grad


def test_prepare_and_finish_change_nothing():
    model = one_to_one("hard", False)
    assert BPTT().prepare(model) is model
    assert BPTT().finish(model) is model


@pytest.mark.parametrize(("update", "share"), [(0, 0.0), (5, 0.5), (10, 1.0)])
def test_progress_tells_the_share_done(update, share):
    assert Progress(epoch=0, epochs=2, update=update, updates=10).share == share
