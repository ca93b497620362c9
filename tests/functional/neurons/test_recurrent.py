"""Recurrent LIF: by hand, against LIF, and the contract of every neuron."""

import pytest
import torch

from spikeloom.functional import (
    NO_DECAY,
    Sigmoid,
    Smooth,
    factor,
    lif,
    recurrent_lif,
    recurrent_lif_step,
    recurrent_lif_trace,
)

RESETS = ("hard", "soft", "none")


def draw(*shape, seed=0, dtype=torch.float64):
    return 2 * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def same(ours, theirs):
    return all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_a_spike_is_heard_one_step_later_by_the_row_that_has_its_weight():
    weight = torch.tensor([[0.0, 0.0], [0.75, 0.0]])  # neuron 1 hears neuron 0
    x_seq = torch.tensor([[[1.0, 0.5]], [[0.0, 0.0]], [[0.0, 0.0]]])
    trace = recurrent_lif_trace(x_seq, weight=weight, decay=NO_DECAY)
    assert trace.spike_seq[:, 0].tolist() == [[1, 0], [0, 1], [0, 0]]
    assert trace.h_seq[:, 0].tolist() == [[1, 0.5], [0, 1.25], [0, 0]]


@pytest.mark.parametrize("reset", RESETS)
def test_without_weights_it_is_lif(reset):
    x_seq = draw(5, 3, 4)
    out, (v, spike) = recurrent_lif(x_seq, weight=torch.zeros(4, 4).double(), reset=reset)
    assert same((out, v), lif(x_seq, reset=reset))
    assert torch.equal(spike, out[-1])


@pytest.mark.parametrize("reset", RESETS)
def test_two_chunks_with_carried_state_equal_the_whole(reset):
    x_seq, weight = draw(9, 2, 3), draw(3, 3, seed=1)
    whole, end = recurrent_lif(x_seq, weight=weight, reset=reset)
    first, middle = recurrent_lif(x_seq[:4], weight=weight, reset=reset)
    second, last = recurrent_lif(x_seq[4:], middle, weight=weight, reset=reset)
    assert torch.equal(torch.cat((first, second)), whole)
    assert same(last, end)


def test_channels_meet_at_their_own_place():
    x_seq, weight = draw(5, 2, 3, 2, 2), draw(3, 3, seed=1)
    whole, state = recurrent_lif(x_seq, weight=weight)
    alone, end = recurrent_lif(x_seq[..., 1, 0], weight=weight)
    assert torch.equal(whole[..., 1, 0], alone)
    assert same([part[..., 1, 0] for part in state], end)


def test_trace_and_step_agree_with_the_plain_call():
    x_seq, weight = draw(5, 2, 3), draw(3, 3, seed=1)
    out, state = recurrent_lif(x_seq, weight=weight)
    trace = recurrent_lif_trace(x_seq, weight=weight)
    assert same((trace.spike_seq, trace.v_seq[-1], trace.spike_seq[-1]), (out, *state))
    _, before = recurrent_lif(x_seq[:4], weight=weight)
    h, after = recurrent_lif_step(x_seq[4], before, weight=weight)
    assert torch.equal(h, trace.h_seq[4])
    assert same(after, state)


@pytest.mark.parametrize("reset", RESETS)
def test_smooth_gradients_agree_with_finite_differences(reset):
    x_seq, weight = draw(3, 2, 3), draw(3, 3, seed=1)
    v, spike, keep = draw(2, 3, seed=2), draw(2, 3, seed=3), torch.full((3,), 0.6).double()
    leaves = [leaf.requires_grad_() for leaf in (x_seq, weight, v, spike, keep)]

    def run(x_seq, weight, v, spike, keep):
        out, after = recurrent_lif(
            x_seq, (v, spike), weight=weight, decay=factor(keep, decay_input=True), reset=reset,
            surrogate=Smooth(Sigmoid()),
        )  # fmt: skip
        return out, *after

    assert torch.autograd.gradcheck(run, leaves)


@pytest.mark.parametrize("shape", [(3, 4), (4, 3), (3,)])
def test_a_weight_of_another_size_is_refused(shape):
    with pytest.raises(ValueError, match=r"recurrent weight has shape .* expected \(3, 3\)"):
        recurrent_lif(torch.zeros(2, 2, 3), weight=torch.zeros(shape))


def test_a_missing_axis_and_a_foreign_state_are_told():
    with pytest.raises(ValueError, match="time-first sequence"):
        recurrent_lif(torch.zeros(2, 3), weight=torch.zeros(3, 3))
    state = torch.zeros(5, 3), torch.zeros(5, 3)
    with pytest.raises(ValueError, match="carried state has shape"):
        recurrent_lif(torch.zeros(2, 2, 3), state, weight=torch.zeros(3, 3))
