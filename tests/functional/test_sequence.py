"""Sequences come apart and together without losing values, gradients or layout."""

import pytest
import torch

from spikeloom.functional import check_sequence, sequence, steps


def channels_last(T, N):
    images = torch.randn(T * N, 3, 4, 5).to(memory_format=torch.channels_last)
    return images.view(T, N, 3, 4, 5)


@pytest.mark.parametrize("shape", [(1, 2), (3, 2), (3, 2, 5), (3, 1, 2, 2), (3, 0, 4)])
def test_steps_and_sequence_are_inverse(shape):
    x_seq = torch.randn(shape)
    parts = steps(x_seq)
    assert len(parts) == shape[0]
    assert torch.equal(sequence(list(parts)), x_seq)


def test_steps_are_views():
    x_seq = torch.randn(3, 2, 4)
    assert [x.data_ptr() for x in steps(x_seq)] == [x.data_ptr() for x in x_seq]


def test_a_repeated_step_is_not_copied():
    x = torch.randn(2, 4)
    assert all(part.data_ptr() == x.data_ptr() for part in steps(x.expand(3, 2, 4)))


def test_gradients_reach_each_step():
    x_seq = torch.randn(3, 2, requires_grad=True)
    sum((t + 1) * x.sum() for t, x in enumerate(steps(x_seq))).backward()
    assert x_seq.grad.tolist() == [[1, 1], [2, 2], [3, 3]]


def test_gradients_of_a_repeated_step_add_up():
    x = torch.randn(2, requires_grad=True)
    sum((t + 1) * part.sum() for t, part in enumerate(steps(x.expand(3, 2)))).backward()
    assert x.grad.tolist() == [6, 6]


def test_layout_survives_forward_and_backward():
    x_seq = channels_last(3, 2).requires_grad_()
    parts = steps(x_seq)
    assert all(x.is_contiguous(memory_format=torch.channels_last) for x in parts)
    joined = sequence([x * 2 for x in parts])
    # Asked for directly: .grad of a leaf always takes the layout of the leaf.
    (grad,) = torch.autograd.grad(joined, x_seq, joined.detach())
    assert joined.stride() == x_seq.stride() == grad.stride()


@pytest.mark.parametrize("shape", [(), (3,), (0, 2)])
def test_a_missing_time_axis_is_told(shape):
    with pytest.raises(ValueError, match=r"time-first sequence \[T, N, \*\] with T >= 1"):
        check_sequence(torch.zeros(shape))
