"""Traces and STDP against the numbers of their specification and a loop over patches."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from spikeloom.functional import spike_trace, stdp_conv2d, stdp_linear

PRE, POST = (1.0, 0.0, 1.0, 0.0), (0.0, 1.0, 1.0, 0.0)


def train(values: tuple[float, ...]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64).view(-1, 1, 1)


def spikes(*shape: int, rate: float = 0.4) -> Tensor:
    return (torch.rand(*shape, dtype=torch.float64) < rate).double()


def by_step(change: Callable[[int], Tensor], T: int) -> list[float]:
    """What each step adds to the change of one synapse."""
    totals = [0.0] + [change(t + 1).item() for t in range(T)]
    return [late - early for early, late in pairwise(totals)]


def test_traces_hold_the_present_spike_and_start_empty() -> None:
    want = [1, 0.5, 1.25, 0.625]
    assert spike_trace(train(PRE), tau=2.0).flatten().tolist() == want
    assert spike_trace(train(POST), tau=100.0).flatten().tolist() == pytest.approx(
        [0, 1, 1.99, 1.9701]
    )
    assert torch.equal(spike_trace(train(PRE), tau=1.0), train(PRE))


def test_the_worked_vector() -> None:
    """Identity 3."""
    weight = torch.full((1, 1), 0.4, dtype=torch.float64)

    def change(t: int) -> Tensor:
        return stdp_linear(train(PRE[:t]), train(POST[:t]), weight, reduction="sum")

    assert by_step(change, 4) == pytest.approx([0, 0.2, -0.296, 0], abs=1e-12)
    assert change(4).item() == pytest.approx(-0.096, abs=1e-12)
    mean = stdp_linear(train(PRE), train(POST), weight)
    assert mean.item() == pytest.approx(-0.096 / 4, abs=1e-12)


@pytest.mark.parametrize("silent", ["pre", "post"])
def test_where_one_side_is_silent_nothing_changes(silent: str) -> None:
    """Identity 4, first half."""
    pre, post = spikes(5, 3, 4), spikes(5, 3, 6)
    (pre if silent == "pre" else post).zero_()
    assert not stdp_linear(pre, post, torch.randn(6, 4).double()).any()


def test_equal_trains_with_equal_constants_change_nothing_at_any_step() -> None:
    """Identity 4, second half."""
    both = train((1.0, 0.0, 1.0, 1.0, 0.0, 1.0))

    def change(t: int) -> Tensor:
        how: dict[str, Any] = {"tau_pre": 4.0, "tau_post": 4.0, "reduction": "sum"}
        return stdp_linear(both[:t], both[:t], torch.ones(1, 1).double(), **how)

    assert by_step(change, 6) == [0.0] * 6


def test_independent_trains_shrink_weights_at_the_expected_rate() -> None:
    """Identity 5."""
    weight = torch.tensor([[0.5, -0.5, 2.0]], dtype=torch.float64).expand(4, 3)
    N = 60_000
    pre, post = spikes(4, N, 3, rate=0.3), spikes(4, N, 4, rate=0.4)
    change = stdp_linear(pre, post, weight, reduction="sum") / N
    per_factor = change / weight.clamp(-1, 1)
    assert per_factor.mean().item() == pytest.approx(-3.775499 * 0.3 * 0.4, abs=0.01)
    keep_pre, keep_post = 1 / 2, 1 - 1 / 100
    traces = [sum(k**i for t in range(4) for i in range(t + 1)) for k in (keep_pre, keep_post)]
    assert traces[0] - traces[1] == pytest.approx(-3.775499, abs=1e-6)


def test_a_kernel_of_one_on_a_map_of_one_is_the_linear_rule() -> None:
    """Identity 6, first half."""
    pre, post, weight = spikes(4, 5, 3), spikes(4, 5, 6), torch.randn(6, 3).double()
    linear = stdp_linear(pre, post, weight)
    conv = stdp_conv2d(pre[..., None, None], post[..., None, None], weight[..., None, None])
    torch.testing.assert_close(conv[..., 0, 0], linear, rtol=1e-12, atol=1e-15)
    assert linear.any()


CONVS: list[dict[str, Any]] = [
    {},
    {"padding": 1},
    {"padding": 1, "stride": 2},
    {"padding": (2, 1), "stride": (1, 2), "dilation": (2, 1)},
    {"padding": "same", "dilation": 2},
    {"padding": "valid"},
    {"padding": 1, "padding_mode": "circular"},
    {"padding": 1, "groups": 2},
]


@pytest.mark.parametrize("how", CONVS, ids=str)
@pytest.mark.parametrize("kernel", [(3, 3), (2, 3)])
def test_the_convolution_equals_a_loop_over_patches(
    how: dict[str, Any], kernel: tuple[int, int]
) -> None:
    """Identity 6, second half: every output position is a synapse set of its own."""
    groups = how.get("groups", 1)
    conv = torch.nn.Conv2d(4, 6, kernel, bias=False, **how).double()
    pre = spikes(3, 2, 4, 7, 6)
    post = spikes(3, 2, *conv(pre.flatten(0, 1)).shape[1:])
    weight = conv.weight.detach()
    found = stdp_conv2d(pre, post, weight, **how)
    padding = list(conv._reversed_padding_repeated_twice)
    mode = "constant" if conv.padding_mode == "zeros" else conv.padding_mode
    x = F.pad(pre.flatten(0, 1), padding, mode=mode).unflatten(0, (3, 2))
    r_pre, r_post = spike_trace(x, tau=2.0), spike_trace(post, tau=100.0)
    total = torch.zeros_like(weight)
    (si, sj), (di, dj) = conv.stride, conv.dilation
    for i in range(post.shape[3]):
        for j in range(post.shape[4]):
            rows = slice(i * si, i * si + di * (kernel[0] - 1) + 1, di)
            columns = slice(j * sj, j * sj + dj * (kernel[1] - 1) + 1, dj)
            for g in range(groups):
                ins = slice(g * 4 // groups, (g + 1) * 4 // groups)
                outs = slice(g * 6 // groups, (g + 1) * 6 // groups)
                patch, traced = (s[:, :, ins, rows, columns] for s in (x, r_pre))
                fired, remembered = (s[:, :, outs, i, j] for s in (post, r_post))
                total[outs] += torch.einsum("tnchw,tno->ochw", traced, fired)
                total[outs] -= torch.einsum("tnchw,tno->ochw", patch, remembered)
    want = weight.clamp(-1, 1) * total / post[:, :, 0].numel()
    torch.testing.assert_close(found, want, rtol=1e-10, atol=1e-13)
    assert found.any()


def test_the_factor_is_the_weight_clamped_or_its_magnitude() -> None:
    pre, post = spikes(4, 3, 5), spikes(4, 3, 2)
    unit = stdp_linear(pre, post, torch.ones(2, 5).double())
    large, small = torch.full((2, 5), -3.0).double(), torch.full((2, 5), -0.25).double()
    torch.testing.assert_close(stdp_linear(pre, post, large), -unit)
    torch.testing.assert_close(stdp_linear(pre, post, small), -unit / 4)
    torch.testing.assert_close(stdp_linear(pre, post, small, factor="magnitude"), unit / 4)


def test_positions_between_batch_and_features_count_as_samples() -> None:
    pre, post, weight = spikes(4, 6, 5), spikes(4, 6, 2), torch.randn(2, 5).double()
    split = stdp_linear(pre.view(4, 2, 3, 5), post.view(4, 2, 3, 2), weight)
    torch.testing.assert_close(split, stdp_linear(pre, post, weight))


def test_no_graph_and_no_rounding_to_half() -> None:
    """Identity 8, first half; under autocast the sums stay in float32."""
    pre, post = spikes(9, 40, 5).float(), spikes(9, 40, 2).float()
    weight = torch.randn(2, 5, requires_grad=True)
    plain = stdp_linear(pre.requires_grad_(), post, weight)
    assert not plain.requires_grad
    assert plain.dtype == weight.dtype
    with torch.autocast("cpu", torch.bfloat16):
        half = stdp_linear(pre.bfloat16(), post.bfloat16(), weight)
        pixel = stdp_conv2d(
            pre[..., None, None].bfloat16(), post[..., None, None], weight[..., None, None]
        )
    assert torch.equal(half, plain)
    torch.testing.assert_close(pixel[..., 0, 0], plain, rtol=1e-5, atol=1e-7)


def test_what_does_not_fit_is_refused() -> None:
    pre, post, weight = spikes(4, 3, 5), spikes(4, 3, 2), torch.randn(2, 5).double()
    with pytest.raises(ValueError, match="does not lead from"):
        stdp_linear(pre, post[:3], weight)
    with pytest.raises(ValueError, match="does not lead from"):
        stdp_linear(pre, post, weight.T)
    with pytest.raises(ValueError, match="tau is a time constant"):
        stdp_linear(pre, post, weight, tau_post=0.5)
    with pytest.raises(ValueError, match="factor must be"):
        stdp_linear(pre, post, weight, factor="sign")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="time-first"):
        spike_trace(torch.zeros(3), tau=2.0)
    images, kernels = spikes(4, 3, 5, 6, 6), torch.randn(2, 5, 3, 3).double()
    with pytest.raises(ValueError, match=r"outputs at \(4, 4\) positions"):
        stdp_conv2d(images, spikes(4, 3, 2, 6, 6), kernels)
    with pytest.raises(ValueError, match="does not lead from"):
        stdp_conv2d(images, spikes(4, 3, 2, 4, 4), kernels, groups=2)
