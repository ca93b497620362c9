"""The recurrent kernel against the truth.

Exact lane: inputs and weights on a dyadic grid, so that sums round nowhere, in whatever order: all
must agree to the bit. Random lane: the kernel adds up what a neuron hears in another order, so a
spike may differ where the potential lies within rounding of the threshold, and from there on the
runs part. So its spikes are checked step by step against float64 potentials that follow *its own*
spikes; where no spike differs, states and gradients must agree within rounding.
"""

import ctypes

import pytest
import torch
from torch import library

from spikeloom.functional import Decay
from spikeloom.functional import recurrent_lif as truth
from spikeloom.functional.neurons.lif import after_reset, charge
from spikeloom.kernels import door, explain, use
from spikeloom.kernels.cpu import native
from spikeloom.kernels.cpu.recurrence import Recurrent
from spikeloom.kernels.cpu.recurrent import recurrent_lif as fast
from tests.kernels.cases import DYADIC, SMOOTH, SPIKING, Draw, covering
from tests.kernels.test_equality import near

pytestmark = [
    pytest.mark.skipif(native.OPENED is None, reason=native.PROBLEM),
    pytest.mark.usefixtures("fresh_memory_is_nan"),
]
SHAPES = {
    "one": (1, 1, 1), "one step": (1, 3, 37), "one sample": (6, 1, 21), "odd": (5, 3, 13),
    "word": (4, 7, 64), "beyond a panel": (3, 9, 133), "every second step": (4, 3, 21),
    "samples last": (4, 5, 6), "constant": (5, 3, 10), "empty batch": (4, 0, 3),
    "shared": (6, 66, 90),
}  # fmt: skip
VALUES = ("number", "scalar", "channel", "all")
OPTIONS = SPIKING | {
    "shape": tuple(SHAPES),
    "keep": VALUES,
    "v_threshold": VALUES,
    "decay_input": (False, True),
    "state": (None, "given", "learnt"),
    "loss": ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1), "sum"),
    "frozen": ((), ("weight",), ("x",)),
    "memory": ("auto", "low", "rounded"),
    "threads": (1, 2),
    "variant": ("avx512", "avx2", "baseline"),
}
LIMIT = 1e-5  # of the potential that a sum in another order may move


def rows_of(lane):
    return covering(OPTIONS | {"surrogate": DYADIC if lane == "exact" else SMOOTH + DYADIC}, seed=1)


def sequence(draw, name):
    T, N, C = SHAPES[name]
    T = min(T, 2) if draw.exact else T
    if name == "every second step":
        return draw.leaf("x", draw.numbers((2 * T, N, C)))[::2]
    if name == "samples last":
        return draw.leaf("x", draw.numbers((T, C, N))).transpose(1, 2)
    if name == "constant":
        return draw.leaf("x", draw.numbers((N, C))).expand(T, N, C)
    return draw.leaf("x", draw.numbers((T, N, C)))


def arguments(row, exact, seed):
    draw = Draw(exact, torch.float32, torch.Generator().manual_seed(seed))
    x_seq = sequence(draw, row["shape"])
    step, channels = tuple(x_seq.shape[1:]), x_seq.shape[2]
    weight = draw.numbers((channels, channels), channels**-0.5, 0.0)
    options = {"weight": draw.leaf("weight", weight)}
    state = None
    if row["state"]:
        state = [draw.numbers(step, 0.5, 0.0) for _ in range(2)]
        if row["state"] == "learnt":
            state = [draw.leaf(f"state {k}", part) for k, part in enumerate(state)]
    keep = draw.value("keep", row["keep"], step, 0.3, 0.95)
    options["decay"] = Decay(keep, row["decay_input"])
    options["v_threshold"] = draw.value("v_threshold", row["v_threshold"], step, 0.5, 1.2)
    options["reset"], options["v_reset"] = row["reset"]
    options |= {name: row[name] for name in ("detach_reset", "strict", "surrogate")}
    for name in row["frozen"]:
        draw.leaves.pop(name).requires_grad_(False)
    return draw, (x_seq.detach() if "x" in row["frozen"] else x_seq), state, options


def outcome(run, row, exact, seed):
    draw, x_seq, state, options = arguments(row, exact, seed)
    out, after = run(x_seq, state, **options)
    parts = (out, *after)
    incoming = Draw(exact, torch.float32, torch.Generator().manual_seed(seed + 1))
    weights = [incoming.numbers(tuple(part.shape), 1.0, 0.0) for part in parts]
    chosen = (0, 0, 0) if row["loss"] == "sum" else row["loss"]
    total = sum((p * w).sum() for p, w, c in zip(parts, weights, chosen, strict=True) if c)
    total = out.sum() if row["loss"] == "sum" else total
    found = {}
    if total.requires_grad:
        leaves = list(draw.leaves.values())
        found = dict(
            zip(draw.leaves, torch.autograd.grad(total, leaves, allow_unused=True), strict=True)
        )
    return [part.detach() for part in parts], found


