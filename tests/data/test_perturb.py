"""What happens to events: how many are left, where they are, and that it can be repeated."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator, Tensor

from spikeloom.data import perturb

CHANGES = {
    "drop": lambda x, g: perturb.drop(x, 0.3, g),
    "add": lambda x, g: perturb.add(x, 0.2, g),
    "jitter": lambda x, g: perturb.jitter(x, 1.5, g),
    "warp": lambda x, g: perturb.warp(x, 0.7, g),
}


def drawn(seed: int = 0) -> Generator:
    return torch.Generator().manual_seed(seed)


def counts(shape: tuple[int, ...] = (4, 20, 3, 2, 2), mean: float = 0.8) -> Tensor:
    return torch.poisson(torch.full(shape, mean), drawn(1)).to(torch.uint8)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("name", CHANGES)
def test_the_same_state_gives_the_same_events(name, dtype):
    x = counts().to(dtype)
    kept = x.clone()
    first, again = CHANGES[name](x, drawn()), CHANGES[name](x, drawn())
    assert torch.equal(first, again)
    assert first.dtype == dtype
    assert torch.equal(x, kept)
    assert not torch.equal(first, x)
    torch.manual_seed(5)
    glob = CHANGES[name](x, None)
    torch.manual_seed(5)
    assert torch.equal(glob, CHANGES[name](x, None))


@pytest.mark.parametrize(
    "change",
    [
        lambda x: perturb.drop(x, 0.0),
        lambda x: perturb.add(x, 0.0),
        lambda x: perturb.jitter(x, 0.0),
        lambda x: perturb.warp(x, 1.0),
        lambda x: perturb.roll(x, torch.zeros(len(x), dtype=torch.int64), 1),
    ],
)
@pytest.mark.parametrize("B", [0, 1, 4])
def test_nothing_changes_nothing(change, B):
    x = counts()[:B]
    assert torch.equal(change(x), x)


def test_deletion_thins_counts_binomially():
    n, p = 20, 0.3
    left = perturb.drop(torch.full((1, 100, 500), n), p, drawn()).double()
    assert left.max() <= n
    mean, variance = float(left.mean()), float(left.var())
    assert mean == pytest.approx(n * (1 - p), abs=5 * math.sqrt(n * p * (1 - p) / 50_000))
    assert variance == pytest.approx(n * p * (1 - p), rel=0.05)
    assert perturb.drop(counts(), 1.0).sum() == 0


def test_noise_adds_a_poisson_number_everywhere():
    x = counts((1, 200, 250))
    more = (perturb.add(x, 0.4, drawn()) - x).double()
    assert more.min() == 0
    assert float(more.mean()) == pytest.approx(0.4, abs=5 * math.sqrt(0.4 / 50_000))
    assert float(more.var()) == pytest.approx(0.4, rel=0.05)


@settings(deadline=None, max_examples=30)
@given(
    sd=st.floats(0, 50), factor=st.floats(0.1, 8), T=st.integers(1, 30), seed=st.integers(0, 999)
)
def test_jitter_and_warp_lose_no_event_of_any_place(sd, factor, T, seed):
    x = counts((2, T, 5))
    assert torch.equal(perturb.jitter(x, sd, drawn(seed)).sum(1), x.sum(1))
    long = perturb.warped_steps(T, factor)
    warped = perturb.warp(x, factor, drawn(seed), T=long)
    assert warped.shape == (2, long, 5)
    assert torch.equal(warped.sum(1), x.sum(1))


def test_jitter_moves_events_by_its_deviation():
    x = torch.zeros(1, 201, 5000)
    x[:, 100] = 1
    steps = torch.arange(201.0) - 100
    share = perturb.jitter(x, 3.0, drawn()).sum((0, 2)) / 5000
    assert float(share @ steps) == pytest.approx(0, abs=0.2)
    # rounding adds the variance of a step
    assert float(share @ steps.square()) == pytest.approx(9 + 1 / 12, rel=0.1)


@pytest.mark.parametrize("factor", [0.5, 2.0, 1.3])
def test_a_warped_event_comes_as_much_later(factor):
    x = torch.eye(40)[None]  # place k fires at step k
    long = perturb.warped_steps(40, factor)
    at = perturb.warp(x, factor, drawn(), T=long)[0].argmax(0).double()
    begin = factor * torch.arange(40)
    assert (at >= begin.floor()).all()
    assert (at <= begin + factor).all()


def test_with_t_kept_what_comes_too_late_is_left_out():
    x = torch.ones(2, 10, 3)
    slow = perturb.warp(x, torch.tensor([2.0, 1.0]), drawn())
    assert slow.shape == x.shape
    assert slow[0].sum() == pytest.approx(15, abs=3)
    assert torch.equal(slow[1], x[1])


def test_what_is_binary_stays_so_if_that_is_asked_for():
    x = (counts() > 0).to(torch.uint8)
    assert perturb.fullest(x) == 1
    assert perturb.fullest(counts()) == perturb.MOST
    assert perturb.warp(x, 0.5, drawn(), most=1).max() == 1
    assert perturb.warp(x, 0.5, drawn()).max() == 2


def test_a_roll_shifts_each_sample_by_its_own_number():
    x = counts()
    out = perturb.roll(x, torch.tensor([0, 1, -3, 25]), 1)
    for n, shift in enumerate([0, 1, -3, 25]):
        assert torch.equal(out[n], x[n].roll(shift, 0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda: perturb.drop(counts(), 1.5), "share of events"),
        (lambda: perturb.drop(counts() * 0.5, 0.1), "expected counts of events"),
        (lambda: perturb.drop(-counts().float(), 0.1), "expected counts of events"),
        (lambda: perturb.drop(torch.ones(3), 0.1), r"\[B, T, \*\]"),
        (lambda: perturb.add(counts(), -1), "rate is a number"),
        (lambda: perturb.jitter(counts(), math.nan), "sd is the deviation"),
        (lambda: perturb.warp(counts(), 0.0), "factors must be > 0"),
        (lambda: perturb.warp(counts(), 1.0, T=0), "T >= 1"),
    ],
)
def test_what_cannot_be_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        change()
