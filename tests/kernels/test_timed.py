"""Spike-time gradients in the kernel against the truth: equal to the bit, whatever the layout."""

import ctypes

import pytest
import torch

from spikeloom.functional import Sigmoid, Smooth, double_exponential, double_exponential_trace
from spikeloom.functional import timed as truth
from spikeloom.kernels import CannotServeError, door, explain, use
from spikeloom.kernels.cpu import native, timed

pytestmark = pytest.mark.usefixtures("fresh_memory_is_nan")

SHAPES = {
    "flat": (5, 3, 37),
    "one": (1, 1, 1),
    "image": (4, 2, 5, 3, 7),
    "channels last": (3, 2, 20, 5, 7),
    "constant": (6, 2, 19),
    "gaps": (4, 3, 6, 5),
    "empty": (3, 0, 4),
    "long": (70, 2, 131),
    "shared": (5, 4, 37, 19, 21),  # enough for several threads and blocks
}


def currents(name):
    generator = torch.Generator().manual_seed(sum(map(ord, name)))
    shape = SHAPES[name]
    length = 1 if name == "constant" else shape[0]
    x = 0.6 * torch.randn((length, *shape[1:]), generator=generator) + 0.5
    if name in ("channels last", "shared"):
        x = x.flatten(0, 1).contiguous(memory_format=torch.channels_last).view(shape)
    if name == "constant":
        return x[0].expand(shape)
    return x.repeat_interleave(2, -1)[..., ::2] if name == "gaps" else x


def threshold(kind, shape):
    generator = torch.Generator().manual_seed(5)
    sizes = {"channel": (shape[2], *[1] * (len(shape) - 3)), "neuron": shape[2:], "scalar": ()}
    if kind == "number":
        return 0.4
    return 0.2 + 0.4 * torch.rand(sizes[kind], generator=generator)


def outcome(run, x_seq, linked=True, **options):
    x_seq = x_seq.detach().requires_grad_()
    link_seq = torch.zeros_like(x_seq, requires_grad=True) if linked else None
    out = run(x_seq, link_seq, **options)
    g = torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).to(out.dtype)
    leaves = (x_seq, link_seq) if linked else (x_seq,)
    return out.detach(), *torch.autograd.grad(out, leaves, g)


@pytest.mark.parametrize("kind", ["number", "scalar", "channel", "neuron"])
@pytest.mark.parametrize("name", SHAPES)
def test_kernel_and_truth_are_equal_to_the_bit(name, kind):
    x_seq = currents(name)
    options = {"v_threshold": threshold(kind, SHAPES[name]), "tau_m": 7.0, "tau_s": 4.0}
    theirs = outcome(truth, x_seq, **options)
    with use("cpu"):
        ours = outcome(door("timed"), x_seq, **options)
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    assert name in ("one", "empty") or 0.02 < ours[0].mean() < 0.95


@pytest.mark.parametrize("variant", ["avx512", "avx2", "baseline"])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_neither_threads_nor_instruction_set_change_a_bit(count, variant, threads):
    x_seq = currents("shared")
    options = {"v_threshold": threshold("channel", SHAPES["shared"]), "tau_grad": 1.5, "clip": 0.7}
    theirs = outcome(truth, x_seq, **options)
    before = native.variant()
    threads(count)
    try:
        if native.variant(variant) != variant:
            pytest.skip(f"this machine has no {variant}")
        with use("cpu"):
            ours = outcome(door("timed"), x_seq, **options)
    finally:
        native.variant(before)
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_without_a_link_the_other_gradient_is_the_same():
    x_seq = currents("image")
    with use("cpu"):
        alone = outcome(door("timed"), x_seq, linked=False)
        assert torch.equal(alone[1], outcome(door("timed"), x_seq)[1])


def test_extremes_are_those_of_the_truth():
    x_seq = torch.tensor([0.0, 1e-45, 1e30, -1e30, 3e38, float("inf"), float("nan"), -1.0])
    x_seq = x_seq.expand(4, 1, 8)
    theirs = outcome(truth, x_seq)
    with use("cpu"):
        ours = outcome(door("timed"), x_seq)
    for a, b in zip(ours, theirs, strict=True):
        assert torch.equal(a.nan_to_num(7.0), b.nan_to_num(7.0))


