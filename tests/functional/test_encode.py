"""Encoders: when spikes come, how many, and what is refused."""

import math

import pytest
import torch

from spikeloom import registry
from spikeloom.functional import encode, exponential, lif

RAMP = torch.linspace(0, 1, 101)[None]


def first_step(spike_seq):
    """The step of the first spike, T where there is none."""
    fired = spike_seq.bool()
    return torch.where(fired.any(0), fired.int().argmax(0), len(spike_seq))


def test_encoders_are_found_by_name():
    names = {entry.name for entry in registry.entries("encoder")}
    assert names >= {"constant", "poisson", "latency"}
    for name in names & {"constant", "poisson", "latency"}:
        assert registry.find("encoder", name).build(torch.rand(2, 3), 5).shape == (5, 2, 3)


def test_recorded_steps_are_put_first_and_must_be_as_many():
    x = torch.rand(2, 5, 3)
    assert torch.equal(encode.recorded(x, 5), x.transpose(0, 1))
    with pytest.raises(ValueError, match=r"expected sequences \[N, T = 4, \*\], got \(2, 5, 3\)"):
        encode.recorded(x, 4)


@pytest.mark.parametrize("encoder", [encode.constant, encode.poisson, encode.latency])
def test_a_sequence_needs_a_step(encoder):
    with pytest.raises(ValueError, match="T >= 1"):
        encoder(torch.rand(2), 0)


@pytest.mark.parametrize("encoder", [encode.poisson, encode.latency])
@pytest.mark.parametrize("bad", [-0.01, 1.01, 255.0, math.nan])
def test_values_outside_0_to_1_are_refused(encoder, bad):
    with pytest.raises(ValueError, match=r"values in \[0, 1\]"):
        encoder(torch.tensor([[0.5, bad]]), 3)


@pytest.mark.parametrize("encoder", [encode.poisson, encode.latency])
def test_bytes_are_refused_with_the_way_out(encoder):
    with pytest.raises(ValueError, match="use x / 255"):
        encoder(torch.tensor([[0, 255]], dtype=torch.uint8), 3)


@pytest.mark.parametrize("encoder", [encode.constant, encode.poisson, encode.latency])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_dtype_is_kept(encoder, dtype):
    assert encoder(torch.rand(2, 3).to(dtype), 4).dtype == dtype


@pytest.mark.parametrize("encoder", [encode.constant, encode.poisson, encode.latency])
def test_an_empty_batch_stays_empty(encoder):
    assert encoder(torch.rand(0, 3), 4).shape == (4, 0, 3)


def test_constant_repeats_without_a_copy():
    x = torch.randn(2, 3)
    x_seq = encode.constant(x, 4)
    assert x_seq.stride(0) == 0
    assert x_seq.data_ptr() == x.data_ptr()
    assert all(torch.equal(step, x) for step in x_seq)


def test_constant_sums_gradients_over_time():
    x = torch.randn(2, requires_grad=True)
    encode.constant(x, 4).sum().backward()
    assert x.grad.tolist() == [4, 4]


def test_poisson_rate_is_the_value():
    # Mean of n = 40000 coin flips: standard error sqrt(p (1 - p) / n) <= 0.0025; 5 of them make a
    # false alarm about 6e-7 likely per value even if the seed were changed.
    p = torch.tensor([0.05, 0.3, 0.5, 0.95])
    spikes = encode.poisson(p.expand(400, 4), 100, generator=torch.Generator().manual_seed(0))
    error = (spikes.mean((0, 1)) - p).abs()
    assert (error < 5 * (p * (1 - p) / 40000).sqrt()).all()


def test_poisson_steps_are_independent():
    # Correlation of neighbouring steps over n = 99 * 400 pairs: standard error 1 / sqrt(n) = 0.005.
    p = torch.full((400, 1), 0.5)
    spikes = encode.poisson(p, 100, generator=torch.Generator().manual_seed(1)) - 0.5
    correlation = (spikes[1:] * spikes[:-1]).mean() / 0.25
    assert correlation.abs() < 5 / math.sqrt(99 * 400)


def test_poisson_ends_are_certain():
    spikes = encode.poisson(torch.tensor([[0.0, 1.0]]), 1000)
    assert spikes[:, 0, 0].sum() == 0
    assert spikes[:, 0, 1].sum() == 1000


