"""Graded neurons against numbers worked out by hand."""

import math

import pytest
import torch

from spikeloom.functional import factor, graded

THETA = math.tanh(0.5)
QUARTER = factor(0.25)


def column(*values):
    return torch.tensor(values, dtype=torch.float64).view(-1, 1, 1)


def test_potentials_leave_where_they_exceed_the_threshold_and_reset():
    x_seq = column(0.4, 0.4, 0.4, 0.1, -1.0, 0.8)
    g_seq, v = graded(x_seq, decay=QUARTER, v_threshold=THETA)
    # h: 0.4, 0.5 (leaves), 0.4 from rest, 0.2, -0.95, 0.5625 (leaves)
    torch.testing.assert_close(g_seq, column(0, 0.5, 0, 0, 0, 0.5625))
    assert v.item() == 0


def test_at_the_threshold_nothing_leaves():
    assert graded(column(0.5), decay=QUARTER, v_threshold=0.5)[0].item() == 0


def test_the_gradient_passes_from_a_margin_below_the_threshold_on():
    x_seq = column(-0.2, -0.03, 0.4, 0.6, 3.0).requires_grad_()
    # One step each: the axes are swapped, so that nothing depends on what came before.
    graded(x_seq.transpose(0, 1), decay=QUARTER, v_threshold=THETA)[0].sum().backward()
    assert x_seq.grad.flatten().tolist() == [0, 1, 1, 1, 1]


def test_the_gradient_over_time_by_hand():
    x_seq, up = column(0.4, 0.4, -0.8, 0.5).requires_grad_(), column(1.0, 2.0, 4.0, 8.0)
    (graded(x_seq, decay=QUARTER, v_threshold=THETA)[0] * up).sum().backward()
    # h: 0.4, 0.5 (leaves and resets), -0.8 (out of reach), 0.3. From the last step back:
    # 8; 0 + 8/4; 2 alone, as the reset cuts and its gate has no gradient; 1 + 2/4.
    assert x_seq.grad.flatten().tolist() == [1.5, 2.0, 2.0, 8.0]


def test_nothing_reaches_the_threshold():
    theta = torch.tensor(THETA, dtype=torch.float64, requires_grad=True)
    x_seq = column(0.4, 0.4, 0.4).requires_grad_()
    graded(x_seq, decay=QUARTER, v_threshold=theta)[0].sum().backward()
    assert theta.grad is None
    assert x_seq.grad.any()


def test_a_negative_threshold_resets_at_every_step():
    x_seq = column(-0.5, 0.3, -0.05)
    g_seq, v = graded(x_seq, decay=QUARTER, v_threshold=-0.1)
    assert g_seq.flatten().tolist() == [0, 0.3, -0.05]
    assert v.item() == 0


def test_pieces_carry_the_state_and_half_precision_comes_back():
    x_seq = torch.rand(7, 3, 4)
    whole, last = graded(x_seq, decay=QUARTER, v_threshold=THETA)
    first, v = graded(x_seq[:3], decay=QUARTER, v_threshold=THETA)
    second, v = graded(x_seq[3:], v, decay=QUARTER, v_threshold=THETA)
    assert torch.equal(torch.cat([first, second]), whole)
    assert torch.equal(v, last)
    assert graded(x_seq.bfloat16())[0].dtype == torch.bfloat16


def test_what_is_no_sequence_is_refused():
    with pytest.raises(ValueError, match="time-first"):
        graded(torch.rand(3))
    with pytest.raises(ValueError, match="does not broadcast"):
        graded(torch.rand(2, 3, 4), v_threshold=torch.ones(5))