@pytest.mark.parametrize("name", ["image", "channels last", "constant", "gaps", "empty"])
def test_half_precision_is_widened_and_rounded_as_by_the_truth(name):
    x_seq = currents(name).bfloat16()
    options = {"v_threshold": threshold("channel", SHAPES[name])}
    theirs = outcome(truth, x_seq, **options)
    with use("cpu"):
        ours = outcome(door("timed"), x_seq, **options)
    for a, b in zip(ours, theirs, strict=True):
        assert a.dtype == torch.bfloat16
        assert torch.equal(a, b)


def test_what_it_cannot_run_goes_to_the_truth():
    x_seq = torch.zeros(2, 3, dtype=torch.float64)
    assert "timed: truth" in explain("timed", x_seq)
    assert "float64" in explain("timed", x_seq)
    assert door("timed")(x_seq).shape == x_seq.shape
    with use("cpu"), pytest.raises(CannotServeError, match="float64"):
        door("timed")(x_seq)


@pytest.mark.parametrize("kind", ["number", "scalar", "channel", "neuron"])
@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", SHAPES)
def test_without_gradients_the_neurons_run_on_the_kernel(name, kind, strict, dtype):
    x_seq = currents(name).to(dtype)
    options = {"v_threshold": threshold(kind, SHAPES[name]), "tau_m": 7.0, "strict": strict}
    cut = min(2, len(x_seq) - 1)
    state = None
    for part in (x_seq[:cut], x_seq[cut:]) if cut else (x_seq,):
        want, end = double_exponential(part, state, **options)
        with use("cpu"):
            out, ours = door("double_exponential")(part, state, **options)
        for a, b in zip((out, *ours), (want, *end), strict=True):
            assert a.dtype == dtype
            assert torch.equal(a, b)
        state = end
    assert name in ("one", "empty") or 0.02 < want.mean() < 0.95


def test_at_the_threshold_strict_neurons_stay_silent():
    x_seq = torch.tensor([[1.5, 1.6]])
    theta = double_exponential_trace(x_seq, v_threshold=9.0).h_seq[0, 0].item()
    with use("cpu"):
        run = door("double_exponential")
        assert run(x_seq, v_threshold=theta)[0].tolist() == [[1.0, 1.0]]
        assert run(x_seq, v_threshold=theta, strict=True)[0].tolist() == [[0.0, 1.0]]


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ({"x_seq": torch.zeros(2, 3, requires_grad=True)}, "surrogate gradient is wanted"),
        ({"v_threshold": torch.ones(3, requires_grad=True)}, "surrogate gradient is wanted"),
        ({"state": (torch.zeros(3), torch.zeros(3).requires_grad_())}, "gradient is wanted"),
        ({"surrogate": Smooth(Sigmoid())}, "no kernel for the surrogate"),
        ({"x_seq": torch.zeros(2, 3, dtype=torch.float64)}, "float64"),
        ({"state": (torch.zeros(3).double(), torch.zeros(3))}, "a state is torch.float64"),
    ],
    ids=str,
)
def test_neurons_with_surrogate_gradients_go_to_the_truth(what, said):
    options = {"x_seq": torch.zeros(2, 3), **what}
    assert "double_exponential: truth" in explain("double_exponential", **options)
    assert said in explain("double_exponential", **options)
    if "surrogate" not in what:
        with torch.no_grad():
            served = explain("double_exponential", **options)
        assert ("cpu" in served.splitlines()[0]) == ("gradient" in said)


def test_a_state_of_another_batch_is_told_as_by_the_truth():
    with use("cpu"), pytest.raises(ValueError, match="carried state has shape"):
        door("double_exponential")(torch.zeros(2, 3), (torch.zeros(4), torch.zeros(4)))


def test_bad_arguments_are_told_as_by_the_truth():
    with use("cpu"), pytest.raises(ValueError, match="tau_grad > 1"):
        door("timed")(torch.zeros(2, 3), tau_grad=1.0)


def test_a_second_derivative_is_refused():
    x_seq = torch.ones(3, 4, requires_grad=True)
    with use("cpu"), pytest.raises(RuntimeError, match="second derivative"):
        torch.autograd.grad(door("timed")(x_seq).sum(), x_seq, create_graph=True)


def test_python_and_cpp_agree_on_the_structure():
    assert native.opened().spikeloom_timed_size() == ctypes.sizeof(timed.TimedCall)
