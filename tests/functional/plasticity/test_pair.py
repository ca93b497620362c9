"""Online STDP against sums over spikes. Numbered items are those of the specification."""

import math

import pytest
import torch

from spikeloom.functional.plasticity import (
    Bounds,
    PairSTDP,
    TripletSTDP,
    normalised,
    pair_stdp,
    triplet_stdp,
)

FREE = Bounds(low=-1e9, high=1e9)
A_PLUS, A_MINUS, TAU_PLUS, TAU_MINUS = 0.3, 0.2, 17.0, 34.0
RULE = {"a_plus": A_PLUS, "a_minus": A_MINUS, "tau_plus": TAU_PLUS, "tau_minus": TAU_MINUS}


def trains(T: int, rate: float = 0.1, N: int = 1, I: int = 3, O: int = 2):  # noqa: E741
    pre, post = (torch.rand(T, N, width, dtype=torch.float64) < rate for width in (I, O))
    return pre.double(), post.double()


def pair_sum(pre, post, *, nearest=False):
    """Change of one synapse as a double sum over spike times, coincident ones both ways."""
    total = 0.0
    before = [t for t in range(len(pre)) if pre[t]]
    after = [t for t in range(len(post)) if post[t]]
    for t in after:
        past = [s for s in before if s <= t]
        total += A_PLUS * sum(math.exp((s - t) / TAU_PLUS) for s in past[-1 if nearest else 0 :])
    for t in before:
        past = [s for s in after if s <= t]
        total -= A_MINUS * sum(math.exp((s - t) / TAU_MINUS) for s in past[-1 if nearest else 0 :])
    return total


def one_pair(gap: int, **options) -> float:
    pre, post = torch.zeros(2, 202, 1, 1, dtype=torch.float64)
    pre[101], post[101 + gap] = 1, 1
    w = torch.zeros(1, 1, dtype=torch.float64)
    return float(pair_stdp(pre, post, w, PairSTDP(bounds=FREE, **RULE, **options))[0])


@pytest.mark.parametrize("gap", [-100, -30, -1, 1, 7, 100])
@pytest.mark.parametrize("pairing", ["all", "nearest"])
def test_item_1_the_curve_of_an_isolated_pair(gap, pairing):
    size = A_PLUS * math.exp(-gap / TAU_PLUS) if gap > 0 else -A_MINUS * math.exp(gap / TAU_MINUS)
    assert one_pair(gap, pairing=pairing) == pytest.approx(size, abs=1e-6)


def test_coincident_spikes_count_both_ways_or_not_at_all():
    assert one_pair(0) == pytest.approx(A_PLUS - A_MINUS)
    assert one_pair(0, coincidence="ignored") == 0
    assert one_pair(5, coincidence="ignored") == pytest.approx(one_pair(5))


@pytest.mark.parametrize("pairing", ["all", "nearest"])
def test_item_2_traces_find_the_sum_over_all_pairs(pairing):
    pre, post = trains(300)
    w = torch.zeros(2, 3, dtype=torch.float64)
    found, _ = pair_stdp(pre, post, w, PairSTDP(bounds=FREE, pairing=pairing, **RULE))
    for j in range(2):
        for i in range(3):
            want = pair_sum(pre[:, 0, i], post[:, 0, j], nearest=pairing == "nearest")
            assert float(found[j, i]) == pytest.approx(want, rel=1e-9)


def test_item_3_triplets_without_their_third_spike_are_pairs():
    pre, post = trains(200)
    w = torch.zeros(2, 3, dtype=torch.float64)
    pairs = PairSTDP(bounds=FREE, pairing="nearest", **RULE)
    triplets = TripletSTDP(
        a2_plus=A_PLUS, a2_minus=A_MINUS, a3_plus=0.0, a3_minus=0.0,
        tau_plus=TAU_PLUS, tau_minus=TAU_MINUS, bounds=FREE,
    )  # fmt: skip
    one, other = pair_stdp(pre, post, w, pairs)[0], triplet_stdp(pre, post, w, triplets)[0]
    torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def repeated(every: int, **sizes: float) -> float:
    """Change by 20 pairs, post 10 steps after pre, ``every`` so many steps."""
    pre, post = torch.zeros(2, 20 * every + 20, 1, 1, dtype=torch.float64)
    pre[0 : 20 * every : every], post[10 : 20 * every + 10 : every] = 1, 1
    rule = TripletSTDP(a2_plus=0.0, a2_minus=0.0, a3_minus=0.0, bounds=FREE, **sizes)
    return float(triplet_stdp(pre, post, torch.zeros(1, 1, dtype=torch.float64), rule)[0])


def test_item_3_growth_rises_with_the_pairing_rate_only_by_the_third_spike():
    assert repeated(50, a3_plus=0.01) > 1.5 * repeated(200, a3_plus=0.01) > 0
    assert repeated(50, a3_plus=0.0) == repeated(200, a3_plus=0.0) == 0


