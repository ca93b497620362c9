"""Losses on spike counts and times: totals over the spikes of a neuron, and what is refused."""

import pytest
import torch
from torch.nn import functional as F

from spikeloom.functional import early
from spikeloom.losses import (
    Count,
    CountPlus,
    CountZero,
    CrossEntropyPlus,
    SpikeKernel,
    TemporalEfficientTraining,
    TimeToFirstSpike,
)
from spikeloom.registry import Unsupported

T, N, K = 5, 8, 4
ALL = [
    Count(),
    CountPlus(),
    CountZero(),
    CrossEntropyPlus(),
    SpikeKernel(),
    TimeToFirstSpike(),
    TimeToFirstSpike(silent=-20.0),
    TemporalEfficientTraining(lam=0.0),
]


def spikes(rate=0.4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(T, N, K, generator=generator) < rate).double()


def labels():
    return torch.arange(N) % K


def times(loss, s, y):
    """The gradients G of spike times, of the sum over the batch."""
    s = s.clone().requires_grad_()
    loss(s, y).backward()
    return -s.grad * s.detach() * len(y)


def errors(s, y, desired=5.0, undesired=1.0):
    label = F.one_hot(y, K).bool()
    e = (s.sum(0) - torch.where(label, desired, undesired)) / T
    return torch.where(label, e.clamp(max=0), e.clamp(min=0))


def test_counting_adds_up_to_the_error_times_the_count():
    s, y = spikes(), labels()
    G = times(Count(boost=False), s, y).sum(0)
    torch.testing.assert_close(G, -errors(s, y) * s.sum(0))


def test_enhanced_counting_adds_up_to_the_error():
    s, y = spikes(), labels()
    s[0] = 1  # no neuron is silent
    G = times(CountPlus(boost=False), s, y).sum(0)
    torch.testing.assert_close(G, -errors(s, y))


def test_the_control_adds_up_to_nothing():
    G = times(CountZero(), spikes(), labels())
    assert G.abs().sum() > 0.1
    assert G.sum().item() == pytest.approx(0, abs=1e-12)


def test_both_countings_agree_where_every_neuron_fires_once():
    s = torch.zeros(T, N, K, dtype=torch.float64)
    s[torch.randint(T, (N, K)), torch.arange(N)[:, None], torch.arange(K)] = 1
    y = labels()
    assert torch.equal(times(Count(), s, y), times(CountPlus(), s, y))
    assert times(Count(), s, y).any()


def test_the_error_is_bounded_on_the_good_side():
    y = torch.tensor([0])
    s = torch.zeros(T, 1, K, dtype=torch.float64)
    s[:4, 0, 0] = 1  # three wanted, four fired; the others are silent where one is wanted
    assert not times(Count(desired=3, undesired=1), s, y).any()
    assert Count(desired=3, undesired=1)(s, y) == 0


def test_the_loss_is_half_the_squared_error_over_all_steps():
    s, y = spikes(), labels()
    want = 0.5 * T * errors(s, y).square().sum() / N
    for loss in (Count(), CountPlus(), CountZero()):
        torch.testing.assert_close(loss(s, y), want)


def test_few_spikes_of_the_labels_weigh_more():
    s = torch.ones(T, N, K, dtype=torch.float64)
    y = labels()
    s[1:, torch.arange(N), y] = 0  # N label spikes, 15 N others
    plain, boosted = (times(Count(boost=flag), s, y).sum(0) for flag in (False, True))
    label = F.one_hot(y, K).bool()
    torch.testing.assert_close(boosted[label], 1.5 * plain[label])
    assert torch.equal(boosted[~label], plain[~label])


def test_more_of_a_label_means_earlier():
    y = torch.tensor([0])
    s = torch.zeros(T, 1, K, dtype=torch.float64)
    s[2, 0] = 1
    for loss in (Count(), CountPlus(), CrossEntropyPlus(), TimeToFirstSpike(), SpikeKernel()):
        assert times(loss, s, y)[2, 0, 0] > 0, loss


