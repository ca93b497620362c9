"""Ternary neurons against their definitions, their limits and numbers worked out by hand."""

import math

import pytest
import torch

from spikeloom.functional import (
    Rectangle,
    Triangle,
    factor,
    lif,
    ternary_lif,
    ternary_lif_trace,
    ternary_spike,
    ternary_spike_trace,
)

QUARTER = factor(0.25)
PUBLISHED = {"decay": QUARTER, "v_threshold": 0.5, "surrogate": Rectangle(), "detach_reset": True}


def test_without_memory_levels_are_rounded_potentials():
    u = 3 * torch.randn(1, 100, 50)
    spikes, _ = ternary_lif(u, decay=factor(0.0), v_threshold=0.5, gap=1.0)
    assert torch.equal(spikes, (u + 0.5).floor().clamp(0, 2))


@pytest.mark.parametrize("reset", ["hard", "none"])
@pytest.mark.parametrize("gap", [1e9, math.inf])
def test_a_far_second_threshold_leaves_binary_neurons_to_the_bit(reset, gap):
    x = 2 * torch.randn(6, 40, 30)
    runs = []
    for neuron, options in ((lif, {}), (ternary_lif, {"gap": gap})):
        x_seq = x.clone().requires_grad_()
        spikes, v = neuron(x_seq, reset=reset, **PUBLISHED, **options)
        (spikes * x).sum().backward()
        runs.append((spikes, v, x_seq.grad))
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(*runs, strict=True))


# x = 0.25, 1, 1.5, 0.25 with keep 1/4, threshold 0.5, gap 1
#   hard: 0.25; 0.0625 + 1 is level 1; 1.5 is level 2; 0.25
#   soft: 0.25; 1.0625 leaves 0.0625; 0.015625 + 1.5 is level 2, leaves -0.484375; 0.12890625
#   none: 0.25; 1.0625; 0.265625 + 1.5 is level 2; 0.44140625 + 0.25 is level 1
TRACES = [
    ("hard", [0, 1, 2, 0], [0.25, 1.0625, 1.5, 0.25], [0.25, 0, 0, 0.25]),
    (
        "soft", [0, 1, 2, 0],
        [0.25, 1.0625, 1.515625, 0.12890625], [0.25, 0.0625, -0.484375, 0.12890625],
    ),
    (
        "none", [0, 1, 2, 1],
        [0.25, 1.0625, 1.765625, 0.69140625], [0.25, 1.0625, 1.765625, 0.69140625],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("reset", "spikes", "h", "v"), TRACES)
def test_levels_and_potentials_by_hand(reset, spikes, h, v):
    x_seq = torch.tensor([0.25, 1.0, 1.5, 0.25])[:, None]
    trace = ternary_lif_trace(x_seq, reset=reset, **PUBLISHED)
    assert [part.flatten().tolist() for part in trace] == [spikes, h, v]


def test_the_surrogate_is_one_inside_its_window_and_zero_outside():
    x_seq = torch.linspace(-0.995, 2.995, 400)[None].requires_grad_()
    ternary_lif(x_seq, **PUBLISHED)[0].sum().backward()
    inside = (x_seq > 0) & (x_seq < 2)
    assert torch.equal(x_seq.grad, inside.float())

    x_seq = x_seq.detach().requires_grad_()
    lif(x_seq, **PUBLISHED)[0].sum().backward()
    assert torch.equal(x_seq.grad, ((x_seq > 0) & (x_seq < 1)).float())


def test_signed_spikes_have_the_surrogate_of_the_paper():
    x_seq = torch.linspace(-1.995, 1.995, 400)[None].requires_grad_()
    ternary_spike(x_seq, **PUBLISHED)[0].sum().backward()
    assert torch.equal(x_seq.grad, (x_seq.abs() < 1).float())


def test_signed_neurons_by_hand():
    # keep 1/4: -1 fires; 0 + 0.25; 0.0625 + 0.75 fires
    x_seq = torch.tensor([-1.0, 0.25, 0.75])[:, None]
    trace = ternary_spike_trace(x_seq, amplitude=2.0, **PUBLISHED)
    assert trace.spike_seq.flatten().tolist() == [-2, 0, 2]
    assert trace.h_seq.flatten().tolist() == [-1, 0.25, 0.8125]
    assert trace.v_seq.flatten().tolist() == [0, 0.25, 0]
    soft = ternary_spike_trace(x_seq, reset="soft", **PUBLISHED)
    assert soft.v_seq.flatten().tolist() == [-0.5, 0.125, 0.28125]


def test_negating_the_input_negates_signed_spikes():
    x_seq = torch.randn(5, 20, 10)
    ours, v = ternary_spike(x_seq)
    theirs, w = ternary_spike(-x_seq)
    assert torch.equal(ours, -theirs)
    assert torch.equal(v, -w)


def test_an_amplitude_is_a_factor_of_what_comes_out():
    x_seq, amplitude = torch.randn(5, 20, 10), torch.tensor(1.5, requires_grad=True)
    spikes, _ = ternary_spike(x_seq, amplitude=amplitude)
    plain, _ = ternary_spike(x_seq)
    assert torch.equal(spikes, 1.5 * plain)
    spikes.sum().backward()
    assert amplitude.grad == plain.sum()


def test_the_reset_gradient_of_a_level_by_hand():
    # h[1] = 1.75 is level 2, with slopes 0 and 0.75 of the triangle; h[2] = 0.5, slopes 1 and 0
    #   hard, keep 1/2: dv/dh = (1 - 1) - 1.75 * 0;  0.75 + 0
    #   soft:           v = 1.75 - 2, h[2] = -0.125 + 0.625 = 0.5;  dv/dh = 1 - 0.75
    #                   0.75 + 0.5 * 0.25 * 1
    for reset, second, want in (("hard", 0.5, 0.75), ("soft", 0.625, 0.875)):
        x_seq = torch.tensor([1.75, second])[:, None].requires_grad_()
        spikes, _ = ternary_lif(
            x_seq, decay=factor(0.5), v_threshold=0.5, reset=reset, surrogate=Triangle()
        )
        spikes.sum().backward()
        assert x_seq.grad.flatten().tolist() == [want, 1.0]


def test_a_soft_reset_by_an_infinite_gap_is_refused():
    with pytest.raises(ValueError, match="finite"):
        ternary_lif(torch.ones(1, 2, 3), gap=math.inf, reset="soft")


@pytest.mark.parametrize("neuron", [ternary_lif, ternary_spike])
def test_an_unknown_reset_is_refused(neuron):
    with pytest.raises(ValueError, match="reset must be"):
        neuron(torch.ones(1, 2, 3), reset="half")
