"""First-spike kernels against the truth, to the bit: forward passes, learning, filters."""

import ctypes
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
import torch

from spikeloom.functional import first_spike as truth
from spikeloom.functional.first_spike import Filters, FirstSpikeLayer, Groups, Rule
from spikeloom.kernels import door, explain, use
from spikeloom.kernels.cpu import first_spike as compiled
from spikeloom.kernels.cpu import native

pytestmark = pytest.mark.skipif(native.OPENED is None, reason=native.PROBLEM)
VARIANTS = ("avx512", "avx2", "baseline")


@pytest.fixture(params=VARIANTS)
def variant(request: pytest.FixtureRequest) -> Any:
    before = native.variant()
    if native.variant(request.param) != request.param:
        pytest.skip(f"no {request.param} here")
    yield request.param
    native.variant(before)


def times(B: int, I: int, levels: int | None = None) -> torch.Tensor:  # noqa: E741
    """Spike times, a third of them none; with levels many are equal."""
    t = torch.rand(B, I) if levels is None else torch.randint(levels, (B, I)) / levels
    return t.masked_fill(torch.rand(B, I) < 1 / 3, 1.0)


def layer(groups: Groups, inputs: int, threshold: float, *, total: bool) -> FirstSpikeLayer:
    weight = torch.rand(groups.count, inputs) * 1.1 - 0.05
    limit = torch.full((groups.count,), threshold)
    own = limit + torch.rand(groups.count)
    return FirstSpikeLayer(weight, limit, own, weight.sum(1) if total else None)


def copy_of(given: FirstSpikeLayer) -> FirstSpikeLayer:
    parts = [None if part is None else part.clone() for part in given]
    if given.own is given.threshold:
        parts[2] = parts[1]
    return FirstSpikeLayer(*parts)


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 17, 8), (5, 300, 50), (40, 33, 130)])
def test_forward_passes_are_equal(variant, shape, strict):
    B, inputs, outputs = shape
    weight = torch.rand(outputs, inputs)
    for levels, limit in product((None, 7), (torch.full((outputs,), inputs / 6), None)):
        t = times(B, inputs, levels)
        limit = inputs / 3 * torch.rand(B, outputs) if limit is None else limit
        want = truth.first_spikes(t, weight, limit, strict=strict)
        got = compiled.first_spikes(t, weight, limit, strict=strict)
        for one, other in zip(want, got, strict=True):
            assert torch.equal(one, other)


def test_threads_change_nothing():
    t, weight, limit = times(64, 500), torch.rand(40, 500), torch.full((40,), 60.0)
    before = torch.get_num_threads()
    found = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        found.append(compiled.first_spikes(t, weight, limit))
    torch.set_num_threads(before)
    assert all(torch.equal(a, b) for f in found[1:] for a, b in zip(f, found[0], strict=True))


S2 = Rule(a_plus=0.1, a_minus=-0.05, gap=0.1)
RULES = {
    "s2": S2,
    "damped": replace(S2, beta=1.0),
    "pcn": replace(S2, compete=True),
    "ncg": replace(S2, compete=True, regulation="competition", eta=0.7),
    "cr1": replace(S2, compete=True, regulation="neuron", eta=0.7),
    "sstdp": replace(S2, name="sstdp", compete=True, a_minus=0.0),
    "r_stdp": replace(S2, name="r_stdp", a_plus=0.05, anti_plus=-0.05, anti_minus=0.02, w_min=0.2),
}


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
@pytest.mark.parametrize("dropping", [False, True])
@pytest.mark.parametrize("groups", [Groups(3), Groups(10, 5, 1), Groups(4, 2, 1)], ids=str)
def test_learning_is_equal(variant, rule, dropping, groups):
    inputs = 61
    for levels, threshold, total in product((None, 5), (5.0, 30.0), (True, False)):
        t, y = times(12, inputs, levels), torch.randint(groups.classes, (12,))
        one = layer(groups, inputs, threshold, total=total)
        if rule.regulation == "neuron":
            one = one._replace(threshold=one.own)
        other = copy_of(one)
        dropped = torch.rand(12, groups.count) < 0.3 if dropping else None
        how = {"groups": groups, "rule": rule, "dropped": dropped}
        want = truth.first_spike_learn(t, y, one, **how)
        got = compiled.first_spike_learn(t, y, other, **how)
        for a, b in zip((*want, *one), (*got, *other), strict=True):
            assert (a is None and b is None) or torch.equal(a, b)


def test_filters_that_learn_are_equal(variant):
    for levels, count in product((None, 9), (1, 20)):
        t, weight = times(60, 50, levels), (0.5 + 0.01 * torch.randn(count, 50)).clamp(0, 1)
        threshold = torch.full((count,), 5.0)
        pairs = [(weight, threshold), (weight.clone(), threshold.clone())]
        how = Filters(eta=0.5, goal=0.6)
        want = truth.learn_filters(t, *pairs[0], how=how)
        got = compiled.learn_filters(t, *pairs[1], how=how)
        assert torch.equal(want, got)
        assert (want >= 0).any()
        for a, b in zip(*pairs, strict=True):
            assert torch.equal(a, b)


def test_batches_are_cut_without_consequence():
    groups = Groups(10, 5, 1)
    t, y, rule = times(30, 40), torch.randint(10, (30,)), RULES["ncg"]
    whole = layer(groups, 40, 5.0, total=True)
    cut = copy_of(whole)
    learn = door("first_spike_learn")
    learn(t, y, whole, groups=groups, rule=rule)
    for part in range(0, 30, 7):
        learn(t[part : part + 7], y[part : part + 7], cut, groups=groups, rule=rule)
    assert all(torch.equal(a, b) for a, b in zip(whole, cut, strict=True))


def test_what_the_kernels_do_not_take_goes_to_the_truth():
    t, weight, limit = times(2, 5).double(), torch.rand(3, 5).double(), torch.ones(3).double()
    assert "float64 on cpu" in explain("first_spikes", t, weight, limit)
    with use("truth"):
        want = door("first_spikes")(t, weight, limit)
    assert all(
        torch.equal(a, b) for a, b in zip(want, door("first_spikes")(t, weight, limit), strict=True)
    )


def test_structures_are_as_large_as_in_c():
    for which, kind in enumerate(
        (compiled.FirstSpikeCall, compiled.FirstSpikeTraining, compiled.FilterTraining)
    ):
        assert native.opened().spikeloom_first_spike_size(which) == ctypes.sizeof(kind)
