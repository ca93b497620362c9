"""LIF and IF against numbers worked out by hand; every number here is dyadic, hence exact."""

import math

import pytest
import torch

from spikeloom.functional import encode, euler, exponential, factor, if_, lif, lif_trace

# Each row: decay, reset, input, potentials before reset, potentials after reset (threshold 1).
TRACES = [
    # keep 1/2, gain 1/2:  h = v/2 + x/2 with x/2 = 0.75
    #   hard: 0.75; 0.375 + 0.75 = 1.125 fires; 0 + 0.75; 0.375 + 0.75 = 1.125 fires
    (euler(2.0), "hard", [1.5] * 4, [0.75, 1.125, 0.75, 1.125], [0.75, 0, 0.75, 0]),
    #   soft: 0.75; 1.125 fires, leaves 0.125; 0.0625 + 0.75; 0.40625 + 0.75 fires
    (
        euler(2.0), "soft", [1.5] * 4,
        [0.75, 1.125, 0.8125, 1.15625], [0.75, 0.125, 0.8125, 0.15625],
    ),
    #   none: 0.75; 1.125; 0.5625 + 0.75; 0.65625 + 0.75: fires from step 2 on
    (
        euler(2.0), "none", [1.5] * 4,
        [0.75, 1.125, 1.3125, 1.40625], [0.75, 1.125, 1.3125, 1.40625],
    ),
    # keep 1/2, gain 1:  h = v/2 + x
    #   hard: 0.5; 0.25 + 1 fires; 0 + 0.25; 0.125 + 2 fires
    (
        euler(2.0, decay_input=False), "hard", [0.5, 1, 0.25, 2],
        [0.5, 1.25, 0.25, 2.125], [0.5, 0, 0.25, 0],
    ),
    #   soft: 0.5; 1.25 leaves 0.25; 0.125 + 0.25; 0.1875 + 2 leaves 1.1875 (one spike per step)
    (
        euler(2.0, decay_input=False), "soft", [0.5, 1, 0.25, 2],
        [0.5, 1.25, 0.375, 2.1875], [0.5, 0.25, 0.375, 1.1875],
    ),
    #   none: 0.5; 1.25 fires; 0.625 + 0.25 silent; 0.4375 + 2 fires
    (
        euler(2.0, decay_input=False), "none", [0.5, 1, 0.25, 2],
        [0.5, 1.25, 0.875, 2.4375], [0.5, 1.25, 0.875, 2.4375],
    ),
    # keep 1/4, gain 1:  h = v/4 + x
    #   hard: 0.5; 0.125 + 1 fires; 0.25; 0.0625 + 2 fires
    (
        factor(0.25), "hard", [0.5, 1, 0.25, 2],
        [0.5, 1.125, 0.25, 2.0625], [0.5, 0, 0.25, 0],
    ),
    #   soft: 0.5; 1.125 leaves 0.125; 0.03125 + 0.25; 0.0703125 + 2 leaves 1.0703125
    (
        factor(0.25), "soft", [0.5, 1, 0.25, 2],
        [0.5, 1.125, 0.28125, 2.0703125], [0.5, 0.125, 0.28125, 1.0703125],
    ),
    #   none: 0.5; 1.125 fires; 0.28125 + 0.25; 0.1328125 + 2 fires
    (
        factor(0.25), "none", [0.5, 1, 0.25, 2],
        [0.5, 1.125, 0.53125, 2.1328125], [0.5, 1.125, 0.53125, 2.1328125],
    ),
    # keep 1/4, gain 3/4:  h = v/4 + 3x/4
    #   hard: 0.75; 0.1875 + 1.5 fires; 0; 3 fires
    (
        factor(0.25, decay_input=True), "hard", [1, 2, 0, 4],
        [0.75, 1.6875, 0, 3], [0.75, 0, 0, 0],
    ),
    #   soft: 0.75; 1.6875 leaves 0.6875; 0.171875; 0.04296875 + 3 leaves 2.04296875
    (
        factor(0.25, decay_input=True), "soft", [1, 2, 0, 4],
        [0.75, 1.6875, 0.171875, 3.04296875], [0.75, 0.6875, 0.171875, 2.04296875],
    ),
    #   none: 0.75; 1.6875 fires; 0.421875; 0.10546875 + 3 fires
    (
        factor(0.25, decay_input=True), "none", [1, 2, 0, 4],
        [0.75, 1.6875, 0.421875, 3.10546875], [0.75, 1.6875, 0.421875, 3.10546875],
    ),
]  # fmt: skip

