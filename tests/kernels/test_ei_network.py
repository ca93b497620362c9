"""The compiled excitatory-inhibitory network equals the truth bit for bit, awake and asleep."""

from dataclasses import replace

import pytest
import torch

from spikeloom.functional import (
    AgeSTDP,
    EICell,
    Sleep,
    ei_live,
    ei_rates,
    ei_rest,
    ei_sleep,
    ei_wake,
    sources_of,
    totals,
)
from spikeloom.kernels import door, use
from spikeloom.kernels.cpu import native
from spikeloom.kernels.door import CannotServeError
from tests.functional.small_ei import CELL, intensities, weights

pytestmark = pytest.mark.skipif(native.OPENED is None, reason=native.PROBLEM or "no kernels")
RULE = AgeSTDP(eta=0.02, ceiling=8.0)
SLEEP = Sleep(period=70, ratio=0.5, decay=0.99, target=0.05, noise=6.0)


def same(found, wanted):
    if isinstance(wanted, torch.Tensor):
        assert torch.equal(found, wanted)
    elif isinstance(wanted, tuple):
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            same(one, other)
    else:
        assert found == wanted


@pytest.mark.parametrize("sign", ["causal", "code"])
@pytest.mark.parametrize("still", [True, False])
def test_awake(sign, still):
    w, p_seq = weights(), intensities(60, 4)
    p_seq = p_seq if still else p_seq * (0.8 + 0.2 * torch.rand(60, 1, 1))
    options = {"cell": CELL, "rule": replace(RULE, sign=sign), "seed": 2**62 - 3}
    wanted = ei_wake(p_seq, w, ei_rest(w, CELL), **options, start=17, stop=203)
    assert wanted.counts.sum() > 15
    assert not torch.equal(wanted.weight, w)
    same(door("ei_wake")(p_seq, w, ei_rest(w, CELL), **options, start=17, stop=203), wanted)


@pytest.mark.parametrize("set_", ["avx512", "avx2", "baseline"])
@pytest.mark.parametrize("mode", ["static", "group", "post", "layer", "neuron"])
def test_asleep(mode, set_):
    before = native.variant()
    w, rule = weights(), replace(SLEEP, mode=mode, tolerance=None)
    start = totals(weights(gain=4.0), sources_of(w, CELL))
    woken = ei_wake(intensities(60, 2), w, ei_rest(w, CELL), cell=CELL, rule=RULE, seed=1)
    options = {"cell": CELL, "rule": RULE, "sleep": rule, "start": start, "seed": 5, "number": 2}
    wanted = ei_sleep(woken.weight, woken.state, **options)
    assert wanted.counts.sum() > 10
    try:
        native.variant(set_)
        same(door("ei_sleep")(woken.weight, woken.state, **options), wanted)
    finally:
        native.variant(before)


def test_sleep_that_ends_when_the_sums_are_back():
    w = weights()
    rule = replace(SLEEP, period=1000, tolerance=0.02, target=0.5)
    start = totals(0.8 * w, sources_of(w, CELL))
    options = {"cell": CELL, "rule": None, "sleep": rule, "start": start, "seed": 5}
    wanted = ei_sleep(w, ei_rest(w, CELL), **options)
    assert 0 < wanted.steps < rule.steps
    same(door("ei_sleep")(w, ei_rest(w, CELL), **options), wanted)


def test_living_with_twins_is_living_with_the_truth():
    w, p_seq = weights(), intensities(40, 5)
    start = totals(w, sources_of(w, CELL))
    options = {
        "cell": CELL, "rule": RULE, "sleep": SLEEP, "start": start, "seed": 9, "step": 30,
    }  # fmt: skip
    wanted = ei_live(p_seq, w, ei_rest(w, CELL), **options)
    assert wanted.sleeps == 3
    twins = {"wake": door("ei_wake"), "rest": door("ei_sleep")}
    same(ei_live(p_seq, w, ei_rest(w, CELL), **options, **twins), wanted)


@pytest.mark.parametrize("threads", [1, 3])
def test_rates_of_any_number_of_threads(threads):
    w, p_seq, before = weights(), intensities(50, 6), torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        found = door("ei_rates")(p_seq, w, cell=CELL, seed=4, skip=13)
    finally:
        torch.set_num_threads(before)
    same(found, ei_rates(p_seq, w, cell=CELL, seed=4, skip=13))


def test_no_inhibition_and_no_synapses():
    cell = EICell(excitatory=12)
    for w in (weights().abs(), torch.zeros(12, 19)):
        options = {"cell": cell, "rule": RULE, "seed": 3}
        state = ei_rest(w, cell)
        same(
            door("ei_wake")(intensities(40, 2), w, state, **options),
            ei_wake(intensities(40, 2), w, state, **options),
        )
        start = totals(0.5 * w, sources_of(w, cell))
        options |= {"sleep": SLEEP, "start": start}
        same(door("ei_sleep")(w, state, **options), ei_sleep(w, state, **options))


def test_what_is_not_float32_is_refused_by_name():
    w = weights().double()
    with use("cpu"), pytest.raises(CannotServeError, match="float32"):
        door("ei_rates")(intensities(3, 1), w, cell=CELL, seed=0)