def test_cross_entropy_plus_shares_and_skips():
    s, y = spikes(seed=1), labels()
    s[:, 0, y[0]] = 0  # a silent label
    n = s.sum(0)
    p = torch.where(n > 0, 2 * n / T, -20.0).softmax(1)
    want = -(p - F.one_hot(y, K)) * (n > 0)
    want[n.gather(1, y[:, None])[:, 0] == 0] = 0
    torch.testing.assert_close(times(CrossEntropyPlus(), s, y).sum(0), want)
    assert not times(CrossEntropyPlus(), s, y)[:, 0].any()


@pytest.mark.parametrize("silent", [-3.0, -20.0])
def test_time_to_first_spike_moves_first_spikes_alone(silent):
    s, y = spikes(seed=2), labels()
    s[:, 1, 0] = 0
    first = s * (s.cumsum(0) == 1)
    t = (first * torch.arange(T).view(-1, 1, 1)).sum(0)
    t = t.clone().requires_grad_()
    z = torch.where(s.any(0), 1 - t / T, silent)
    value = T * F.cross_entropy(z, y, reduction="sum")
    value.backward()
    loss = TimeToFirstSpike(silent=silent)
    G = times(loss, s, y)
    torch.testing.assert_close(loss(s, y) * N, value.detach())
    torch.testing.assert_close(G.sum(0), t.grad)  # the gradient of the time itself
    assert not G[first == 0].any()


@pytest.mark.parametrize(("steps", "target"), [(5, [0, 1, 1, 1, 1]), (20, [0, 1] * 10)])
def test_the_spike_kernel_is_zero_at_its_target(steps, target):
    s = torch.zeros(steps, 1, K, dtype=torch.float64)
    s[:, 0, 2] = torch.tensor(target)
    loss = SpikeKernel(tau_s=3.0)
    assert loss(s, torch.tensor([2])) == 0
    s = torch.zeros(steps, 1, K, dtype=torch.float64, requires_grad=True)
    value = loss(s, torch.tensor([2]))
    value.backward()
    assert value > 0
    assert (s.grad[:, 0, 2] < 0).sum() >= steps - 1
    assert not s.grad[:, 0, :2].any()


@pytest.mark.parametrize("loss", ALL[:-1])
def test_scores_of_early_spikes_count_as_spikes(loss):
    s, y = spikes(), labels()
    assert loss(early(s), y) == loss(s, y)


@pytest.mark.parametrize("loss", ALL)
def test_all_are_finite_with_silent_networks_and_none(loss):
    for s in (torch.zeros(T, N, K), torch.ones(T, N, K)):
        s.requires_grad_()
        value = loss(s, labels())
        value.backward()
        assert value.isfinite()
        assert s.grad.isfinite().all()


@pytest.mark.parametrize("loss", ALL[:-1])
def test_what_is_no_spike_or_no_class_is_refused(loss):
    with pytest.raises(Unsupported, match=r"needs spikes.*early_spikes"):
        loss(spikes() - 0.5, labels())
    with pytest.raises(Unsupported, match="one class for each sample"):
        loss(spikes(), F.one_hot(labels(), K).double())
    with pytest.raises(Unsupported, match="one row of logits"):
        loss(spikes(), labels()[:3])


def test_arguments_out_of_range_are_refused():
    with pytest.raises(ValueError, match="desired > undesired"):
        Count(desired=1, undesired=1)
    with pytest.raises(ValueError, match="tau_s"):
        SpikeKernel(tau_s=0.5)
    with pytest.raises(ValueError, match="silent"):
        TimeToFirstSpike(silent=0.0)


@pytest.mark.parametrize("loss", [Count, CountPlus, CountZero])
def test_more_spikes_than_steps_are_refused_when_called(loss):
    s, y = spikes(), labels()
    assert loss(desired=5.0)(s, y).isfinite()
    with pytest.raises(ValueError, match=r"desired = 5\.5 spikes, but in T = 5 steps"):
        loss(desired=5.5)(s, y)