# No leak, threshold 1: input, reset, spikes, final potential.
#   hard: 0.5; 1.25 fires; 0.5; 1.5 fires
#   soft: 0.5; 1.25 leaves 0.25; 0.75; 1.75 leaves 0.75
#   none: 0.5; 1.25; 1.75; 2.75, firing from step 2 on
IF_TRACES = [
    ("hard", [0, 1, 0, 1], 0.0),
    ("soft", [0, 1, 0, 1], 0.75),
    ("none", [0, 1, 1, 1], 2.75),
]


def column(numbers, dtype=torch.float32):
    return torch.tensor(numbers, dtype=dtype)[:, None]


@pytest.mark.parametrize(("decay", "reset", "x", "h", "v"), TRACES)
def test_trace_by_hand(decay, reset, x, h, v):
    trace = lif_trace(column(x), decay=decay, reset=reset)
    assert trace.h_seq.flatten().tolist() == h
    assert trace.v_seq.flatten().tolist() == v
    assert trace.spike_seq.flatten().tolist() == [float(potential >= 1) for potential in h]


@pytest.mark.parametrize(("decay", "reset", "x", "h", "v"), TRACES)
def test_exponential_decay_with_the_same_factor(decay, reset, x, h, v):
    twin = exponential(-1 / math.log(decay.keep), decay_input=decay.decay_input)
    trace = lif_trace(column(x, torch.float64), decay=twin, reset=reset)
    assert trace.h_seq.flatten().tolist() == pytest.approx(h, rel=1e-14)
    assert trace.v_seq.flatten().tolist() == pytest.approx(v, rel=1e-14)


@pytest.mark.parametrize(("reset", "spikes", "v"), IF_TRACES)
def test_integrate_and_fire_by_hand(reset, spikes, v):
    out, end = if_(column([0.5, 0.75, 0.5, 1]), reset=reset)
    assert out.flatten().tolist() == spikes
    assert end.item() == v


def test_hard_reset_rests_at_v_reset():
    # rest -0.5, keep 1/2, gain 1:  h = -0.5 + (v + 0.5)/2 + x
    #   -0.5 + 0 + 1 = 0.5; -0.5 + 0.5 + 1.5 = 1.5 fires; -0.5 + 0 + 1 = 0.5; 1.5 fires
    trace = lif_trace(column([1.0, 1.5, 1.0, 1.5]), decay=factor(0.5), v_reset=-0.5)
    assert trace.h_seq.flatten().tolist() == [0.5, 1.5, 0.5, 1.5]
    assert trace.v_seq.flatten().tolist() == [0.5, -0.5, 0.5, -0.5]


@pytest.mark.parametrize("reset", ["soft", "none"])
def test_v_reset_is_for_hard_reset_only(reset):
    x_seq = torch.randn(5, 2, 3)
    there, _ = lif(x_seq, reset=reset, v_reset=-0.5)
    assert torch.equal(there, lif(x_seq, reset=reset)[0])


def test_without_input_the_potential_stays_at_rest():
    out, v = lif(torch.zeros(4, 1), v_reset=-0.5)
    assert out.sum() == 0
    assert v.item() == -0.5


@pytest.mark.parametrize("reset", ["hard", "soft", "none"])
def test_exactly_at_the_threshold_only_strict_is_silent(reset):
    x_seq = column([0.25, 0.25, 0.25, 0.25])  # reaches 1 exactly at step 4
    assert if_(x_seq, reset=reset)[0].flatten().tolist() == [0, 0, 0, 1]
    assert if_(x_seq, reset=reset, strict=True)[0].sum() == 0
    assert lif(column([2.0]), reset=reset)[0].item() == 1  # h = 2/2
    assert lif(column([2.0]), reset=reset, strict=True)[0].item() == 0


def test_soft_reset_keeps_the_remainder():
    # What went in is either still there or left as spikes of one threshold each; on a dyadic grid
    # the sums are exact.
    x_seq = torch.randint(-4, 12, (50, 3, 4), generator=torch.Generator().manual_seed(0)) / 16
    out, v = if_(x_seq, reset="soft", v_threshold=0.75)
    assert torch.equal(x_seq.sum(0), 0.75 * out.sum(0) + v)


def test_constant_input_below_threshold_charges_exponentially():
    # v[t] = x (1 - exp(-(t + 1) / tau)), exactly what an RC circuit does
    x_seq = encode.constant(torch.full((1, 1), 0.9, dtype=torch.float64), 20)
    trace = lif_trace(x_seq, decay=exponential(4.0, decay_input=True))
    t = torch.arange(1, 21, dtype=torch.float64)
    torch.testing.assert_close(trace.h_seq.flatten(), 0.9 * (1 - torch.exp(-t / 4.0)))


def test_carried_potential_is_the_start():
    # keep 1/2, gain 1/2: h = 1.5/2 + 1/2 = 1.25 fires
    out, v = lif(column([1.0]), torch.tensor([1.5]), reset="soft")
    assert out.item() == 1
    assert v.item() == 0.25
