"""The fast linear map against the truth.

The sums have another order, so the random lane allows what rounding can do: each of K terms may be
off by half a unit in the last place of the sum of their sizes. On a dyadic grid nothing rounds and
all must agree to the bit.
"""

import pytest
import torch

from spikeloom.functional import linear as truth
from spikeloom.kernels import door, explain, use
from spikeloom.kernels.cpu import linear, native
from spikeloom.layers import Linear

pytestmark = [
    pytest.mark.skipif(native.OPENED is None, reason=native.PROBLEM),
    pytest.mark.usefixtures("fresh_memory_is_nan"),
]
SIZES = {
    "one": (1, 1, 1, 1), "odd": (5, 3, 13, 7), "word": (4, 4, 64, 64),
    "many inputs": (3, 5, 1100, 9), "many rows": (40, 33, 70, 30), "many outputs": (3, 5, 21, 530),
    "empty": (3, 0, 7, 5),
}  # fmt: skip
INPUTS = ("none", "sparse", "dense", "numbers")
EPSILON = 2.0**-24


@pytest.fixture(autouse=True)
def even_the_smallest(monkeypatch):
    monkeypatch.setattr(linear, "SMALL", 0)


@pytest.fixture(params=[False, True], ids=["as torch", "onednn"])
def dense_by(request, monkeypatch):
    if request.param and not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        pytest.skip("torch was built without oneDNN")
    monkeypatch.setattr(linear, "ONEDNN", request.param)


def draw(size, kind, exact, seed=0):
    T, N, K, M = SIZES[size]
    generator = torch.Generator().manual_seed(seed)

    def numbers(*shape):
        if exact:
            return torch.randint(-8, 9, shape, generator=generator) / 4
        return torch.randn(shape, generator=generator)

    x = numbers(T, N, K)
    if kind != "numbers":
        share = {"none": 0.0, "sparse": 0.1, "dense": 0.6}[kind]
        x = (torch.rand(x.shape, generator=generator) < share).float()
    return x, numbers(M, K), numbers(M), numbers(T, N, M)


def outcome(run, x, weight, bias, grad):
    leaves = [None if t is None else t.clone().requires_grad_() for t in (x, weight, bias)]
    y = run(*leaves)
    found = torch.autograd.grad(y, [leaf for leaf in leaves if leaf is not None], grad)
    return y.detach(), *found


def sizes_of_sums(x, weight, bias, grad):
    """Sums of the sizes of the terms, and their number, for the output and every gradient."""
    K, M = weight.shape[::-1]
    rows = x.numel() // K
    counts = (K + 1, M, rows) if bias is None else (K + 1, M, rows, rows)
    given = (None if t is None else t.abs() for t in (x, weight, bias))
    return zip(counts, outcome(truth, *given, grad.abs()), strict=True)


@pytest.mark.parametrize("memory", ["auto", "low"])
@pytest.mark.parametrize("exact", [True, False], ids=["exact", "random"])
@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize("size", SIZES)
def test_equals_the_truth(size, kind, exact, memory, dense_by, threads):
    for number, variant in enumerate(("avx512", "avx2", "baseline")):
        native.variant(variant)
        threads(1 + number % 2)
        given = draw(size, kind, exact, seed=number)
        if number == 2:
            given = (*given[:2], None, given[3])
        with use("cpu", memory=memory):
            got = outcome(door("linear"), *given)
        want = outcome(truth, *given)
        if exact:
            assert all(torch.equal(a, b) for a, b in zip(got, want, strict=True))
            continue
        for ours, theirs, (count, size_of) in zip(got, want, sizes_of_sums(*given), strict=True):
            assert ((ours - theirs).abs() <= 2 * count * EPSILON * size_of).all()


@pytest.mark.parametrize("kind", ["sparse", "numbers"])
def test_layouts_of_the_inputs_do_not_matter(kind):
    x, weight, bias, _ = draw("odd", kind, exact=True)
    x, weight = x.repeat(1, 1, 5), weight.repeat(1, 5)
    want = truth(x, weight, bias)
    for laid in (x.transpose(0, 1).contiguous().transpose(0, 1), x.mT.contiguous().mT):
        for turned in (weight, weight.t().contiguous().t(), weight.repeat(1, 2)[:, : x.shape[2]]):
            assert torch.equal(linear.linear(laid, turned, bias), want)
    assert torch.equal(
        linear.linear(x[:1].expand(4, -1, -1), weight), truth(x[:1], weight).expand(4, -1, -1)
    )
    for shape in ((x.shape[2],), (3, x.shape[2]), (2, 1, 2, x.shape[2])):
        flat = x.flatten()[: torch.Size(shape).numel()].view(shape)
        assert torch.equal(linear.linear(flat, weight, bias), truth(flat, weight, bias))


