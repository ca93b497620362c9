"""The gradient through hard spikes, against numbers derived by hand.

With g[t] the surrogate's slope at h[t] - threshold, L the sum of spikes, keep k, gain 1:

    dL/dh[3] = g[3]
    dL/dh[t] = g[t] + k d[t] dL/dh[t+1],    d[t] = dv[t]/dh[t]
    dL/dx[t] = dL/dh[t]

    hard   v = h (1 - s) + v_reset s     d = (1 - s) + (v_reset - h) g     detached:  1 - s
    soft   v = h - threshold s           d = 1 - threshold g               detached:  1
    none   v = h                         d = 1

The slope is the triangle, g = max(0, 1 - |h - threshold|); threshold 1, k = 1/2. All numbers are
dyadic, so equality is exact.
"""

import pytest
import torch

from spikeloom.functional import Decay, Triangle, alif, cuba_lif, factor, lif

HALF = factor(0.5)

# x = 0.5, 1, 0.5  ->  h[1] = 0.5, g 0.5, silent;  h[2] = 0.25 + 1 = 1.25, g 0.75, fires
#   hard:  h[3] = 0 + 0.5 = 0.5, g 0.5
#     free:      d = 1 - 0.5*0.5 = 0.75 and 0 - 1.25*0.75 = -0.9375
#                0.75 + 0.5*(-0.9375)*0.5 = 0.515625;  0.5 + 0.5*0.75*0.515625 = 0.693359375
#     detached:  d = 1 and 0;  0.75 + 0;  0.5 + 0.5*0.75 = 0.875
#   soft:  h[3] = 0.125 + 0.5 = 0.625, g 0.625
#     free:      d = 1 - 0.5 = 0.5 and 1 - 0.75 = 0.25
#                0.75 + 0.5*0.25*0.625 = 0.828125;  0.5 + 0.5*0.5*0.828125 = 0.70703125
#     detached:  d = 1 and 1;  0.75 + 0.5*0.625 = 1.0625;  0.5 + 0.5*1.0625 = 1.03125
#   none:  h[3] = 0.625 + 0.5 = 1.125, g 0.875
#                0.75 + 0.5*0.875 = 1.1875;  0.5 + 0.5*1.1875 = 1.09375
# hard to -0.5 with x = 1, 1.5, 1  ->  h[1] = -0.5 + 1 = 0.5, g 0.5, silent;
#   h[2] = -0.5 + 0.5*1 + 1.5 = 1.5, g 0.5, fires;  h[3] = -0.5 + 0 + 1 = 0.5, g 0.5
#     free:      d = 1 + (-0.5 - 0.5)*0.5 = 0.5 and (-0.5 - 1.5)*0.5 = -1
#                0.5 + 0.5*(-1)*0.5 = 0.25;  0.5 + 0.5*0.5*0.25 = 0.5625
#     detached:  d = 1 and 0;  0.5;  0.5 + 0.5*0.5 = 0.75
LIF_CASES = [
    ("hard", 0.0, False, [0.5, 1.0, 0.5], [0.693359375, 0.515625, 0.5]),
    ("hard", 0.0, True, [0.5, 1.0, 0.5], [0.875, 0.75, 0.5]),
    ("soft", 0.0, False, [0.5, 1.0, 0.5], [0.70703125, 0.828125, 0.625]),
    ("soft", 0.0, True, [0.5, 1.0, 0.5], [1.03125, 1.0625, 0.625]),
    ("none", 0.0, False, [0.5, 1.0, 0.5], [1.09375, 1.1875, 0.875]),
    ("none", 0.0, True, [0.5, 1.0, 0.5], [1.09375, 1.1875, 0.875]),
    ("hard", -0.5, False, [1.0, 1.5, 1.0], [0.5625, 0.25, 0.5]),
    ("hard", -0.5, True, [1.0, 1.5, 1.0], [0.75, 0.5, 0.5]),
]


def column(numbers):
    return torch.tensor(numbers)[:, None].requires_grad_()


@pytest.mark.parametrize(("reset", "v_reset", "detach", "x", "want"), LIF_CASES)
def test_lif(reset, v_reset, detach, x, want):
    x_seq = column(x)
    spikes, _ = lif(
        x_seq, decay=HALF, reset=reset, v_reset=v_reset, detach_reset=detach, surrogate=Triangle()
    )
    spikes.sum().backward()
    assert spikes.flatten().tolist() == [0, 1, 0 if reset != "none" else 1]
    assert x_seq.grad.flatten().tolist() == want