def follows(spikes, row, seed):
    """Whether every spike is right for the float64 potential to which the spikes before it led."""
    _, x_seq, state, options = arguments(row, False, seed)
    wide = [part.detach().double() for part in state or (torch.zeros_like(x_seq[0]),) * 2]
    v, spike = wide
    rest = options["v_reset"] if options["reset"] == "hard" else 0.0
    if state is None:
        v = torch.full_like(v, rest)
    threshold = torch.as_tensor(options["v_threshold"]).detach().double()
    for x, s in zip(x_seq.detach().double(), spikes.double(), strict=True):
        h = charge(x + spike @ options["weight"].detach().double().t(), v, options["decay"], rest)
        fires = h > threshold if options["strict"] else h >= threshold
        if ((fires != s.bool()) & ((h - threshold).abs() > LIMIT * (1 + h.abs()))).any():
            return False
        v = after_reset(h, s, threshold, options["reset"], options["v_reset"], True).detach()
        spike = s
    return True


@pytest.mark.parametrize("part", range(4))
@pytest.mark.parametrize("lane", ["exact", "random"])
def test_equals_the_truth(lane, part, threads):
    parted = 0
    for seed, row in enumerate(rows_of(lane)[part::4]):
        threads(row["threads"])
        native.variant(row["variant"])
        want, want_grads = outcome(truth, row, lane == "exact", seed)
        with use(memory=row["memory"]):
            got, got_grads = outcome(fast, row, lane == "exact", seed)
        try:
            assert torch.equal(got[2], got[0][-1]), "last spikes"
            assert lane == "exact" or follows(got[0], row, seed), "spikes"
            if lane == "random" and not torch.equal(got[0], want[0]):
                parted += 1
                continue
            compare(got, got_grads, want, want_grads, lane)
        except AssertionError as error:
            raise AssertionError(f"row {row}, seed {seed}: {error}") from error
    assert parted <= 2, "spikes within rounding of the threshold are rare"


def compare(got, got_grads, want, want_grads, lane):
    assert torch.equal(got[0], want[0]), "spikes"
    if lane == "exact":
        assert torch.equal(got[1], want[1]), "potential"
    near(got[1], want[1], "potential", torch.float32)
    for leaf, theirs in want_grads.items():
        ours = got_grads[leaf]
        if ours is None or theirs is None:
            assert not any(g is not None and g.count_nonzero() for g in (ours, theirs)), leaf
        elif lane == "exact":
            assert torch.equal(ours, theirs), f"gradient of {leaf}"
        else:
            near(ours, theirs, leaf, torch.float32)


