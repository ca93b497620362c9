"""The excitatory-inhibitory network: STDP by ages, neurons, sleep without input."""

import math
from dataclasses import replace

import pytest
import torch

from spikeloom.functional import (
    AgeSTDP,
    EICell,
    EIState,
    Sleep,
    age_stdp,
    ei_live,
    ei_rates,
    ei_rest,
    ei_sleep,
    ei_step,
    ei_wake,
    sources_of,
    totals,
)
from tests.functional.small_ei import CELL, intensities, weights

ETA = 8e-4
CODE = AgeSTDP(sign="code")


def pair(first, gap, rule, weight=1.0):
    """Change of |w| from neuron 0 to neuron 1 when ``first`` fires, and the other ``gap`` later."""
    w = torch.tensor([[0.0, 0.0], [weight, 0.0]])
    rest = ei_rest(w, EICell(excitatory=2 if weight > 0 else 0))
    silent = rest._replace(age=torch.tensor([10_000, 10_000]))
    for time in range(gap + 1):
        fired = torch.tensor([time == (0 if first == "pre" else gap), False])
        fired[1] = time == (gap if first == "pre" else 0)
        age = torch.where(fired, 0, silent.age + 1)
        silent = silent._replace(fired=fired, age=age)
        w = age_stdp(w, silent, rule)
    return (w[1, 0].double().abs() - abs(weight)).item()


@pytest.mark.parametrize("weight", [1.0, -1.0])
def test_a_pair_with_the_sign_of_the_code(weight):
    grown, shrunk = ETA * math.exp(-5 / 10), -ETA * math.exp(-5 / 7.5)
    assert pair("post", 5, CODE, weight) == pytest.approx(grown, abs=1e-7)
    assert pair("pre", 5, CODE, weight) == pytest.approx(shrunk, abs=1e-7)


def test_a_pair_with_the_sign_of_textbooks():
    rule = AgeSTDP()
    assert pair("pre", 5, rule) == pytest.approx(ETA * math.exp(-5 / 10), abs=1e-7)
    assert pair("post", 5, rule) == pytest.approx(-ETA * math.exp(-5 / 7.5), abs=1e-7)


@pytest.mark.parametrize("rule", [CODE, AgeSTDP()])
def test_coincidence_strengthens(rule):
    assert pair("pre", 0, rule) == pytest.approx(ETA, abs=1e-7)


def test_ages_beyond_the_table_change_nothing():
    assert pair("post", 1500, CODE) == 0


def test_magnitudes_stay_within_bounds_and_no_synapse_is_made():
    w, rule = weights(), AgeSTDP(eta=5.0, floor=0.5, ceiling=3.0, sign="code")
    found = ei_wake(intensities(50, 2), w, ei_rest(w, CELL), cell=CELL, rule=rule, seed=0).weight
    assert torch.equal(found == 0, w == 0)
    changed = found != w
    assert changed.any()
    assert (found.abs()[changed] >= 0.5).all()
    assert (found.abs()[changed] <= 3.0).all()
    assert torch.equal(found.sign(), w.sign())


def test_current_membrane_threshold_and_adaptation_follow_their_equations():
    cell, w = EICell(excitatory=1), torch.tensor([[60.0, 0.0]])
    state = EIState(
        v=torch.tensor([-57.0]), i_syn=torch.tensor([1.0]), adaptation=torch.tensor([2.0]),
        age=torch.tensor([0, 3]), fired=torch.tensor([True, False]),
    )  # fmt: skip
    _, after = ei_step(torch.tensor([False]), w, state, cell=cell)
    i = 1 + (60 - 1) / 30
    v = -57 + (-70 + 57 + 30 * i) / 30
    assert after.i_syn.item() == pytest.approx(i)
    assert v > -55
    assert v < -55 + 2
    assert after.v.item() == pytest.approx(v, abs=1e-4)
    assert after.adaptation.item() == pytest.approx(2 - 2 / 100)
    assert after.age.tolist() == [1, 4]
    _, fired = ei_step(
        torch.tensor([True]), w, after, cell=cell, noise=torch.tensor([5.0])
    )  # fmt: skip
    assert fired.v.item() == -80
    assert fired.fired.tolist() == [True, True]
    assert fired.age.tolist() == [0, 0]
    assert fired.adaptation.item() == pytest.approx(1.98 * 0.99 + 3)