@pytest.mark.parametrize(("reset", "v_reset", "detach", "x", "want"), LIF_CASES)
def test_a_decaying_input_scales_the_gradient_by_the_gain(reset, v_reset, detach, x, want):
    # Twice the input at gain 1/2 gives the same h; dL/dx = 1/2 dL/dh.
    x_seq = column([2 * number for number in x])
    spikes, _ = lif(
        x_seq, decay=Decay(0.5, decay_input=True), reset=reset, v_reset=v_reset,
        detach_reset=detach, surrogate=Triangle(),
    )  # fmt: skip
    spikes.sum().backward()
    assert x_seq.grad.flatten().tolist() == [0.5 * number for number in want]


# Only the last step of [0.5, 1, 0.5] can carry dL/dv[3] = 1 back:  dL/dh[3] = d[3]
#   soft, free: h[3] = 0.625, g 0.625: d[3] = 0.375;  threshold also enters by -s[t] and +g[t]:
#   v[3] = h[3] - th s[3];  h[3] = 0.5 v[2] + x[3];  v[2] = h[2] - th s[2];  ...
#   dv/dth at step t, own part:  -s + th g  (s falls by g as th rises)
#     t=1: -0 + 0.5 = 0.5;   t=2: -1 + 0.75 = -0.25;   t=3: -0 + 0.625 = 0.625
#   dv[1] = 0.5;  dv[2] = -0.25 + d[2] 0.5 dv[1] = -0.25 + 0.25*0.5*0.5 = -0.1875
#   dv[3] = 0.625 + 0.375*0.5*(-0.1875) = 0.58984375
def test_threshold_gradient_through_the_soft_reset():
    threshold = torch.tensor(1.0, requires_grad=True)
    _, v = lif(
        column([0.5, 1.0, 0.5]), decay=HALF, reset="soft", v_threshold=threshold,
        surrogate=Triangle(),
    )  # fmt: skip
    v.sum().backward()
    assert threshold.grad.item() == 0.58984375


# ALIF, beta 1/2, x = 1.25, 1:  A[1] = 1, h[1] = 1.25, g 0.75, fires, a[1] = 1, A[2] = 1.5
#   dL/dh[1] = g[1] + k d[1] g[2] - g[2] beta g[1];   dL/dbeta = -g[2] a[1]
#   hard:  h[2] = 1, g = 1 - 0.5 = 0.5
#     free:      d = -1.25*0.75 = -0.9375:  0.75 - 0.234375 - 0.5*0.5*0.75 = 0.328125
#     detached:  d = 0:  0.75 - 0.1875 = 0.5625
#   soft:  h[2] = 0.125 + 1 = 1.125, g = 1 - 0.375 = 0.625
#     free:      d = 1 - 0.75 = 0.25:  0.75 + 0.078125 - 0.625*0.5*0.75 = 0.59375
#     detached:  d = 1:  0.75 + 0.3125 - 0.234375 = 0.828125
@pytest.mark.parametrize(
    ("reset", "detach", "want"),
    [
        ("hard", False, [0.328125, 0.5]),
        ("hard", True, [0.5625, 0.5]),
        ("soft", False, [0.59375, 0.625]),
        ("soft", True, [0.828125, 0.625]),
    ],
)
def test_alif(reset, detach, want):
    x_seq = column([1.25, 1.0])
    beta = torch.tensor(0.5, requires_grad=True)
    spikes, _ = alif(
        x_seq, decay=HALF, adaptation_decay=HALF, beta=beta, reset=reset, detach_reset=detach,
        surrogate=Triangle(),
    )  # fmt: skip
    spikes.sum().backward()
    assert spikes.flatten().tolist() == [1, 0]
    assert x_seq.grad.flatten().tolist() == want
    assert beta.grad.item() == -want[1]


# Current-based, both keeps 1/2, x = 1, 0.75:  i = 1, 1.25;  h[1] = 1, g 1, fires
#   dL/dx[1] = dL/dh[1] + 1/2 dL/dh[2] (through the current);  dL/dx[2] = dL/dh[2] = g[2]
#   hard:  h[2] = 1.25, g 0.75;  free d = 0 - 1 = -1:  1 - 0.375 + 0.375 = 1;  detached: 1.375
#   soft:  h[2] = 1.25, g 0.75;  free d = 1 - 1 = 0:   1 + 0 + 0.375 = 1.375;
#                                detached d = 1:       1 + 0.375 + 0.375 = 1.75
@pytest.mark.parametrize(
    ("reset", "detach", "want"),
    [
        ("hard", False, [1.0, 0.75]),
        ("hard", True, [1.375, 0.75]),
        ("soft", False, [1.375, 0.75]),
        ("soft", True, [1.75, 0.75]),
    ],
)
def test_cuba(reset, detach, want):
    x_seq = column([1.0, 0.75])
    spikes, _ = cuba_lif(
        x_seq, synapse=HALF, decay=HALF, reset=reset, detach_reset=detach, surrogate=Triangle()
    )
    spikes.sum().backward()
    assert spikes.flatten().tolist() == [1, 1]
    assert x_seq.grad.flatten().tolist() == want
