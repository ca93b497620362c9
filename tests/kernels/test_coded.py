"""Counting bits equals the readable truth: any scale, odd sizes, every instruction set."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeloom.functional import euler, factor
from spikeloom.functional.coded import of_index, of_signs
from spikeloom.functional.program import (
    AnySpike,
    Count,
    Neurons,
    Program,
    Sum,
    Term,
    Window,
    run_program,
)
from spikeloom.kernels.cpu import native
from spikeloom.kernels.program import Runner

needs_library = pytest.mark.skipif(native.OPENED is None, reason=native.PROBLEM)
VARIANTS = ("avx512popcnt", "avx512", "avx2", "baseline")
LIF = Neurons("lif", {"decay": euler(2.0), "v_threshold": 1.0, "reset": "hard"})
SAME = Window((3, 3), (1, 1), (1, 1))


def choose(name):
    """Skips where the machine has no such instructions."""
    popcount = name == "avx512popcnt"
    found = native.variant(name.removesuffix("popcnt"))
    has = bool(native.opened().spikeloom_program_popcount(int(popcount)))
    return found == name.removesuffix("popcnt") and has == popcount


@pytest.fixture(params=VARIANTS)
def variant(request):
    if native.OPENED is None:
        pytest.skip(native.PROBLEM)
    before, popcount = native.variant(), native.OPENED.spikeloom_program_popcount(-1)
    if not choose(request.param):
        native.variant(before)
        pytest.skip(f"this machine has no {request.param}")
    yield request.param
    native.variant(before)
    native.OPENED.spikeloom_program_popcount(popcount)


def signs(*shape):
    return torch.randint(0, 2, shape) * 2 - 1


def coded(out, C, kh, kw, eta):
    """Weights of odd scales, of both signs; eta None: binary."""
    scale = torch.randn(out)
    if eta is None:
        return of_signs(signs(out, C, kh, kw), scale)
    index = torch.randint(0, 2**eta, (out, C))
    return of_index(index, signs(2**eta, kh * kw), scale, (out, C, kh, kw))


def out_size(window, H, W):
    x = torch.zeros(1, 1, H, W)
    y = torch.nn.functional.conv2d(
        x, torch.zeros(1, 1, *window.kernel), None, window.stride, window.padding, window.dilation
    )
    return tuple(y.shape[2:])


def of_bits(in_shape, channels, T, N):
    """Inputs whose first layer computes the same on bits and in truth: one tap, exact values."""
    weight = torch.zeros(channels, in_shape[0], 1, 1)
    weight[torch.arange(channels), torch.arange(channels) % in_shape[0]] = 1
    first = Sum("first", (channels, *in_shape[1:]), (Term(0, weight),), torch.zeros(channels), LIF)
    return first, torch.randint(0, 5, (T, N, *in_shape)).float()


@st.composite
def cases(draw):
    kernel = draw(st.sampled_from([(1, 1), (3, 3), (2, 3), (5, 1)]))
    eta = draw(st.sampled_from([None, 1, 4, 6, 9])) if kernel == (3, 3) else None
    H, W = draw(st.integers(5, 9)), draw(st.integers(3, 8))
    window = Window(
        kernel,
        draw(st.sampled_from([(1, 1), (2, 2), (1, 3)])),
        draw(st.sampled_from([(0, 0), (1, 1), (2, 0)])) if kernel != (1, 1) else (0, 0),
        draw(st.sampled_from([(1, 1), (1, 1), (1, 2)])) if W > 5 else (1, 1),
    )
    return {
        "window": window, "eta": eta, "H": H, "W": W,
        "C": draw(st.sampled_from([1, 3, 16, 17, 48, 64, 130])),
        "O": draw(st.sampled_from([1, 7, 16, 33, 64, 144, 200])),
        "T": draw(st.integers(1, 5)), "N": draw(st.integers(1, 3)),
        "seed": draw(st.integers(0, 2**16)),
    }  # fmt: skip


@needs_library
@settings(max_examples=60, deadline=None)
@given(case=cases())
def test_any_coded_layer_is_equal_to_the_bit(case):
    torch.manual_seed(case["seed"])
    C, out, window = case["C"], case["O"], case["window"]
    first, x_seq = of_bits((3, case["H"], case["W"]), C, case["T"], case["N"])
    shape = (out, *out_size(window, case["H"], case["W"]))
    weights = coded(out, C, *window.kernel, case["eta"])
    neurons = Neurons("lif", {"decay": factor(0.7), "v_threshold": 0.9, "reset": "soft"})
    layer = Sum("layer", shape, (Term(1, window=window, coded=weights),), torch.randn(out), neurons)
    sums = Sum("sums", shape, (Term(1, window=window, coded=weights),), torch.randn(out))
    for node in (layer, sums):
        program = Program((3, case["H"], case["W"]), (first, node), flat=False)
        assert torch.equal(Runner(program)(x_seq), run_program(program, x_seq))


@needs_library
@pytest.mark.parametrize("eta", [None, 4])
@pytest.mark.parametrize("channels", [5, 64, 70])
def test_every_instruction_set_counts_alike(channels, eta, variant):
    first, x_seq = of_bits((3, 7, 6), channels, 3, 2)
    weights = coded(150, channels, 3, 3, eta)
    layer = Sum("layer", (150, 7, 6), (Term(1, window=SAME, coded=weights),), torch.randn(150), LIF)
    wide = coded(10, 150, 7, 6, None)  # more words than bytes can count at once
    last = Sum("last", (10, 1, 1), (Term(2, window=Window((7, 6)), coded=wide),), torch.randn(10))
    program = Program((3, 7, 6), (first, layer, last))
    assert torch.equal(Runner(program)(x_seq), run_program(program, x_seq))


@needs_library
def test_counts_are_weighed_plane_by_plane(variant):
    first, x_seq = of_bits((3, 8, 6), 20, 3, 2)
    nodes = (
        first,
        Count("twice", (20, 8, 6), (1, 1)),
        Count("mean", (20, 4, 3), (2,), Window((2, 2), (2, 2)), 0.25),
        AnySpike("any", (20, 4, 3), 1, Window((2, 2), (2, 2))),
        Count("all", (20, 4, 3), (3, 3)),
        Sum("layer", (33, 4, 3), (Term(5, window=SAME, coded=coded(33, 20, 3, 3, 5)),),
            torch.randn(33), LIF),
    )  # fmt: skip
    program = Program((3, 8, 6), nodes, flat=False)
    assert program.levels[5] == 16
    assert torch.equal(Runner(program)(x_seq), run_program(program, x_seq))


@needs_library
@pytest.mark.parametrize("density", [0.1, 1.0])
@pytest.mark.parametrize("dense", [False, True])
def test_shortcuts_of_every_kind_join_a_counted_sum(density, dense, variant):
    first, x_seq = of_bits((3, 6, 6), 18, 4, 2)
    dyadic = torch.randint(-8, 9, (18, 18, 1, 1)) / 16
    signed = of_signs(signs(18, 18, 3, 3), torch.tensor([0.5, -0.25] * 9))
    nodes = (
        first,
        Sum("reals", (18, 6, 6), (Term(1, window=SAME, coded=signed),), torch.ones(18) / 8),
        Sum(
            "joined", (18, 6, 6),
            (
                Term(1, dyadic, Window(), dense, density),
                Term(1, window=SAME, coded=signed),
                Term(1, window=Window(), coded=of_signs(signs(18, 18), torch.full((18,), 0.125))),
                Term(1),
                Term(2),
            ),
            torch.ones(18) / 4, LIF,
        ),
    )  # fmt: skip
    program = Program((3, 6, 6), nodes, flat=False)
    assert torch.equal(Runner(program)(x_seq), run_program(program, x_seq))


@needs_library
def test_long_sequences_are_counted_in_pieces():
    first, x_seq = of_bits((3, 5, 4), 17, 90, 1)
    layer = Sum(
        "layer", (200, 5, 4), (Term(1, window=SAME, coded=coded(200, 17, 3, 3, 4)),),
        torch.randn(200), LIF,
    )  # fmt: skip
    program = Program((3, 5, 4), (first, layer), flat=False)
    assert torch.equal(Runner(program)(x_seq), run_program(program, x_seq))


@needs_library
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_count_alike(threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    first, x_seq = of_bits((3, 16, 16), 64, 4, 2)
    weights = coded(128, 64, 3, 3, None)
    layer = Sum("layer", (128, 16, 16), (Term(1, window=SAME, coded=weights),), torch.zeros(128))
    program = Program((3, 16, 16), (first, layer), flat=False)
    try:
        assert torch.equal(Runner(program)(x_seq), run_program(program, x_seq))
    finally:
        torch.set_num_threads(before)


def test_coded_weights_refuse_real_values_and_sums_beyond_exact_floats():
    term = Term(0, window=SAME, coded=coded(4, 3, 3, 3, None))
    with pytest.raises(ValueError, match="layer: coded weights count spikes, and get real values"):
        Program((3, 4, 4), (Sum("layer", (4, 4, 4), (term,), torch.zeros(4)),))
    huge = Count("mean", (2**14, 1, 1), (1,), Window((40, 40)))
    wide = of_signs(torch.ones(1, 2**14, 1, 1), torch.ones(1))
    nodes = (
        Sum("first", (2**14, 40, 40), (Term(0, torch.zeros(2**14, 1, 1, 1)),), torch.zeros(1), LIF),
        huge,
        Sum("layer", (1, 1, 1), (Term(2, coded=wide),), torch.zeros(1)),
    )
    with pytest.raises(ValueError, match="too large for float32"):
        Program((1, 40, 40), nodes)