@pytest.mark.parametrize("rate", [0.0, 0.05, 0.5, 1.0])
def test_few_and_many_spikes_take_different_ways_to_the_same_result(rate, threads):
    x_seq = torch.where(torch.rand(6, 40, 150) < rate, 8.0, -8.0)
    weight = torch.randint(-4, 5, (150, 150)) / 64

    def run(function):
        leaves = [x_seq.clone().requires_grad_(), weight.clone().requires_grad_()]
        out, (v, _) = function(leaves[0], weight=leaves[1])
        (out.sum() + v.sum()).backward()
        return out.detach(), v.detach(), *(leaf.grad for leaf in leaves)

    for ours, theirs in zip(run(fast), run(truth), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_the_number_of_threads_changes_no_spike_and_no_gradient_of_weights(threads):
    x_seq, grad = torch.randn(40, 100, 70), torch.randn(40, 100, 70)  # enough for threads
    weight = torch.randn(70, 70) / 8
    found = []
    for count in (1, 2, 3):
        threads(count)
        leaves = [x_seq.clone().requires_grad_(), weight.clone().requires_grad_()]
        out, _ = fast(leaves[0], weight=leaves[1])
        out.backward(grad)
        found.append((out.detach(), *(leaf.grad for leaf in leaves)))
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


@pytest.mark.parametrize("memory", ["auto", "low"])
@pytest.mark.parametrize("where", ["input", "weight"])
@pytest.mark.parametrize("reset", ["hard", "soft"])
def test_nan_and_infinity_spread_as_in_the_truth(where, reset, memory):
    x_seq, weight = torch.randn(5, 4, 20), torch.randn(20, 20) / 4
    spoilt = x_seq if where == "input" else weight
    spoilt.view(-1)[[3, 77, 150]] = torch.tensor([float("nan"), float("inf"), -float("inf")])

    def run(function):
        leaves = [x_seq.clone().requires_grad_(), weight.clone().requires_grad_()]
        out, (v, _) = function(leaves[0], weight=leaves[1], reset=reset)
        (out[:, ::2].sum() + v.sum()).backward()
        return out.detach(), v.detach(), *(leaf.grad for leaf in leaves)

    with use(memory=memory):
        got = run(fast)
    for ours, theirs in zip(got, run(truth), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5, equal_nan=True)


X, W = torch.randn(3, 2, 4), torch.randn(4, 4)


@pytest.mark.parametrize(
    ("x_seq", "options", "reason"),
    [
        (X.bfloat16(), {"weight": W.bfloat16()}, "bfloat16, not float32"),
        (X.double(), {"weight": W.double()}, "float64"),
        (X[..., None], {"weight": W}, r"not \[T, N, C\]"),
        (X, {"weight": W.double()}, "weight is torch.float64"),
        (X, {"weight": W[:3]}, "does not fit"),
        (X, {"weight": W, "v_threshold": torch.ones(3)}, "does not broadcast"),
    ],
)
def test_what_the_kernel_cannot_do_is_refused(x_seq, options, reason):
    with use("cpu"), pytest.raises(ValueError, match=reason):
        door("recurrent_lif")(x_seq, **options)


def test_autocast_is_left_to_the_truth():
    with torch.autocast("cpu", torch.bfloat16):
        assert "not cpu: autocast is on" in explain("recurrent_lif", X, weight=W)
    assert explain("recurrent_lif", X, weight=W).startswith("recurrent_lif: cpu (")


CHECKS = (
    "test_schema", "test_autograd_registration", "test_faketensor", "test_aot_dispatch_static",
)  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("trace", [0, 1])
@pytest.mark.parametrize("learnt", [False, True])
def test_registration(learnt, trace):
    from spikeloom.kernels.cpu.ops import Numbers, Options

    x_seq, weight = torch.randn(4, 3, 5).requires_grad_(), torch.randn(5, 5).requires_grad_()
    state = [torch.randn(3, 5).requires_grad_() if learnt else None for _ in range(2)]
    keep = torch.full((5,), 0.5, requires_grad=True) if learnt else None
    numbers = Numbers(0.5, 1.0, 0.0, 1.0, 1.0, alpha=2.0, slope=2.0)
    operator = torch.ops.spikeloom.recurrent_lif.default
    rest = keep, None, list(numbers), list(Options(trace=trace))
    library.opcheck(operator, (x_seq, *state, weight, *rest), test_utils=CHECKS)


@pytest.mark.filterwarnings("ignore")
def test_compiles_into_one_graph_with_the_same_gradients():
    x_seq, weight = torch.randn(4, 3, 5), torch.randn(5, 5).requires_grad_()

    def run(x_seq):
        return door("recurrent_lif")(x_seq, weight=weight)[0]

    compiled = torch.compile(run, fullgraph=True, backend="aot_eager")
    want, got = run(x_seq), compiled(x_seq)
    assert torch.equal(got, want)
    (ours,) = torch.autograd.grad(got.square().sum(), weight)
    (theirs,) = torch.autograd.grad(want.square().sum(), weight)
    torch.testing.assert_close(ours, theirs)


def test_a_second_derivative_is_refused():
    weight = W.clone().requires_grad_()
    out, _ = fast(X, weight=weight)
    with pytest.raises(RuntimeError, match="no second derivative"):
        torch.autograd.grad(out.sum(), weight, create_graph=True)


@pytest.mark.parametrize(("memory", "kept"), [("auto", 4), ("low", 0)])
def test_spikes_are_never_kept(memory, kept):
    x_seq, weight = torch.randn(8, 4, 16, requires_grad=True), torch.randn(16, 16)
    weight.requires_grad_()
    found = {}

    def note(tensor):
        storage = tensor.untyped_storage()
        found[storage.data_ptr()] = storage.nbytes()
        return tensor

    with use("cpu", memory=memory), torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
        fast(x_seq, weight=weight)
    for given in (x_seq, weight):
        found.pop(given.untyped_storage().data_ptr(), None)
    assert sum(found.values()) == kept * x_seq.numel()


def test_the_structure_is_as_large_as_the_library_expects():
    assert native.opened().spikeloom_recurrent_size() == ctypes.sizeof(Recurrent)
