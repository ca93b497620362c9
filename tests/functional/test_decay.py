"""The three conventions of forgetting, and the values they refuse."""

import math

import pytest
import torch

from spikeloom import registry
from spikeloom.functional import NO_DECAY, Decay, euler, exponential, factor


@pytest.mark.parametrize(
    ("decay", "keep", "gain"),
    [
        (euler(4.0), 0.75, 0.25),
        (euler(4.0, decay_input=False), 0.75, 1.0),
        (exponential(2.0), math.exp(-0.5), 1.0),
        (exponential(2.0, decay_input=True), math.exp(-0.5), 1 - math.exp(-0.5)),
        (exponential(20.0, dt=5.0), math.exp(-0.25), 1.0),
        (factor(0.9), 0.9, 1.0),
        (factor(0.75, decay_input=True), 0.75, 0.25),
        (NO_DECAY, 1.0, 1.0),
    ],
)
def test_keep_and_gain(decay, keep, gain):
    assert decay.keep == pytest.approx(keep, rel=1e-15)
    assert decay.gain == pytest.approx(gain, rel=1e-15)


def test_two_half_steps_decay_as_one():
    half = exponential(3.0, dt=0.5).keep
    assert half * half == pytest.approx(exponential(3.0).keep, rel=1e-15)


@pytest.mark.parametrize("build", [euler, exponential])
def test_tensors_pass_gradients_to_tau(build):
    tau = torch.tensor([2.0, 5.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda t: build(t, decay_input=True).keep, tau)
    assert torch.autograd.gradcheck(lambda t: build(t, decay_input=True).gain, tau)


@pytest.mark.parametrize("tau", [1.0, 0.5, -2.0, math.nan, math.inf])
def test_euler_refuses_tau_up_to_1(tau):
    with pytest.raises(ValueError, match="tau must be > 1"):
        euler(tau)


def test_one_bad_element_is_enough():
    with pytest.raises(ValueError, match="tau must be > 1"):
        euler(torch.tensor([2.0, 1.0]))
    with pytest.raises(ValueError, match="beta must be in"):
        factor(torch.tensor([0.5, math.nan]))


@pytest.mark.parametrize(("tau", "dt", "name"), [(0.0, 1.0, "tau"), (2.0, 0.0, "dt")])
def test_exponential_refuses_what_is_not_positive(tau, dt, name):
    with pytest.raises(ValueError, match=f"{name} must be > 0"):
        exponential(tau, dt=dt)


@pytest.mark.parametrize("beta", [-0.1, 1.1, math.nan])
def test_factor_refuses_what_is_not_a_share(beta):
    with pytest.raises(ValueError, match="beta must be in"):
        factor(beta)


@pytest.mark.parametrize("beta", [0.0, 1.0])
def test_factor_takes_the_ends(beta):
    assert factor(beta) == Decay(beta)


def test_conventions_are_found_by_name():
    assert {e.name for e in registry.entries("decay")} >= {"euler", "exponential", "factor"}


@pytest.mark.parametrize("keep", [1.5, -0.1, math.nan, math.inf])
@pytest.mark.parametrize("as_tensor", [False, True])
def test_a_decay_keeps_a_share(keep, as_tensor):
    with pytest.raises(ValueError, match=r"keep must be in \[0, 1\]"):
        Decay(torch.tensor([0.5, keep]) if as_tensor else keep)


def test_nothing_and_everything_may_be_kept():
    assert (Decay(0.0).keep, Decay(1.0)) == (0.0, NO_DECAY)
    assert Decay(torch.tensor([0.0, 1.0])).keep.tolist() == [0, 1]
    assert Decay(torch.empty(0, 3)).keep.shape == (0, 3)  # of an empty batch


def test_a_trusted_tensor_is_not_looked_at():
    assert Decay(torch.empty(2, device="meta"), trusted=True).keep.is_meta
