"""Gradients of spike times, against their definition and against finite differences."""

import pytest
import torch
from scipy.signal import lfilter

from spikeloom.functional import double_exponential, early, supervised, timed
from spikeloom.functional.neurons.timed import forced
from tests.functional.neurons.slow_events import h, layer_backward, spikes_of

TAUS = {"tau_m": 7.0, "tau_s": 4.0, "tau_grad": 3.5}


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gradients(x_seq, g_seq, **options):
    """Spikes, and the gradients of x_seq and link_seq."""
    x_seq = x_seq.clone().requires_grad_()
    link_seq = torch.zeros_like(x_seq, requires_grad=True)
    out = timed(x_seq, link_seq, **options)
    return out.detach(), *torch.autograd.grad(out, (x_seq, link_seq), g_seq)


def test_the_sweep_is_the_sum_over_pairs_of_inputs_and_spikes():
    x_seq, g_seq = drawn(12, 10) + 0.4, drawn(12, 10, seed=1)
    out, of_weights, of_inputs = gradients(x_seq, g_seq, v_threshold=0.9, **TAUS)
    assert out.sum(0).max() > 2
    for n in range(x_seq.shape[1]):
        current = x_seq[:, n].tolist()
        s, du, q = spikes_of(current, 0.9, **TAUS)
        assert s == out[:, n].tolist()
        G = (-g_seq[:, n] * out[:, n]).tolist()
        Gw, Gi = layer_backward(current, s, du, q, G, **TAUS)
        torch.testing.assert_close(of_weights[:, n], Gw, atol=1e-12, rtol=1e-10)
        torch.testing.assert_close(of_inputs[:, n], -Gi, atol=1e-12, rtol=1e-10)


def test_spikes_are_those_of_the_neuron():
    x_seq = drawn(9, 3, 5)
    theta = torch.linspace(0.2, 1.0, 5, dtype=torch.float64)
    want, _ = double_exponential(x_seq, tau_m=7.0, tau_s=4.0, v_threshold=theta)
    assert torch.equal(timed(x_seq, v_threshold=theta, **TAUS), want)


def test_the_gradient_kernel_of_inputs_starts_at_its_decay():
    assert h(0, 3.5) == pytest.approx(1 - 1 / 3.5, abs=1e-15)
    x_seq = torch.tensor([[2.0]], dtype=torch.float64)
    _, of_weights, of_inputs = gradients(x_seq, torch.ones(1, 1), v_threshold=0.1, **TAUS)
    assert of_weights.item() == pytest.approx(1 / (2 / 4) * (1 / 4), abs=1e-12)  # eps(0) / du
    assert of_inputs.item() == pytest.approx(1 / 2, abs=1e-12)  # h(0) / (h(0) x)


def test_the_sum_of_time_gradients_is_the_same_on_both_sides_of_a_layer():
    # random spikes (rate 0.2) and weights, T = 12, theta = 4
    generator = torch.Generator().manual_seed(3)
    s = (torch.rand(12, 6, 50, generator=generator) < 0.2).double().requires_grad_()
    W = drawn(20, 50, seed=4)
    current = (s.detach() @ W.T).requires_grad_()
    link_seq = torch.zeros_like(current, requires_grad=True)
    out = timed(current, link_seq, v_threshold=4.0, **TAUS)
    g = drawn(*out.shape, seed=5)
    (of_inputs,) = torch.autograd.grad(out, link_seq, g)
    before, after = ((of_inputs @ W) * s).sum(), (g * out).sum()
    assert out.sum() > 20
    assert before.item() == pytest.approx(after.item(), abs=1e-9)


def test_the_gradient_of_weights_is_that_of_the_spike_time():
    # Time refined 400 times, 20 inputs of one spike each, against dw = +- 0.05.
    fine = 400
    T, taus = 12 * fine, {"tau_m": 7.0 * fine, "tau_s": 4.0 * fine, "tau_grad": 3.5 * fine}
    generator = torch.Generator().manual_seed(0)
    times = torch.randint(0, 8 * fine, (20,), generator=generator)
    x = torch.zeros(T, 20, dtype=torch.float64)
    x[times, torch.arange(20)] = 1.0
    w = torch.rand(20, generator=generator, dtype=torch.float64) + 0.2

    def first(w):  # up to the first spike both traces are linear filters
        keeps = [1 - 1 / taus[name] for name in ("tau_m", "tau_s")]
        a, b = (lfilter([keep], [1, -keep], (x @ w).numpy()) for keep in keeps)
        return int((7 / (7 - 4) * (a - b) >= 2.0).argmax())

    at = first(w)
    current = (x @ w)[:, None].requires_grad_()
    out = timed(current, v_threshold=2.0, clip=float("inf"), **taus)
    assert int(out.argmax()) == at
    g = torch.zeros_like(out)
    g[at] = -1.0  # dL/d(time) = 1
    (of_weights,) = torch.autograd.grad(out, current, g)
    analytic = (of_weights * x).sum(0)
    for i in range(20):
        dw = torch.zeros(20, dtype=torch.float64)
        dw[i] = 0.05
        measured = (first(w + dw) - first(w - dw)) / 0.1
        if times[i] > at:
            assert analytic[i] == 0
            assert measured == 0
        else:
            assert analytic[i].item() == pytest.approx(measured, rel=0.03, abs=3)
    assert (times > at).any()
    assert analytic.abs().max() > 100


