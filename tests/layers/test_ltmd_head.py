"""The head of LTMD: its equations, its switches, its two passes."""

import math

import pytest
import torch
from torch import nn

from spikeloom.functional import factor, graded
from spikeloom.layers import Graded, Lateral, LTMDHead, ModerateDropout, carry
from spikeloom.layers.carry import whole_only

T, N, F, K = 3, 4, 6, 5


def features():
    return torch.rand(T, N, F, dtype=torch.float64)


def made(**arguments):
    torch.manual_seed(0)
    head = LTMDHead(F, num_classes=K, **{"hidden": 7} | arguments).double()
    with torch.no_grad():
        for layer in head.modules():
            if isinstance(layer, nn.Linear):
                layer.weight.mul_(6)  # at the start hardly anything leaves
    return head


def fire(c_seq):
    return graded(c_seq, decay=factor(0.25), v_threshold=math.tanh(0.5))[0]


def lateral(c, kernel):
    """c[f] + sum_j kernel[j] c[f + j - 2], zeros beyond the ends."""
    padded = nn.functional.pad(c, (2, 2))
    length = c.shape[-1]
    return c + sum(kernel[j] * padded[..., j : j + length] for j in range(5))


def test_evaluation_follows_the_equations():
    head, x_seq = made().eval(), features()
    with torch.no_grad():
        for p in head.parameters():
            p.copy_(torch.where(p == 0.5, p, torch.randn_like(p)))
    V, a, q1, w1, W, b, q2, w2 = head.parameters()
    assert w1 == w2 == 0.5
    g = fire(lateral(x_seq @ V.T + a, q1.flatten()))
    want = fire(lateral(g @ W.T + b, q2.flatten()))
    torch.testing.assert_close(head(x_seq), want)
    assert want.any()


def test_the_answer_in_evaluation_does_not_know_the_rate_or_the_passes():
    x_seq = features()
    answers = [
        made(p=p, two_passes=twice).eval()(x_seq)
        for p in (0.0, 0.2, 0.9)
        for twice in (True, False)
    ]
    assert all(torch.equal(answer, answers[0]) for answer in answers)
    assert answers[0].shape == (T, N, K)
    assert answers[0].any()


def test_two_passes_answer_all_samples_twice_with_masks_of_their_own():
    x_seq = features()
    head = made(p=0.4, hidden=200)
    first, second = head(x_seq).chunk(2, dim=1)
    assert first.shape == second.shape == (T, N, K)
    assert not torch.equal(first, second)
    without = made(p=0.0, hidden=200)
    first, second = without(x_seq).chunk(2, dim=1)
    torch.testing.assert_close(first, second)
    torch.testing.assert_close(first, without.eval()(x_seq))


def test_every_part_can_be_left_out():
    def kinds(head):
        return [type(m) for m in head.modules() if isinstance(m, Lateral)]

    assert len(kinds(made())) == 2
    assert not kinds(made(lateral=0))
    assert made(two_passes=False)(features()).shape == (T, N, K)
    (drop,) = (m for m in made(p=0.3).modules() if isinstance(m, ModerateDropout))
    assert drop.p == 0.3
    assert torch.equal(made(p=0.0, two_passes=False)(features()), made().eval()(features()))


@pytest.mark.parametrize(
    ("arguments", "count"),
    [({}, 2 * 5), ({"lateral": 0}, 0), ({"lateral": 3}, 2 * 3)],
)
def test_the_parameters_are_those_of_the_layers_and_two_thresholds(arguments, count):
    found = sum(p.numel() for p in made(**arguments).parameters())
    assert found == F * 7 + 7 + 7 * K + K + count + 2


def test_its_thresholds_ask_for_no_gradient_and_stay():
    head = made()
    optimizer = torch.optim.SGD(head.parameters(), lr=0.5, weight_decay=0.5)
    before = {name: p.clone() for name, p in head.named_parameters()}
    for _ in range(3):
        head(features()).sum().backward()
        optimizer.step()
    for name, p in head.named_parameters():
        assert torch.equal(p, before[name]) == name.endswith("raw"), name
        assert p.requires_grad != name.endswith("raw"), name


def test_in_evaluation_it_may_take_a_sequence_in_pieces():
    head, x_seq = made().eval(), features()
    assert whole_only(head) is None
    first, states = carry(head, x_seq[:1])
    second, _ = carry(head, x_seq[1:], states)
    assert torch.equal(torch.cat([first, second]), head(x_seq))
    assert whole_only(made())
    assert not whole_only(made(p=0.0))


def test_graded_layers_start_at_rest_and_scan():
    layer, x_seq = Graded(), torch.rand(5, 2, 3)
    assert torch.equal(layer(x_seq), layer(x_seq))
    first, v = layer.scan(x_seq[:2])
    assert torch.equal(torch.cat([first, layer.scan(x_seq[2:], v)[0]]), layer(x_seq))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: made(lateral=4), "must be odd"),
        (lambda: made(lateral=-1), "lateral >= 0"),
        (lambda: made(hidden=0), "hidden >= 1"),
        (lambda: made(hidden=-3), "hidden >= 1"),
        (lambda: made(p=1.0), "p must be in"),
        (lambda: made()(torch.rand(T, N, F + 1)), r"\[T, N, 6\], got \(3, 4, 7\)"),
        (lambda: made()(torch.rand(T, N, F, 1)), "pool and flatten"),
        (lambda: Lateral()(torch.rand(T, N, F, 1)), "flatten first"),
    ],
)
def test_what_cannot_be_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