def test_item_5_additive_weights_reach_the_bounds_and_multiplicative_ones_never():
    pre, post = trains(2000, rate=0.3)
    w = torch.full((2, 3), 0.5, dtype=torch.float64)
    for a_plus, a_minus, end in ((0.02, 0.0, 1.0), (0.0, 0.02, 0.0)):
        sizes = {"a_plus": a_plus, "a_minus": a_minus}
        hard, _ = pair_stdp(pre, post, w, PairSTDP(**sizes))
        soft, _ = pair_stdp(pre, post, w, PairSTDP(bounds=Bounds(mu=1.0), **sizes))
        assert (hard == end).all()
        assert ((soft > 0) & (soft < 1)).all()


@pytest.mark.parametrize(
    "bounds",
    [
        Bounds(dependence="exponential", beta=2.0, low=-0.5),
        Bounds(dependence="stabilised", low=0.2, high=0.8),
    ],
)
def test_changes_depend_on_the_weight_as_named(bounds):
    w = torch.tensor([0.3, 0.6], dtype=torch.float64)
    if bounds.dependence == "stabilised":
        expected = ((w - 0.2) * (0.8 - w),) * 2
    else:
        expected = (torch.exp(-2 * (w + 0.5) / 1.5), torch.exp(-2 * (1 - w) / 1.5))
    torch.testing.assert_close(bounds.grow(w), expected[0])
    torch.testing.assert_close(bounds.shrink(w), expected[1])


def test_item_7_normalised_weights_add_up_exactly():
    w = normalised(torch.rand(50, 784, dtype=torch.float64), 78.4)
    torch.testing.assert_close(w.sum(1), torch.full((50,), 78.4).double(), rtol=1e-6, atol=0)
    assert not normalised(torch.zeros(2, 3), 1.0).any()


def test_item_10_one_sample_is_the_same_for_sum_and_mean():
    pre, post = trains(100)
    w = torch.full((2, 3), 0.5, dtype=torch.float64)
    one, other = (
        pair_stdp(pre, post, w, PairSTDP(reduction=reduction))[0] for reduction in ("sum", "mean")
    )
    assert torch.equal(one, other)


def test_a_sequence_in_two_halves_is_the_whole():
    pre, post = trains(60)
    w, rule = torch.full((2, 3), 0.5, dtype=torch.float64), PairSTDP()
    whole, _ = pair_stdp(pre, post, w, rule)
    half, state = pair_stdp(pre[:25], post[:25], w, rule)
    assert torch.equal(pair_stdp(pre[25:], post[25:], half, rule, state)[0], whole)


@pytest.mark.slow
def test_item_6_competition_makes_weights_bimodal():
    """1000 inputs at 15 Hz, 100 s: weights gather at the two ends (Song, Miller and Abbott)."""
    inputs, v, g, state = 1000, -74.0, 0.0, None
    w, rule = torch.rand(1, inputs), PairSTDP(a_plus=0.01, a_minus=0.0105)
    for _ in range(100_000):
        pre = torch.rand(1, 1, inputs) < 0.015
        g = math.exp(-1 / 5) * g + 0.01 * float(w[pre[0]].sum())
        v += (1 - math.exp(-1 / 20)) * (60 * g - 74 - v)
        fired = v > -54
        v = -60.0 if fired else v
        w, state = pair_stdp(pre.float(), torch.full((1, 1, 1), float(fired)), w, rule, state)
    low, *between, high = torch.histc(w, 5, 0, 1).tolist()
    assert min(low, high) > max(between)
    assert low > 2 * max(between)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"a_plus": -1.0}, "sizes >= 0"),
        ({"pairing": "some"}, "use 'all' or 'nearest'"),
        ({"coincidence": "maybe"}, "use 'counts' or 'ignored'"),
        ({"reduction": "max"}, "use 'sum' or 'mean'"),
        ({"tau_plus": 0.0}, "tau"),
    ],
)
def test_options_out_of_range_are_refused(options, reason):
    with pytest.raises(ValueError, match=reason):
        pair_stdp(*trains(2), torch.zeros(2, 3, dtype=torch.float64), PairSTDP(**options))


@pytest.mark.parametrize(
    ("options", "reason"),
    [({"high": 0.0}, "a range"), ({"dependence": "linear"}, "use 'power'"), ({"mu": -1.0}, ">= 0")],
)
def test_bounds_out_of_range_are_refused(options, reason):
    with pytest.raises(ValueError, match=reason):
        Bounds(**options)


def test_weights_that_lie_between_other_sequences_are_refused():
    with pytest.raises(ValueError, match=r"do not lie between"):
        pair_stdp(*trains(2), torch.zeros(3, 2), PairSTDP())