def test_poisson_repeats_with_the_generator():
    x = torch.rand(3, 4)
    a, b = (encode.poisson(x, 9, generator=torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(a, b)


@pytest.mark.parametrize("law", ["linear", "logarithmic"])
def test_latency_gives_at_most_one_spike(law):
    assert encode.latency(RAMP, 10, law).sum(0).max() == 1


@pytest.mark.parametrize("law", ["linear", "logarithmic"])
def test_larger_is_never_later(law):
    assert (first_step(encode.latency(RAMP, 10, law))[0].diff() <= 0).all()


@pytest.mark.parametrize("law", ["linear", "logarithmic"])
def test_zero_never_spikes(law):
    assert encode.latency(torch.zeros(1, 3), 10, law).sum() == 0


def test_linear_latency_times():
    # round((1 - x) 4): 0, 1, 2, 3, 4; anything above 0 spikes
    x = torch.tensor([[1.0, 0.75, 0.5, 0.25, 1e-6]])
    assert first_step(encode.latency(x, 5)).tolist() == [[0, 1, 2, 3, 4]]


def test_linear_latency_with_one_step_spikes_at_once():
    assert encode.latency(torch.tensor([[0.0, 0.1, 1.0]]), 1).tolist() == [[[0, 1, 1]]]


def test_logarithmic_latency_times():
    # tau 4, threshold 0.25: t = 4 ln(x / (x - 0.25))
    #   x = 1:    4 ln(4/3) = 1.15 -> step 1       x = 0.5: 4 ln 2 = 2.77 -> step 2
    #   x = 0.3:  4 ln 6    = 7.17 -> step 7       x = 0.26: 4 ln 26 = 13.03 > T: silent
    #   x = 0.25 is only approached: silent
    x = torch.tensor([[1.0, 0.5, 0.3, 0.26, 0.25]])
    spikes = encode.latency(x, 8, "logarithmic", tau=4.0, v_threshold=0.25)
    assert first_step(spikes).tolist() == [[1, 2, 7, 8, 8]]


def test_logarithmic_latency_is_the_first_spike_of_a_lif_neuron():
    x = torch.linspace(0, 1, 997, dtype=torch.float64)[None]  # float64: no crossing near a tie
    spikes, _ = lif(
        encode.constant(x, 12), decay=exponential(5.0, decay_input=True), v_threshold=0.3
    )
    times = encode.latency(x, 12, "logarithmic", tau=5.0, v_threshold=0.3)
    assert torch.equal(first_step(times), first_step(spikes))


def test_unknown_law_is_named():
    with pytest.raises(ValueError, match="got 'log'"):
        encode.latency(RAMP, 4, "log")


@pytest.mark.parametrize("bad", [{"tau": 0.0}, {"v_threshold": 0.0}, {"v_threshold": 1.0}])
def test_charging_needs_a_reachable_threshold(bad):
    with pytest.raises(ValueError, match="tau > 0 and v_threshold in"):
        encode.latency(RAMP, 4, "logarithmic", **bad)


def test_level_crossing_is_silent_on_a_constant():
    assert encode.level_crossing(torch.full((20, 2, 3), 0.7), 0.1).sum() == 0


def test_level_crossing_on_a_ramp():
    # 0, 1/4, 1/2, ... with delta 1/2: one ON event every second step; the ramp down gives OFF.
    up = torch.arange(9)[:, None] / 4
    x_seq = torch.cat((up, up.flip(0)[1:]))
    events = encode.level_crossing(x_seq, 0.5)
    assert events.shape == (17, 1, 2)
    # The last ON comes at the peak, 2.0; the first OFF when half a unit has been lost again.
    assert events[:, 0, 0].nonzero().flatten().tolist() == [2, 4, 6, 8]
    assert events[:, 0, 1].nonzero().flatten().tolist() == [10, 12, 14, 16]
    assert events.max() == 1


def test_level_crossing_counts_a_jump_over_several_levels():
    x_seq = torch.tensor([0.0, 1.75, 1.75, -0.5])[:, None]
    # jump 1.75 / 0.5 -> 3 ON, reference 1.5;  -0.5 - 1.5 = -2 -> 4 OFF
    events = encode.level_crossing(x_seq, 0.5)[:, 0]
    assert events.tolist() == [[0, 0], [3, 0], [0, 0], [0, 4]]


def test_level_crossing_rebuilds_the_signal_within_delta():
    x_seq = torch.randn(200, 4, 3, generator=torch.Generator().manual_seed(0)).cumsum(0) / 5
    events = encode.level_crossing(x_seq, 0.1)
    rebuilt = x_seq[0] + 0.1 * (events[:, :, 0] - events[:, :, 1]).cumsum(0)
    # below delta; the allowance is for rounding in rebuilding
    assert (rebuilt - x_seq).abs().max() < 0.1 + 1e-5


def test_level_crossing_keeps_other_axes():
    assert encode.level_crossing(torch.randn(5, 2, 3, 4), 0.1).shape == (5, 2, 2, 3, 4)


@pytest.mark.parametrize("delta", [0.0, -1.0, math.nan])
def test_level_crossing_needs_a_distance(delta):
    with pytest.raises(ValueError, match="delta must be > 0"):
        encode.level_crossing(torch.zeros(3, 1), delta)


def test_level_crossing_needs_a_time_axis():
    with pytest.raises(ValueError, match="time-first"):
        encode.level_crossing(torch.zeros(3), 0.1)
