"""The compiled presentations against the truth: bit for bit."""

import pytest
import torch

from spikeloom.functional.diehl_cook import Competing, Learning, shown
from spikeloom.functional.plasticity import Bounds, PairSTDP
from spikeloom.kernels import door, explain, use
from spikeloom.kernels.cpu import native

pytestmark = pytest.mark.skipif(native.OPENED is None, reason=native.PROBLEM or "-")

CELLS = {
    "as published": Competing(),
    "many at once": Competing(one_spike=False, inhibition=17.5, refractory=2),
    "never refractory": Competing(refractory=0, inhibition=5.0),
    "shown again": Competing(least=30, most=3),
    "coarse": Competing(dt=2.0, tau=30.0, theta_step=2.0, tau_theta=50.0),
}
RULES = {
    "nothing": None,
    "nearest": Learning(),
    "all": Learning(PairSTDP(a_plus=1e-2, a_minus=1e-3), total=20.0),
    "no sum": Learning(PairSTDP(bounds=Bounds(0.1, 0.7)), total=0.0),
}


def given(inputs: int = 200, neurons: int = 37):
    x = torch.rand(3, inputs) * (torch.rand(3, inputs) < 0.5)
    return x, 0.6 * torch.rand(neurons, inputs), torch.rand(neurons)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("cells", CELLS)
def test_equal_to_the_bit(cells, rule):
    arguments = (*given(), 50, 7, CELLS[cells], RULES[rule])
    with use("cpu"):
        found = door("shown")(*arguments)
    want = shown(*arguments)
    assert want.counts.any()
    for one, other in zip(found, want, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("variant", ["baseline", "avx2", "avx512"])
@pytest.mark.parametrize("neurons", [1, 16, 80])
def test_equal_for_every_instruction_set_and_width(variant, neurons):
    before = native.variant()
    if native.variant(variant) != variant:
        pytest.skip(f"this processor has no {variant}")
    try:
        arguments = (*given(101, neurons), 40, 2**61 + 5, Competing(inhibition=9.0), Learning())
        for one, other in zip(door("shown")(*arguments), shown(*arguments), strict=True):
            assert torch.equal(one, other)
    finally:
        native.variant(before)


def test_threads_share_samples_where_nothing_is_learnt():
    arguments = (*given(), 50, 7, Competing())
    found = []
    for threads in (1, 3):
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        found.append(door("shown")(*arguments).counts)
        torch.set_num_threads(before)
    assert torch.equal(*found)


def test_what_was_given_stays_as_it_is():
    x, w, theta = given(64, 16)  # whose transposed weights need no padding
    copies = w.clone(), theta.clone()
    door("shown")(x, w, theta, 30, 0, Competing(), Learning())
    assert torch.equal(w, copies[0])
    assert torch.equal(theta, copies[1])


def test_no_samples_and_refusals():
    x, w, theta = given()
    assert door("shown")(x[:0], w, theta, 5, 0, Competing()).counts.shape == (0, 37)
    soft = Learning(PairSTDP(bounds=Bounds(mu=1.0)))
    assert "depend on the weight" in explain("shown", x, w, theta, 5, 0, Competing(), soft)
    double = (x.double(), w, theta, 5, 0, Competing())
    assert "not float32" in explain("shown", *double)
