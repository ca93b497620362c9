"""STDP that waits for a reward. Numbered items are those of the specification."""

import pytest
import torch

from spikeloom.functional.plasticity import Bounds, PairSTDP, RewardSTDP, pair_stdp, reward_stdp

FREE = Bounds(low=-1e9, high=1e9)
SIZES = {"a_plus": 0.3, "a_minus": 0.2, "tau_plus": 17.0, "tau_minus": 34.0}


def trains(T: int = 200):
    return tuple((torch.rand(T, 1, width) < 0.1).double() for width in (3, 2))


def test_item_4_constant_reward_is_pair_stdp_a_step_later():
    pre, post = trains()
    w, reward = torch.zeros(2, 3, dtype=torch.float64), torch.ones(201, 1, dtype=torch.float64)
    still = torch.zeros(1, 1, 3).double(), torch.zeros(1, 1, 2).double()
    late = [torch.cat([part, rest]) for part, rest in zip((pre, post), still, strict=True)]
    found, _ = reward_stdp(*late, reward, w, RewardSTDP(bounds=FREE, **SIZES))
    want, _ = pair_stdp(pre, post, w, PairSTDP(bounds=FREE, **SIZES))
    torch.testing.assert_close(found, want, rtol=1e-12, atol=1e-12)


def test_item_4_a_short_eligibility_trace_is_the_eligibility():
    """With τ_z far below a step the trace is ζ / τ_z of this step: γ = τ_z makes it MSTDP's."""
    pre, post = trains()
    reward = torch.randn(200, 1, dtype=torch.float64)
    w, tau = torch.zeros(2, 3, dtype=torch.float64), 0.01
    trace, _ = reward_stdp(
        pre, post, reward, w, RewardSTDP(rate=tau, tau_z=tau, bounds=FREE, **SIZES)
    )
    shifted = torch.cat([torch.zeros(1, 1).double(), reward])
    still = [torch.cat([part, torch.zeros_like(part[:1])]) for part in (pre, post)]
    want, _ = reward_stdp(*still, shifted, w, RewardSTDP(bounds=FREE, **SIZES))
    torch.testing.assert_close(trace, want, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("tau_z", [None, 25.0])
def test_item_4_no_reward_changes_nothing(tau_z):
    pre, post = trains()
    w = torch.rand(2, 3, dtype=torch.float64)
    found, _ = reward_stdp(pre, post, torch.zeros(200, 1).double(), w, RewardSTDP(tau_z=tau_z))
    assert torch.equal(found, w)


def test_a_reward_meets_pairs_of_the_past_by_the_trace():
    pre, post = torch.zeros(2, 50, 1, 1, dtype=torch.float64)
    pre[5], post[8] = 1, 1
    reward = torch.zeros(50, 1, dtype=torch.float64)
    reward[40] = 1
    w = torch.zeros(1, 1, dtype=torch.float64)
    for tau_z, want in ((None, 0.0), (25.0, 0.3 * torch.tensor(-3 / 17 - 32 / 25).exp() / 25)):
        found, _ = reward_stdp(pre, post, reward, w, RewardSTDP(tau_z=tau_z, bounds=FREE, **SIZES))
        assert float(found) == pytest.approx(float(want), rel=1e-6)


def test_rewards_of_another_length_are_refused():
    with pytest.raises(ValueError, match="a reward for every step and sample"):
        reward_stdp(*trains(), torch.zeros(3, 1), torch.zeros(2, 3), RewardSTDP())