@pytest.mark.parametrize("wanted", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 1, 1)])
@pytest.mark.parametrize("kind", ["sparse", "dense"])
def test_only_what_is_wanted_gets_a_gradient(kind, wanted):
    x, weight, bias, grad = draw("odd", kind, exact=True)
    found = []
    for run in (linear.linear, truth):
        leaves = [
            t.clone().requires_grad_(bool(w))
            for t, w in zip((x, weight, bias), wanted, strict=True)
        ]
        run(*leaves).backward(grad)
        found.append([leaf.grad for leaf in leaves])
    for ours, theirs in zip(*found, strict=True):
        assert (ours is None) == (theirs is None)
        assert ours is None or torch.equal(ours, theirs)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("where", ["x", "weight", "grad"])
def test_nan_and_infinity_spread_as_in_the_truth(where, number):
    given = list(draw("many rows", "sparse", exact=False))
    given[["x", "weight", "_", "grad"].index(where)].view(-1)[100] = number
    got, want = outcome(linear.linear, *given), outcome(truth, *given)
    for ours, theirs in zip(got, want, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4, equal_nan=True)


@pytest.mark.parametrize(("kind", "memory", "bits"), [
    ("sparse", "auto", True), ("sparse", "off", True), ("dense", "auto", False),
    ("dense", "low", True), ("numbers", "low", False),
])  # fmt: skip
def test_spikes_are_kept_as_bits(kind, memory, bits):
    x, weight, bias, _ = draw("many rows", kind, exact=False)
    weight.requires_grad_()
    kept = []
    hooks = torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t)
    with use("cpu", memory=memory), hooks:
        door("linear")(x, weight, bias)
    (only,) = (tensor for tensor in kept if tensor is not weight)
    assert (only.dtype == torch.int64) == bits
    assert bits == (only.data_ptr() != x.data_ptr())


def test_sums_do_not_depend_on_the_number_of_threads(threads):
    x, weight, bias, grad = draw("many rows", "sparse", exact=False)
    x, grad = x.repeat(30, 1, 1), grad.repeat(30, 1, 1)
    found = []
    for count in (1, 2, 3):
        threads(count)
        leaf = weight.clone().requires_grad_()
        y = linear.linear(x, leaf, bias)
        y.backward(grad)
        found.append((y.detach(), leaf.grad))
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


X, W = torch.ones(2, 3), torch.ones(4, 3)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ((X.double(), W.double()), "x_seq is torch.float64"),
        ((X, W.bfloat16()), "weight is torch.bfloat16"),
        ((X, W.t()), "does not fit"),
        ((X, W, torch.ones(3)), "bias .* does not fit"),
        ((X.to("meta"), W.to("meta")), "on meta"),
    ],
)
def test_what_the_kernel_cannot_do_is_refused(given, reason):
    with use("cpu"), pytest.raises(ValueError, match=reason):
        door("linear")(*given)


def test_autocast_transforms_and_compilers_get_the_truth():
    with torch.autocast("cpu", torch.bfloat16):
        assert "not cpu: autocast is on" in explain("linear", X, W)
        assert door("linear")(X, W).dtype == torch.bfloat16
    assert torch.equal(torch.func.vmap(lambda x: door("linear")(x, W))(X), truth(X, W))
    model = Linear(3, 4)
    exported = torch.export.export(model, (X,))
    assert "linear" in exported.graph_module.code
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(X), model(X))


def test_a_second_derivative_is_refused():
    weight = W.clone().requires_grad_()
    with pytest.raises(RuntimeError, match="no second derivative"):
        torch.autograd.grad(linear.linear(X, weight).sum(), weight, create_graph=True)


def test_the_layer_is_that_of_torch():
    ours, theirs = Linear(3, 4), torch.nn.Linear(3, 4)
    ours.load_state_dict(theirs.state_dict())
    torch.testing.assert_close(ours(X), theirs(X))


def test_a_small_product_is_torchs_own(monkeypatch):
    monkeypatch.setattr(linear, "SMALL", 1 << 22)
    x, weight, bias, _ = draw("odd", "numbers", exact=False)
    assert torch.equal(linear.linear(x, weight, bias), truth(x, weight, bias))