def test_noise_alone_has_the_stationary_deviation():
    w = torch.zeros(150, 151)
    cell = EICell(excitatory=150, v_threshold=1e3, threshold_bounds=(0.0, 1e3))
    found = ei_sleep(
        w, ei_rest(w, cell), cell=cell, rule=None, seed=1, start=totals(w, sources_of(w, cell)),
        sleep=Sleep(period=150, ratio=1.0, tolerance=None),
    )  # fmt: skip
    assert found.state.v.std().item() == pytest.approx(7.8, abs=1.2)


def test_asleep_no_input_fires_and_without_noise_nothing_does_after_a_while():
    w = weights(gain=0.5)
    woken = ei_wake(intensities(50, 1), w, ei_rest(w, CELL), cell=CELL, rule=CODE, seed=0)
    options = {"cell": CELL, "rule": CODE, "seed": 1, "start": totals(w, sources_of(w, CELL))}
    quiet = Sleep(period=300, ratio=1.0, noise=0.0, tolerance=None)
    found = ei_sleep(woken.weight, woken.state, sleep=quiet, **options)
    assert not found.state.fired.any()
    assert (found.state.age[:7] >= 300).all()
    again = ei_sleep(found.weight, found.state, sleep=quiet, **options)
    assert again.counts.sum() == 0
    loud = ei_sleep(found.weight, found.state, sleep=replace(quiet, noise=4.0), **options)
    assert loud.counts.sum() > 0
    assert (loud.state.age[:7] >= 600).all()


def test_without_sleep_living_is_plain_training_bit_for_bit():
    w, p_seq = weights(), intensities(30, 4)
    options = {"cell": CELL, "rule": CODE, "seed": 3}
    plain = ei_wake(p_seq, w, ei_rest(w, CELL), **options)
    start = totals(w, sources_of(w, CELL))
    for sleep in (Sleep(period=50, ratio=0.0), Sleep(period=50, ratio=1.0, most=0)):
        found = ei_live(p_seq, w, ei_rest(w, CELL), **options, sleep=sleep, start=start)
        assert found.sleeps == found.slept == 0
        assert torch.equal(found.weight, plain.weight)
        assert torch.equal(found.counts, plain.counts)


def test_ratios_beyond_the_most_live_alike():
    w, p_seq = weights(), intensities(30, 4)
    options = {"cell": CELL, "rule": CODE, "seed": 3, "start": totals(w, sources_of(w, CELL))}
    half, whole = (
        ei_live(
            p_seq, w, ei_rest(w, CELL), sleep=Sleep(period=50, ratio=ratio, most=20), **options
        ).weight
        for ratio in (0.5, 1.0)
    )
    assert torch.equal(half, whole)
    assert not torch.equal(half, w)


def test_a_sample_waits_while_the_network_sleeps():
    w, p_seq = weights(), intensities(40, 1)
    options = {"cell": CELL, "rule": None, "seed": 3, "start": totals(w, sources_of(w, CELL))}
    rule = Sleep(period=25, ratio=0.2, decay=1.0, noise=0.0, tolerance=None)
    found = ei_live(p_seq, w, ei_rest(w, CELL), sleep=rule, **options)
    assert (found.sleeps, found.slept) == (1, 5)
    first = ei_wake(p_seq, w, ei_rest(w, CELL), cell=CELL, rule=None, seed=3, stop=25)
    slept = ei_sleep(
        first.weight, first.state, cell=CELL, rule=None, sleep=rule, start=options["start"], seed=3,
        number=1,
    )  # fmt: skip
    rest = ei_wake(p_seq, slept.weight, slept.state, cell=CELL, rule=None, seed=3, start=25)
    assert torch.equal(found.counts, first.counts + rest.counts)


def test_rates_of_a_sample_do_not_depend_on_the_others_before_it():
    w, p_seq = weights(), intensities(30, 3)
    both = ei_rates(p_seq, w, cell=CELL, seed=5)
    assert torch.equal(ei_rates(p_seq[:, :1], w, cell=CELL, seed=5), both[:1])
    late = ei_rates(p_seq, w, cell=CELL, seed=5, skip=10)
    assert (late <= both).all()


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="sign is"):
        AgeSTDP(sign="up")
    with pytest.raises(ValueError, match="0 < floor"):
        AgeSTDP(floor=0.0)
    with pytest.raises(ValueError, match=">= 1"):
        EICell(tau_m=0.5)
    with pytest.raises(ValueError, match="need a weight"):
        ei_rates(torch.rand(3, 1, 4), weights(), cell=CELL, seed=0)
