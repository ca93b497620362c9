"""Current-based LIF against numbers worked out by hand (dyadic, hence exact)."""

import pytest
import torch

from spikeloom.functional import cuba_lif, cuba_lif_trace, euler, factor, lif

HALF = factor(0.5)


def column(numbers):
    return torch.tensor(numbers)[:, None]


# threshold 1; rows: synapse, membrane, reset, input, current, before reset, after reset
# Both keeps 1/2, gains 1:  i <- i/2 + x = 1, 0.5, 1.25, 0.625;  h = v/2 + i
#   hard: 1 fires; 0.5; 0.25 + 1.25 fires; 0.625      (a spike leaves the current alone)
#   soft: 1 leaves 0; 0.5; 1.5 leaves 0.5; 0.25 + 0.625
#   none: 1; 0.5 + 0.5; 0.5 + 1.25; 0.875 + 0.625: always at or above 1
# Both gains 1/2:  i = i/2 + x/2 = 2, 1, 1.5, 0.75;  h = v/2 + i/2
#   hard: 1 fires; 0.5; 0.25 + 0.75 = 1 fires; 0.375
#   soft: the same, each spike is exactly at the threshold
#   none: 1; 0.5 + 0.5; 0.5 + 0.75; 0.625 + 0.375: always at or above 1
TRACES = [
    (
        HALF, HALF, "hard", [1.0, 0, 1, 0], [1, 0.5, 1.25, 0.625],
        [1, 0.5, 1.5, 0.625], [0, 0.5, 0, 0.625],
    ),
    (
        HALF, HALF, "soft", [1.0, 0, 1, 0], [1, 0.5, 1.25, 0.625],
        [1, 0.5, 1.5, 0.875], [0, 0.5, 0.5, 0.875],
    ),
    (
        HALF, HALF, "none", [1.0, 0, 1, 0], [1, 0.5, 1.25, 0.625],
        [1, 1, 1.75, 1.5], [1, 1, 1.75, 1.5],
    ),
    (
        euler(2.0), euler(2.0), "hard", [4.0, 0, 2, 0], [2, 1, 1.5, 0.75],
        [1, 0.5, 1, 0.375], [0, 0.5, 0, 0.375],
    ),
    (
        euler(2.0), euler(2.0), "soft", [4.0, 0, 2, 0], [2, 1, 1.5, 0.75],
        [1, 0.5, 1, 0.375], [0, 0.5, 0, 0.375],
    ),
    (
        euler(2.0), euler(2.0), "none", [4.0, 0, 2, 0], [2, 1, 1.5, 0.75],
        [1, 1, 1.25, 1], [1, 1, 1.25, 1],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("synapse", "decay", "reset", "x", "i", "h", "v"), TRACES)
def test_trace_by_hand(synapse, decay, reset, x, i, h, v):
    trace = cuba_lif_trace(column(x), synapse=synapse, decay=decay, reset=reset)
    assert trace.i_seq.flatten().tolist() == i
    assert trace.h_seq.flatten().tolist() == h
    assert trace.v_seq.flatten().tolist() == v
    assert trace.spike_seq.flatten().tolist() == [float(potential >= 1) for potential in h]


def test_exactly_at_the_threshold_only_strict_is_silent():
    x_seq = column([1.0])  # i = 1, h = 1
    assert cuba_lif(x_seq, synapse=HALF, decay=HALF)[0].item() == 1
    assert cuba_lif(x_seq, synapse=HALF, decay=HALF, strict=True)[0].item() == 0


@pytest.mark.parametrize("reset", ["hard", "soft", "none"])
def test_a_synapse_that_keeps_nothing_is_lif(reset):
    x_seq = 2 * torch.randn(8, 3, 4)
    spikes, state = cuba_lif(x_seq, synapse=factor(0.0), reset=reset)
    want, v = lif(x_seq, reset=reset)
    assert torch.equal(spikes, want)
    assert torch.equal(state.v, v)


def test_only_the_potential_rests_at_v_reset():
    _, state = cuba_lif(torch.zeros(3, 1), v_reset=-0.5)
    assert (state.i.item(), state.v.item()) == (0, -0.5)
