import pytest
import torch
from torch import nn

from spikeloom.layers import FirstGrades, Grades


def network() -> Grades:
    widths = ((2, 5), (5, 4), (4, 6))
    return Grades(
        [nn.Sequential(nn.Linear(n, out), nn.ReLU()) for n, out in widths],
        [nn.Linear(out, 3) for _, out in widths],
    )


def test_the_output_is_the_sum_of_the_heads_of_nested_features():
    net, x_seq = network(), torch.randn(1, 7, 2)
    h, want = x_seq, 0
    for features, head in zip(net.features, net.heads, strict=True):
        h = features(h)
        want = want + head(h)
    torch.testing.assert_close(net(x_seq), want)
    torch.testing.assert_close(FirstGrades(net, 3)(x_seq), want)


def test_closed_grades_do_not_answer():
    net, x_seq = network(), torch.randn(1, 7, 2)
    whole = net.running(x_seq)
    net.open(1)
    assert net.gain.tolist() == [1, 1, 0]
    torch.testing.assert_close(net(x_seq), whole[1])
    net.open(0)
    torch.testing.assert_close(net(x_seq), whole[0])


def test_below_is_what_a_grade_sees_and_what_those_before_it_say():
    net, x_seq = network(), torch.randn(1, 7, 2)
    h_seq, before = net.below(x_seq, 2)
    torch.testing.assert_close(before, net.running(x_seq)[1][0])
    torch.testing.assert_close(before + net.answer(h_seq, 2)[0], net(x_seq)[0])
    assert not h_seq.requires_grad
    same, nothing = net.below(x_seq, 0)
    assert same is x_seq
    assert nothing == 0


def test_checkpoints_know_which_grades_are_open():
    net, other = network(), network()
    net.open(0)
    other.load_state_dict(net.state_dict())
    x_seq = torch.randn(1, 7, 2)
    torch.testing.assert_close(other(x_seq), net.running(x_seq)[0])


def test_a_grade_is_a_stack_and_a_head():
    with pytest.raises(ValueError, match="got 2 stacks and 1 heads"):
        Grades([nn.Identity(), nn.Identity()], [nn.Identity()])
