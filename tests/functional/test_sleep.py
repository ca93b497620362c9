"""Sleep: the closed form of its power law, its targets, its sums, and when and how long it is."""

from dataclasses import replace

import pytest
import torch

from spikeloom.functional import Sleep, SleepRegularizer, drift, totals, toward

PUBLISHED = Sleep(ratio=0.1, tolerance=None, noise=0.0)  # 3500 steps
# A hundred of its steps in one.
STILL = replace(PUBLISHED, period=350, decay=0.99997**100, most=100)
LONG = replace(STILL, ratio=0.1)
HALVES = (slice(None, 4), slice(4, None))


def signed(*, least=0.01, most=25.0, seed=0):
    """[5, 6], spread evenly over orders of magnitude, with zeros among them."""
    torch.manual_seed(seed)
    size = least * (most / least) ** torch.rand(5, 6)
    return size * torch.tensor([-1.0, 0.0, 1.0, 1.0])[torch.randint(4, (5, 6))]


def slept(weight, rule, **options):
    weight = weight.clone()
    return weight, SleepRegularizer([weight], rule, **options).sleep()


def test_without_stdp_and_noise_steps_give_the_closed_form():
    weight = signed()
    found, steps = slept(weight, PUBLISHED)
    assert steps == 3500
    power = 0.99997**3500
    assert power == pytest.approx(0.900, abs=5e-4)
    wanted = weight.sign() * 0.01 * (weight.abs().double() / 0.01) ** power
    assert torch.allclose(found.double(), wanted, rtol=1e-7, atol=0)
    assert torch.equal(found, toward(weight, 0.01, steps=3500))


@pytest.mark.parametrize(("before", "after"), [(25.0, 11.461), (0.3, 0.2138), (0.01, 0.01)])
def test_large_weights_shrink_most(before, after):
    found, _ = slept(torch.tensor([[before]]), LONG)
    assert found.item() == pytest.approx(after, rel=5e-4)


@pytest.mark.parametrize(("ratio", "power"), [(0.1, 0.900), (0.2, 0.811), (0.5, 0.741)])
def test_log_ratios_shrink_by_the_power(ratio, power):
    found, _ = slept(torch.tensor([[2.0]]), replace(STILL, ratio=ratio))
    log = torch.tensor([found.item() / 0.01, 2.0 / 0.01]).log()
    assert (log[0] / log[1]).item() == pytest.approx(power, abs=5e-4)


def test_the_target_is_a_fixed_point():
    weight = torch.full((2, 3), 0.01) * torch.tensor([1.0, -1.0, 0.0])
    assert torch.equal(slept(weight, LONG)[0], weight)


def test_a_decay_of_one_changes_nothing():
    weight = signed()
    found, _ = slept(weight, replace(STILL, decay=1.0, ratio=0.1))
    assert torch.equal(found, weight)


def test_the_order_of_magnitudes_is_kept():
    weight = signed()
    found, _ = slept(weight, LONG)
    alive = weight != 0
    assert torch.equal(found[alive].abs().argsort(), weight[alive].abs().argsort())
    assert torch.equal(found.sign(), weight.sign())


def test_two_sleeps_are_one_of_twice_the_length():
    once, _ = slept(signed(), replace(STILL, ratio=0.2))
    twice, _ = slept(slept(signed(), replace(STILL, ratio=0.1))[0], replace(STILL, ratio=0.1))
    assert torch.allclose(once, twice, rtol=3e-7, atol=0)


def test_zero_is_absorbing_and_small_weights_grow():
    found, _ = slept(torch.tensor([[0.0, 0.001]]), LONG)
    assert found[0, 0] == 0
    assert found[0, 1].item() == pytest.approx(0.01 * 0.1**0.900323, rel=1e-5)


def test_all_ratios_beyond_the_most_are_one_experiment():
    half, whole = replace(STILL, ratio=0.5), replace(STILL, ratio=1.0)
    assert half.steps == whole.steps == 100
    assert replace(PUBLISHED, ratio=0.286).steps == 10_000
    assert torch.equal(slept(signed(), half)[0], slept(signed(), whole)[0])


def test_sleep_is_due_at_multiples_of_the_period_but_not_at_the_start():
    rule = Sleep(period=10, ratio=0.5)
    assert [step for step in range(35) if rule.due(step)] == [10, 20, 30]
    assert not any(replace(rule, ratio=0.0).due(step) for step in range(35))


def test_targets_of_groups_and_of_neurons_are_mean_magnitudes():
    weight = signed(most=2.0)
    alive = weight != 0
    group = drift(weight, replace(STILL, mode="group"), totals(weight, HALVES), HALVES)
    mean = weight[:, 4:].abs()[alive[:, 4:]].double().mean()
    assert torch.allclose(group.reference[:, 4:], mean)
    post = drift(weight, replace(STILL, mode="post"), totals(weight))
    for row, size, there in zip(post.reference, weight.abs().double(), alive, strict=True):
        assert torch.allclose(row, size[there].mean())


@pytest.mark.parametrize("mode", ["layer", "neuron"])
def test_proportional_sleep_brings_sums_back_and_keeps_ratios(mode):
    first = signed(most=2.0)
    start = totals(first, HALVES)
    weight = first * (3 + torch.rand(5, 6))
    rule = replace(STILL, mode=mode, ratio=0.1)
    found, steps = slept(weight, rule, groups=HALVES, start=[start])
    assert steps == 35
    now, which = totals(found, HALVES), "groups" if mode == "layer" else "rows"
    assert torch.allclose(getattr(now, which), getattr(start, which), rtol=1e-6)
    assert not torch.allclose(getattr(totals(weight, HALVES), which), getattr(start, which))
    share = (found / weight)[0, :4]
    share = share[share.isfinite()]
    assert torch.allclose(share, share[:1].expand_as(share), rtol=1e-6)


def test_sleep_ends_when_all_sums_are_back():
    first = torch.tensor([[1.0, 2.0, 0.5]])
    rule = replace(PUBLISHED, ratio=1.0, decay=0.9997, tolerance=1e-3)
    assert slept(first, rule)[1] == 0
    found, steps = slept(1.3 * first, rule, start=[totals(first)])
    assert 0 < steps < rule.steps
    assert abs(totals(found).groups / totals(first).groups - 1) <= 1e-3


def test_what_plasticity_changes_counts_from_there():
    weight = torch.tensor([[1.0, 2.0]])
    seen = []

    def step(noise):
        seen.append(noise)
        if len(seen) == 3:
            weight[0, 0] = 5.0

    rule = replace(STILL, period=5, ratio=1.0, noise=1.5)
    assert SleepRegularizer([weight], rule).sleep(step) == 5
    assert seen == [1.5] * 5
    for found, (size, steps) in zip(weight[0], ((5.0, 300), (2.0, 500)), strict=True):
        assert torch.allclose(found, toward(torch.tensor(size), 0.01, steps=steps), rtol=1e-7)


@pytest.mark.parametrize(
    "wrong", [{"mode": "none"}, {"decay": 0.0}, {"target": 0.0}, {"ratio": -1.0}, {"period": 0}]
)
def test_what_is_out_of_range_is_refused(wrong):
    with pytest.raises(ValueError, match=r"mode|sleep needs"):
        Sleep(**wrong)