def test_with_one_step_inputs_get_their_shares_of_the_current():
    w, x = drawn(7).abs(), drawn(7, seed=1).abs()
    current = (w * x).sum().view(1, 1)
    g = torch.tensor([[1.5]], dtype=torch.float64)
    out, _, of_inputs = gradients(current, g, v_threshold=0.1, **TAUS)
    assert out.item() == 1
    torch.testing.assert_close(of_inputs.item() * w * x, 1.5 * w * x / (w * x).sum())


def test_the_clip_bounds_the_gradient_of_weights_alone():
    x_seq = torch.tensor([[0.4], [0.0]], dtype=torch.float64)  # du = 0.1 at the first step
    one = torch.ones(2, 1, dtype=torch.float64)
    options = {"v_threshold": 0.05, **TAUS}
    _, clipped, of_inputs = gradients(x_seq, one, **options)
    _, free, same = gradients(x_seq, one, clip=100.0, **options)
    assert clipped[0].item() == pytest.approx(4 / 4)
    assert free[0].item() == pytest.approx(10 / 4)
    assert torch.equal(of_inputs, same)


def test_a_silent_neuron_gets_nothing():
    _, of_weights, of_inputs = gradients(drawn(6, 4), drawn(6, 4, seed=1), v_threshold=100.0)
    assert not of_weights.any()
    assert not of_inputs.any()


def test_a_supervised_spike_comes_at_the_last_rise_or_at_the_first_step():
    du_seq = torch.tensor([[0.3, 0.04, 0.0], [0.1, -0.2, 0.0], [0.05, 0.01, 0.0]])[:, None]
    out = forced(torch.zeros(3, 1, 3), du_seq)[:, 0]
    assert out[:, 0].tolist() == [0, 1, 0]  # 0.05 is not more than 0.05
    assert out[:, 1].tolist() == [1, 0, 0]
    assert out[:, 2].tolist() == [0, 0, 0]  # the potential does not move


def test_supervised_neurons_equal_the_definition_and_others_stay():
    T, N, K, theta = 9, 7, 3, torch.tensor([0.5, 0.9, 3.0], dtype=torch.float64)
    x_seq, g_seq = drawn(T, N, K) + 0.4, drawn(T, N, K, seed=1)
    y = torch.arange(N) % K
    plain, *others = gradients(x_seq, g_seq, v_threshold=theta, **TAUS)
    x_seq.requires_grad_()
    link_seq = torch.zeros_like(x_seq, requires_grad=True)
    options = {"v_threshold": theta, **TAUS}
    out = supervised(timed(x_seq, link_seq, **options), x_seq, link_seq, y, **options)
    of_weights, of_inputs = torch.autograd.grad(out, (x_seq, link_seq), g_seq)
    more = 0
    for n in range(N):
        for k in range(K):
            if k != y[n]:
                same = (out, of_weights, of_inputs), (plain, *others)
                assert all(torch.equal(a[:, n, k], b[:, n, k]) for a, b in zip(*same, strict=True))
                continue
            current = x_seq[:, n, k].tolist()
            s, du, q = spikes_of(current, theta[k], **TAUS)
            at = max([t for t in range(T) if du[t] > 0.05], default=0)
            more += not s[at]
            s[at] = 1.0  # du and q are those without it: it resets nothing
            assert s == out[:, n, k].tolist()
            G = (-g_seq[:, n, k] * out[:, n, k].detach()).tolist()
            Gw, Gi = layer_backward(current, s, du, q, G, **TAUS)
            torch.testing.assert_close(of_weights[:, n, k], Gw, atol=1e-12, rtol=1e-10)
            torch.testing.assert_close(of_inputs[:, n, k], -Gi, atol=1e-12, rtol=1e-10)
    assert more > 3


def test_early_scores_break_ties_and_nothing_else():
    T = 5
    s = torch.eye(T)[:, None, :]  # class c fires once, at step c
    score = early(s).sum(0)[0]
    torch.testing.assert_close(score, 1.1 - torch.arange(T) / (10 * T))
    assert (score.diff() < 0).all()
    twice = torch.zeros(T, 1, 2)
    twice[0, 0, 0] = twice[3, 0, 1] = twice[4, 0, 1] = 1
    assert early(twice).sum(0).argmax() == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"tau_grad": 0.5}, "tau_grad > 1"),
        ({"tau_grad": 1.0}, "tau_grad > 1"),
        ({"clip": 0.0}, "clip > 0"),
        ({"tau_s": 9.0}, "tau_m > tau_s"),
        ({"link_seq": torch.zeros(3, 2, 5)}, "link_seq has shape"),
    ],
)
def test_what_does_not_fit_is_refused(options, said):
    with pytest.raises(ValueError, match=said):
        timed(torch.zeros(3, 2, 4), **options)
