"""The readout against numbers worked out by hand."""

import pytest
import torch

from spikeloom.functional import NO_DECAY, euler, factor, li

X = torch.tensor([2.0, 0.0, -4.0, 8.0])[:, None]


@pytest.mark.parametrize(
    ("decay", "v"),
    [
        # keep 1/2, gain 1/2:  1; 0.5; 0.25 - 2; -0.875 + 4
        (euler(2.0), [1, 0.5, -1.75, 3.125]),
        # keep 1/2, gain 1:  2; 1; 0.5 - 4; -1.75 + 8
        (euler(2.0, decay_input=False), [2, 1, -3.5, 6.25]),
        # keep 1/4, gain 1:  2; 0.5; 0.125 - 4; -0.96875 + 8
        (factor(0.25), [2, 0.5, -3.875, 7.03125]),
        # keep 1, gain 1: the running sum
        (NO_DECAY, [2, 2, -2, 6]),
    ],
)
def test_trace_by_hand(decay, v):
    v_seq, last = li(X, decay=decay)
    assert v_seq.flatten().tolist() == v
    assert last.item() == v[-1]


def test_carried_potential_is_the_start():
    v_seq, _ = li(torch.zeros(2, 1), torch.tensor([4.0]))
    assert v_seq.flatten().tolist() == [2, 1]
