"""LIF that notes its rate and gain: the identities that define them, in float64."""

import pytest
import torch

from spikeloom.functional import (
    Arctan,
    Decay,
    RateState,
    Sigmoid,
    Smooth,
    Triangle,
    euler,
    factor,
    lif,
    lif_rate,
    lif_rate_step,
)

RESETS = [(reset, detach) for reset in ("soft", "hard", "none") for detach in (True, False)]
OPTIONS = [
    {"decay": factor(0.2)},
    {"decay": euler(3.0), "v_threshold": 0.7, "surrogate": Arctan()},
    {"decay": Decay(torch.tensor([0.3, 0.9, 1.0]).double()), "surrogate": Triangle(0.7)},
    {"decay": factor(0.5, decay_input=True), "v_threshold": 1.3, "strict": True},
    {"decay": Decay(1.0), "v_threshold": torch.tensor([0.5, 1.0, 2.0]).double()},
]


def inputs(T: int, *shape: int) -> torch.Tensor:
    return 1.2 * torch.randn(T, *shape, dtype=torch.float64) + 0.5


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize(("reset", "detach"), RESETS)
def test_the_gain_is_the_derivative_of_the_rate(reset, detach, options):
    """Item 1: through the unrolled simulation, for constant and for arbitrary inputs."""
    options = {"surrogate": Sigmoid(4.0), "reset": reset, "detach_reset": detach} | options
    if reset == "hard":
        options["v_reset"] = -0.25
    c = inputs(1, 8, 3)[0].requires_grad_()
    rate = lif(c.expand(7, *c.shape), **options)[0].mean(0)
    _, state = lif_rate(c.expand(7, *c.shape), **options)
    assert torch.equal(state.rate, rate.detach())
    (slope,) = torch.autograd.grad(rate.sum(), c)
    torch.testing.assert_close(state.gain, slope, rtol=1e-12, atol=1e-14)
    x_seq = inputs(7, 8, 3).requires_grad_()
    (slopes,) = torch.autograd.grad(lif(x_seq, **options)[0].mean(0).sum(), x_seq)
    _, state = lif_rate(x_seq, **options)
    torch.testing.assert_close(state.gain, slopes.sum(0), rtol=1e-12, atol=1e-14)


def test_the_gain_is_that_of_the_smooth_curve_by_finite_differences():
    c, width = inputs(1, 50)[0], 1e-6
    options = {"decay": factor(0.4), "reset": "soft", "surrogate": Smooth(Sigmoid(4.0))}

    def rate(c):
        return lif_rate(c.expand(6, 50), **options)[1].rate

    _, state = lif_rate(c.expand(6, 50), **options)
    torch.testing.assert_close(
        state.gain, (rate(c + width) - rate(c - width)) / (2 * width), rtol=1e-6, atol=1e-7
    )


def test_with_detached_soft_reset_the_trace_is_a_number():
    """Item 6: rho = 1, 1.2, 1.24, 1.248, ... = (1 - 0.2^t) / 0.8."""
    zeros = torch.zeros(1, 4, dtype=torch.float64)
    state, found = RateState(zeros, zeros, zeros, zeros, 0), []
    for x in inputs(5, 1, 4):
        options = {"reset": "soft", "detach_reset": True}
        _, state = lif_rate_step(x, state, decay=factor(0.2), **options)
        found.append(state.p)
    want = torch.tensor([(1 - 0.2**t) / 0.8 for t in range(1, 6)], dtype=torch.float64)
    torch.testing.assert_close(torch.stack(found), want.view(5, 1, 1).expand(5, 1, 4))
    torch.testing.assert_close(want[:4], torch.tensor([1, 1.2, 1.24, 1.248]).double())


def test_without_memory_the_gain_is_the_mean_slope():
    """Item 6: lambda = 0 gives rho = 1."""
    x_seq, surrogate = inputs(6, 2, 9), Sigmoid(4.0)
    _, state = lif_rate(x_seq, decay=factor(0.0), reset="soft", surrogate=surrogate)
    torch.testing.assert_close(state.gain, surrogate.grad(x_seq - 1.0).mean(0))


def test_a_decayed_input_counts_by_its_gain():
    x_seq = inputs(1, 2, 9)
    surrogate = Sigmoid(4.0)
    _, state = lif_rate(x_seq, decay=euler(4.0), surrogate=surrogate)
    torch.testing.assert_close(state.gain, 0.25 * surrogate.grad(x_seq[0] / 4 - 1.0))


@pytest.mark.parametrize(("reset", "detach"), RESETS)
def test_step_by_step_gives_what_the_sequence_gives(reset, detach):
    x_seq, state = inputs(6, 2, 9), None
    spikes, whole = lif_rate(x_seq, reset=reset, detach_reset=detach)
    assert torch.equal(spikes, lif(x_seq, reset=reset)[0])
    pieces = []
    for x in x_seq:
        out, state = lif_rate(x[None], state, reset=reset, detach_reset=detach)
        pieces.append(out)
    assert torch.equal(torch.cat(pieces), spikes)
    assert all(map(torch.equal, state[:4], whole[:4]))
    assert state.steps == whole.steps == 6


def test_sums_are_float32_for_half_precision_and_nothing_has_a_gradient():
    x_seq = inputs(5, 2, 9).bfloat16().requires_grad_()
    spikes, state = lif_rate(x_seq)
    assert spikes.dtype == torch.bfloat16
    assert {part.dtype for part in state[:4]} == {torch.float32}
    assert not any(part.requires_grad for part in (spikes, *state[:4]))


def test_a_state_of_another_shape_is_refused():
    _, state = lif_rate(inputs(2, 2, 9))
    with pytest.raises(ValueError, match="the carried state has shape"):
        lif_rate(inputs(2, 2, 8), state)
