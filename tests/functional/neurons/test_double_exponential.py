"""Double-exponential neurons: the response, the full reset, and what all neurons keep to."""

import pytest
import torch

from spikeloom.functional import (
    Sigmoid,
    Smooth,
    double_exponential,
    double_exponential_step,
    double_exponential_trace,
)


def currents(*shape, seed=0, dtype=torch.float64):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def test_the_response_to_one_input_starts_at_one_over_tau_s():
    tau_m, tau_s, T = 7.0, 4.0, 12
    x_seq = torch.zeros(T, 1, dtype=torch.float64)
    x_seq[0] = 1
    h_seq = double_exponential_trace(x_seq, tau_m=tau_m, tau_s=tau_s, v_threshold=9.0).h_seq
    th_m, th_s, k = 1 / tau_m, 1 / tau_s, torch.arange(T, dtype=torch.float64)
    eps = th_s / (th_s - th_m) * ((1 - th_m) ** (k + 1) - (1 - th_s) ** (k + 1))
    torch.testing.assert_close(h_seq[:, 0], eps, atol=1e-12, rtol=0)
    assert eps[0].item() == pytest.approx(th_s, abs=1e-15)


def test_a_spike_clears_everything():
    x_seq = currents(9, 3, 4)
    trace = double_exponential_trace(x_seq, v_threshold=0.8)
    assert 0.1 < trace.spike_seq.mean() < 0.9
    fired = trace.spike_seq.bool()
    for part in (trace.v_seq, trace.a_seq, trace.b_seq):
        assert not part[fired].any()
        assert part[~fired].all()


def test_an_input_counts_towards_the_next_spike_alone():
    x_seq = currents(8, 1)
    spikes, _ = double_exponential(x_seq, v_threshold=0.8)
    first = int(spikes[:, 0].argmax())
    assert spikes[first]
    other = x_seq.clone()
    other[: first + 1] *= 1.01
    again, _ = double_exponential(other, v_threshold=0.8)
    assert torch.equal(again[first + 1 :], spikes[first + 1 :])


@pytest.mark.parametrize("g", [0.25, 3.0, 100.0])
def test_currents_times_g_fire_as_thresholds_over_g(g):
    x_seq = currents(12, 5, 40)
    theta = 0.5 + currents(40, seed=1)
    louder, _ = double_exponential(g * x_seq, v_threshold=g * theta)
    lower, _ = double_exponential(x_seq, v_threshold=theta)
    assert torch.equal(louder, lower)
    assert 0.05 < lower.mean() < 0.95


def test_two_chunks_with_carried_state_equal_the_whole():
    x_seq = currents(9, 2, 3)
    whole, end = double_exponential(x_seq)
    first, middle = double_exponential(x_seq[:4])
    second, last = double_exponential(x_seq[4:], middle)
    assert torch.equal(torch.cat((first, second)), whole)
    assert all(torch.equal(*pair) for pair in zip(last, end, strict=True))


def test_trace_and_step_agree_with_the_plain_call():
    x_seq = currents(5, 2, 3)
    spikes, state = double_exponential(x_seq)
    trace = double_exponential_trace(x_seq)
    assert torch.equal(trace.spike_seq, spikes)
    assert all(torch.equal(*pair) for pair in zip(trace.last, state, strict=True))
    s, h, after = double_exponential_step(x_seq[4], double_exponential(x_seq[:4])[1])
    assert torch.equal(s, spikes[4])
    assert torch.equal(h, trace.h_seq[4])
    assert all(torch.equal(*pair) for pair in zip(after, state, strict=True))


def test_surrogate_gradients_are_those_of_the_smooth_neuron():
    x_seq = currents(5, 2, 3).requires_grad_()
    theta = (0.5 + currents(3, seed=2)).requires_grad_()

    def run(x_seq, theta):
        return double_exponential(x_seq, v_threshold=theta, surrogate=Smooth(Sigmoid()))

    assert torch.autograd.gradcheck(lambda *given: run(*given)[0], (x_seq, theta))


def test_half_precision_is_float32_rounded_at_the_end():
    x_seq = currents(9, 2, 4).to(torch.bfloat16)
    out, state = double_exponential(x_seq)
    want, end = double_exponential(x_seq.float())
    assert torch.equal(out, want.bfloat16())
    assert all(torch.equal(a, b.bfloat16()) for a, b in zip(state, end, strict=True))


@pytest.mark.parametrize(("tau_m", "tau_s"), [(3.0, 3.0), (3.0, 4.0), (3.0, 0.5)])
def test_time_constants_out_of_order_are_refused(tau_m, tau_s):
    with pytest.raises(ValueError, match="tau_m > tau_s >= 1"):
        double_exponential(torch.zeros(2, 1), tau_m=tau_m, tau_s=tau_s)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="time-first sequence"):
        double_exponential(torch.zeros(3))
    with pytest.raises(ValueError, match="carried state"):
        double_exponential(torch.zeros(3, 2), (torch.zeros(3), torch.zeros(2)))
    with pytest.raises(ValueError, match="v_threshold of shape"):
        double_exponential(torch.zeros(3, 2, 4), v_threshold=torch.ones(5))
