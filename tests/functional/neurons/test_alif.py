"""Adaptive LIF against numbers worked out by hand (dyadic, hence exact)."""

import pytest
import torch

from spikeloom.functional import alif, alif_trace, factor, lif

HALF = factor(0.5)
X = torch.tensor([1.25, 1.5, 1.5, 1.5])[:, None]

# keep 1/2, gain 1, threshold 1, beta 1/2:  A = 1 + a/2,  h = v/2 + x
# Adaptation keep 1/2, gain 1:  a <- a/2 + s
#   hard: A 1,     h 1.25               fires, v 0,   a 1
#         A 1.5,   h 1.5 (at it)        fires, v 0,   a 0.5 + 1 = 1.5
#         A 1.75,  h 1.5                silent, v 1.5, a 0.75
#         A 1.375, h 0.75 + 1.5 = 2.25  fires, v 0,   a 0.375 + 1
#   soft: A 1,     h 1.25               fires, v 0.25
#         A 1.5,   h 0.125 + 1.5        fires, v 0.125
#         A 1.75,  h 0.0625 + 1.5       silent
#         A 1.375, h 0.78125 + 1.5      fires, v 2.28125 - 1.375
#   none: A 1, 1.5, 1.75, 1.875: h is above each;  a 1, 1.5, 1.75, 1.875
# Adaptation keep 1/2, gain 1/2:  a <- a/2 + s/2
#   hard: A 1, 1.25, 1.375, 1.4375 against h 1.25, 1.5, 1.5, 1.5: always fires;
#         a 0.5, 0.25 + 0.5, 0.375 + 0.5, 0.4375 + 0.5
TRACES = [
    (
        HALF, "hard", [1, 1, 0, 1],
        [1.25, 1.5, 1.5, 2.25], [0, 0, 1.5, 0], [1, 1.5, 0.75, 1.375],
    ),
    (
        HALF, "soft", [1, 1, 0, 1],
        [1.25, 1.625, 1.5625, 2.28125], [0.25, 0.125, 1.5625, 0.90625], [1, 1.5, 0.75, 1.375],
    ),
    (
        HALF, "none", [1, 1, 1, 1],
        [1.25, 2.125, 2.5625, 2.78125], [1.25, 2.125, 2.5625, 2.78125], [1, 1.5, 1.75, 1.875],
    ),
    (
        factor(0.5, decay_input=True), "hard", [1, 1, 1, 1],
        [1.25, 1.5, 1.5, 1.5], [0, 0, 0, 0], [0.5, 0.75, 0.875, 0.9375],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("adaptation", "reset", "spikes", "h", "v", "a"), TRACES)
def test_trace_by_hand(adaptation, reset, spikes, h, v, a):
    trace = alif_trace(X, decay=HALF, adaptation_decay=adaptation, beta=0.5, reset=reset)
    assert [column.flatten().tolist() for column in trace] == [spikes, h, v, a]


def test_a_decaying_input_halves_the_current():
    # gain 1/2 on twice the input is gain 1
    plain = alif_trace(X, decay=HALF, adaptation_decay=HALF, beta=0.5)
    halved = alif_trace(2 * X, decay=factor(0.5, decay_input=True), adaptation_decay=HALF, beta=0.5)
    assert all(torch.equal(*pair) for pair in zip(plain, halved, strict=True))


def test_exactly_at_the_raised_threshold_only_strict_is_silent():
    # a = 1 lifts the threshold to 1.5; h = 1.5
    state = torch.zeros(1), torch.ones(1)
    x_seq = torch.full((1, 1), 1.5)
    assert alif(x_seq, state, decay=HALF, beta=0.5)[0].item() == 1
    assert alif(x_seq, state, decay=HALF, beta=0.5, strict=True)[0].item() == 0


@pytest.mark.parametrize("reset", ["hard", "soft", "none"])
def test_without_beta_it_is_lif(reset):
    x_seq = 2 * torch.randn(8, 3, 4)
    spikes, state = alif(x_seq, beta=0.0, reset=reset)
    want, v = lif(x_seq, reset=reset)
    assert torch.equal(spikes, want)
    assert torch.equal(state.v, v)


def test_adaptation_slows_a_constant_drive():
    x_seq = torch.full((60, 1, 1), 3.0)
    spikes, _ = alif(x_seq, beta=0.5, adaptation_decay=factor(0.95))
    early, late = spikes[:20].sum(), spikes[-20:].sum()
    assert late < early


def test_default_adaptation_fades_over_200_steps():
    state = torch.zeros(1), torch.ones(1)
    _, after = alif(torch.zeros(200, 1), state)
    torch.testing.assert_close(after.a, torch.exp(torch.tensor([-1.0])))


def test_only_the_potential_rests_at_v_reset():
    _, state = alif(torch.zeros(3, 1), v_reset=-0.5)
    assert (state.v.item(), state.a.item()) == (-0.5, 0)
