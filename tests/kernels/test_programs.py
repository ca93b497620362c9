"""Programs on bits equal the readable truth: every op, odd sizes, every instruction set."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch

from spikeloom.functional import Decay, euler, factor
from spikeloom.functional.program import (
    AnySpike,
    Count,
    Neurons,
    Other,
    Program,
    Sum,
    Term,
    Window,
    activations,
    run_program,
)
from spikeloom.kernels import CannotServeError, use
from spikeloom.kernels.cpu import native
from spikeloom.kernels.program import KEPT, Runner

needs_library = pytest.mark.skipif(native.OPENED is None, reason=native.PROBLEM)
VARIANTS = ("avx512", "avx2", "baseline")
LIF = Neurons("lif", {"decay": euler(2.0), "v_threshold": 1.0, "reset": "hard"})
SAME = Window((3, 3), (1, 1), (1, 1))


@pytest.fixture(params=VARIANTS)
def variant(request):
    if native.OPENED is None:
        pytest.skip(native.PROBLEM)
    before = native.variant()
    if native.variant(request.param) != request.param:
        pytest.skip(f"this machine has no {request.param}")
    yield request.param
    native.variant(before)


def dyadic(*shape, high=8, seed=0):
    """Multiples of 1/16, so that sums round nowhere."""
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return torch.randint(-high, high + 1, shape, generator=generator) / 16


def inputs(T, N, shape, constant=False):
    return (
        dyadic(N, *shape, high=24).expand(T, N, *shape)
        if constant
        else dyadic(T, N, *shape, high=24)
    )


def first(channels, in_shape, neurons=LIF):
    """A first layer that turns real values into spikes."""
    C, H, W = in_shape
    term = Term(0, dyadic(channels, C, 3, 3), SAME)
    return Sum("first", (channels, H, W), (term,), dyadic(channels, seed=1), neurons)


def check(program, T, N, constant=False):
    """With sums that grow pixel by pixel, and in tiles."""
    x_seq = inputs(T, N, program.in_shape, constant)
    want = run_program(program, x_seq)
    for density in (0.0, 1.0):
        nodes = [of_density(node, density) for node in program.nodes]
        assert torch.equal(Runner(replace(program, nodes=tuple(nodes)))(x_seq), want)


def of_density(node, density):
    if not isinstance(node, Sum):
        return node
    return replace(node, terms=tuple(replace(term, density=density) for term in node.terms))


def rate(program, x_seq):
    return float(run_program(program, x_seq).mean())


@needs_library
@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize(("T", "N"), [(1, 1), (4, 5), (3, 2)])
@pytest.mark.parametrize("channels", [1, 5, 16, 17, 64, 70, 130, 200])
def test_two_convolutions_on_odd_channels(channels, T, N, constant, variant):
    head = first(channels, (3, 7, 5))
    weight = dyadic(33, channels, 3, 3)
    second = Sum("second", (33, 7, 5), (Term(1, weight, SAME),), dyadic(33), LIF)
    program = Program((3, 7, 5), (head, second), flat=False)
    x_seq = inputs(T, N, (3, 7, 5), constant)
    if (T, channels) == (4, 64):
        assert 0.05 < rate(program, x_seq) < 0.95
    check(program, T, N, constant)


WINDOWS = [
    Window((1, 1)),
    Window((3, 3), (2, 2), (1, 1)),
    Window((3, 3), (1, 1), (2, 2), (2, 2)),
    Window((5, 2), (2, 3), (2, 0), (1, 2)),
    Window((2, 2), (1, 1), (3, 3)),
    Window((9, 7)),
]


@needs_library
@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_strides_paddings_and_dilations(window, dense, variant):
    head = first(20, (2, 9, 7))
    weight = dyadic(12, 20, *window.kernel)
    with torch.no_grad():
        sample = torch.nn.functional.conv2d(
            torch.zeros(1, 20, 9, 7), weight, None, window.stride, window.padding, window.dilation
        )
    term = Term(1, weight, window, dense=dense)
    second = Sum("second", tuple(sample.shape[1:]), (term,), dyadic(12), LIF)
    check(Program((2, 9, 7), (head, second), flat=False), 4, 3)


def per(shape, *values):
    """A value per channel or neuron."""
    return torch.tensor(values)[torch.arange(torch.Size(shape).numel()) % len(values)].view(shape)


NEURONS = {
    "if": Neurons("lif", {"decay": Decay(1.0), "v_threshold": 1.0}),
    "soft": Neurons("lif", {"decay": factor(0.5), "v_threshold": 0.75, "reset": "soft"}),
    "none": Neurons("lif", {"decay": factor(0.5), "v_threshold": 1.0, "reset": "none"}),
    "to a value": Neurons("lif", {"decay": euler(2.0), "reset": "hard", "v_reset": -0.25}),
    "strict": Neurons("lif", {"decay": euler(4.0), "strict": True, "v_threshold": 0.5}),
    "per channel": Neurons(
        "lif",
        {
            "decay": Decay(per((21, 1, 1), 0.5, 0.25), True),
            "v_threshold": per((21, 1, 1), 0.5, 1.0, 2.0),
        },
    ),
    "per neuron": Neurons("lif", {"v_threshold": per((21, 6, 5), 0.5, 1.0, 2.0, 0.25)}),
    "cuba_lif": Neurons("cuba_lif", {"decay": euler(2.0), "synapse": factor(0.5)}),
    "alif": Neurons(
        "alif",
        {"adaptation_decay": factor(0.5), "beta": per((21, 1, 1), 0.5, 0.25), "decay": euler(2.0)},
    ),
    "per pixel": Neurons("lif", {"v_threshold": per((1, 6, 5), 0.5, 1.0, 2.0, 0.25)}),
    "per column": Neurons("lif", {"v_threshold": per((5,), 0.5, 1.0, 2.0, 0.25)}),
    "li": Neurons("li", {"decay": euler(2.0)}),
}


@needs_library
@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("name", NEURONS)
def test_every_neuron(name, constant, variant):
    given = {"decay": euler(2.0), **NEURONS[name].arguments}
    if NEURONS[name].kind == "alif":
        given.setdefault("v_threshold", 1.0)
    nodes = (first(21, (3, 6, 5), replace(NEURONS[name], arguments=given)),)
    if name != "li":
        weight = dyadic(9, 21, 6, 5)
        nodes += (Sum("readout", (9, 1, 1), (Term(1, weight, Window((6, 5))),), dyadic(9)),)
    check(Program((3, 6, 5), nodes, flat=False), 4, 5, constant)


@needs_library
def test_values_per_pixel_are_not_taken_for_values_per_channel():
    values = {"decay": euler(2.0), "v_threshold": per((1, 6, 5), 0.5, 1.0, 2.0, 0.25)}
    check(Program((3, 6, 5), (first(30, (3, 6, 5), Neurons("lif", values)),), flat=False), 4, 2)


@needs_library
@pytest.mark.parametrize("channels", [3, 16, 40])
def test_pooling_by_or_and_by_count(channels, variant):
    in_shape = (2, 8, 6)
    head = first(channels, in_shape)
    windows = [Window((2, 2), (2, 2)), Window((3, 3), (2, 2), (1, 1))]
    for window, size in zip(windows, [(4, 3), (4, 3)], strict=True):
        shape = (channels, *size)
        pooled = AnySpike("any", shape, 1, window)
        check(Program(in_shape, (head, pooled), flat=False), 4, 2)
        taps = window.kernel[0] * window.kernel[1]
        scale = 0.25 if taps == 4 else 0.125  # dyadic, for the equality
        counted = Count("count", shape, (1,), window, scale)
        check(Program(in_shape, (head, counted), flat=False), 4, 2)
        for dense in (False, True):
            term = Term(2, dyadic(10, channels, 3, 3), SAME, dense=dense)
            after = Sum("after", (10, *size), (term,), dyadic(10), LIF)
            check(Program(in_shape, (head, counted, after), flat=False), 4, 3)


@needs_library
def test_spikes_add_up_to_integers_and_integers_to_larger_ones(variant):
    in_shape = (2, 5, 4)
    nodes = [first(19, in_shape)]
    for index in range(1, 8):  # every node adds the two before it, as the spikes of SEW blocks
        nodes.append(Count("sum", (19, 5, 4), (index, max(index - 1, 1))))
    whole = Count("mean", (19, 1, 1), (8,), Window((5, 4), (5, 4)), 1.0)
    term = Term(9, dyadic(6, 19, 1, 1))
    readout = Sum("readout", (6, 1, 1), (term,), dyadic(6))
    program = Program(in_shape, (*nodes, whole, readout))
    assert program.levels[9] == 20 * 34
    check(program, 3, 2)


@needs_library
@pytest.mark.parametrize("dense", [False, True])
def test_shortcuts_join_a_sum_as_bits_counts_reals_and_products(dense, variant):
    in_shape = (3, 6, 6)
    nodes = (
        first(18, in_shape),
        Count("twice", (18, 6, 6), (1, 1)),
        Sum("reals", (18, 6, 6), (Term(1, dyadic(18, 18, 3, 3), SAME, dense),), dyadic(18)),
        Sum(
            "joined",
            (18, 6, 6),
            (
                Term(2, dyadic(18, 18, 3, 3), SAME, dense),
                Term(1, dyadic(18, 18, 1, 1), Window()),
                Term(3, dyadic(18, 18, 1, 1), Window()),
                *(Term(1), Term(2), Term(3)),
            ),
            dyadic(18),
            LIF,
        ),
    )
    check(Program(in_shape, nodes, flat=False), 4, 2)
    check(Program(in_shape, nodes[:3], flat=False), 4, 2, constant=True)


@needs_library
def test_constant_sums_are_computed_once_and_serve_every_step(variant):
    in_shape = (3, 6, 6)
    reals = Sum("reals", (8, 6, 6), (Term(0, dyadic(8, 3, 3, 3), SAME),), dyadic(8))
    pooled = Other("pool", (8, 3, 3), 1, torch.nn.MaxPool2d(2))
    fired = Sum("fired", (8, 3, 3), (Term(2),), torch.zeros(8), LIF)
    added = Sum("added", (8, 3, 3), (Term(3, dyadic(8, 8, 1, 1)), Term(2)), dyadic(8))
    for nodes in ((reals,), (reals, pooled, fired), (reals, pooled, fired, added)):
        for constant in (False, True):
            check(Program(in_shape, nodes, flat=False), 4, 2, constant)


@needs_library
def test_a_grouped_product_runs_on_all_values():
    grouped = Sum("grouped", (8, 5, 5), (Term(1, dyadic(8, 2, 3, 3), SAME),), dyadic(8), LIF)
    check(Program((3, 5, 5), (first(8, (3, 5, 5)), grouped), flat=False), 4, 2)


def float_program(rows=32):
    """Weights that round: an exact first layer, then random ones."""
    generator = torch.Generator().manual_seed(3)
    weight = torch.randn(48, rows, 3, 3, generator=generator) / 8
    term = Term(1, weight, SAME)
    second = Sum("second", (48, 8, 8), (term,), torch.randn(48, generator=generator) / 4, LIF)
    return Program((3, 8, 8), (first(rows, (3, 8, 8)), second), flat=False)


@needs_library
@pytest.mark.parametrize("dense", [False, True])
def test_a_spike_differs_only_within_rounding_of_the_threshold(dense, variant):
    program = float_program()
    second = program.nodes[1]
    terms = tuple(replace(term, dense=dense) for term in second.terms)
    packed = Program((3, 8, 8), (program.nodes[0], replace(second, terms=terms)), flat=False)
    bare = Program((3, 8, 8), (program.nodes[0], replace(second, neurons=None)), flat=False)
    x_seq = inputs(4, 40, (3, 8, 8))
    spikes = Runner(packed)(x_seq)
    v = torch.zeros_like(spikes[0])
    same = torch.ones_like(v, dtype=torch.bool)
    for x, s in zip(run_program(bare, x_seq), spikes, strict=True):
        h = 0.5 * v + 0.5 * x
        differs = (s != (h >= 1.0).float()) & same
        assert (h - 1.0).abs()[differs].le(1e-5).all()
        same &= ~differs
        v = torch.where(h >= 1.0, 0.0, h)
    assert same.float().mean() > 0.999


@needs_library
def test_threads_give_the_same_spikes(threads):
    program = float_program(rows=128)
    x_seq = inputs(4, 16, (3, 8, 8))
    for density in (0.0, 1.0):
        nodes = tuple(of_density(node, density) for node in program.nodes)
        found = []
        for count in (1, 2, 3):
            threads(count)
            found.append(Runner(replace(program, nodes=nodes))(x_seq))
        assert torch.equal(found[0], found[1])
        assert torch.equal(found[0], found[2])


@needs_library
def test_a_runner_serves_changing_sizes_and_keeps_few():
    program = float_program()
    runner = Runner(program)
    for T, N in [(1, 1), (4, 2), (2, 3), (1, 1), (3, 1), (5, 2), (4, 2)]:
        x_seq = inputs(T, N, (3, 8, 8))
        assert torch.equal(runner(x_seq), Runner(program)(x_seq))
    assert len(runner._frames) == KEPT


@needs_library
def test_the_sizes_kept_are_those_used_last():
    runner = Runner(float_program())
    often = inputs(1, 1, (3, 8, 8))
    runner(often)
    frame = runner._frames[1, 1, False][0]
    for N in range(2, 2 + 2 * KEPT):
        runner(inputs(1, N, (3, 8, 8)))
        runner(often)
    assert runner._frames[1, 1, False] == [frame]
    assert len(runner._frames) == KEPT


@needs_library
def test_an_output_is_not_overwritten_by_the_next_call():
    program = float_program()
    runner = Runner(program)
    x_seq = inputs(2, 2, (3, 8, 8))
    before = runner(x_seq)
    kept = before.clone()
    runner(-x_seq)
    assert torch.equal(before, kept)


@needs_library
@pytest.mark.parametrize("dense", [False, True])
def test_threads_may_call_at_once(dense):
    program = float_program()
    term = replace(program.nodes[1].terms[0], dense=dense)
    runner = Runner(
        replace(program, nodes=(program.nodes[0], replace(program.nodes[1], terms=(term,))))
    )
    given = [inputs(4, 3, (3, 8, 8)) * factor for factor in (1.0, -1.0, 0.5, 2.0)]
    want = [runner(x_seq) for x_seq in given]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(10):
            assert all(map(torch.equal, pool.map(runner, given), want))


@needs_library
def test_inference_mode_and_autocast_change_nothing():
    reals = Sum("reals", (16, 8, 8), (Term(0, dyadic(16, 3, 3, 3), SAME),), dyadic(16))
    pooled = Other("pool", (16, 4, 4), 1, torch.nn.MaxPool2d(2))
    fired = Sum("fired", (16, 4, 4), (Term(2),), torch.zeros(16), LIF)
    weight = torch.randn(8, 16, 3, 3)
    last = Sum("last", (8, 4, 4), (Term(3, weight, SAME, dense=True),), torch.zeros(8))
    runner = Runner(Program((3, 8, 8), (reals, pooled, fired, last), flat=False))
    x_seq = inputs(2, 2, (3, 8, 8))
    with torch.inference_mode():
        want = runner(x_seq).clone()
    assert torch.equal(runner(x_seq), want)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(runner(x_seq), want)


def test_without_the_library_the_truth_runs(monkeypatch):
    monkeypatch.setattr(native, "OPENED", None)
    program = float_program()
    x_seq = inputs(2, 2, (3, 8, 8))
    assert torch.equal(Runner(program)(x_seq), run_program(program, x_seq))
    with use("cpu"), pytest.raises(CannotServeError, match="cpu cannot run this program"):
        Runner(program)(x_seq)


def test_the_truth_can_be_asked_for():
    program = float_program()
    x_seq = inputs(2, 2, (3, 8, 8))
    with use("truth"):
        assert torch.equal(Runner(program)(x_seq), run_program(program, x_seq))
    with use("gpu"), pytest.raises(CannotServeError, match="no implementation 'gpu'"):
        Runner(program)(x_seq)


def test_an_input_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"expects \[T, N, 3, 8, 8\]"):
        Runner(float_program())(torch.zeros(4, 2, 3, 8, 7))


def test_activations_have_the_shapes_the_program_says():
    program = float_program()
    for value, shape in zip(
        activations(program, inputs(2, 1, (3, 8, 8))), program.shapes[1:], strict=True
    ):
        assert tuple(value.shape[2:]) == shape
