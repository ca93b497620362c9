"""Batch norm and LIF in one against the two truths one after the other.

In the exact lane the values of a channel are its mean plus or minus 2, half of each, eps is 12 and
counts are powers of two: nothing rounds and all must agree to the bit. In the random lane the
statistics are summed in another order, so a spike may turn where the potential is near
the threshold (such rows are counted, and their other results not compared), and a slope that jumps
would jump elsewhere.
"""

import ctypes

import pytest
import torch
from torch import library

from spikeloom.functional import Decay, batch_norm, bn_lif, lif, lif_trace
from spikeloom.kernels import CannotServeError, door, explain, use
from spikeloom.kernels.cpu import native, norm_ops, norms
from tests.kernels.cases import DYADIC, SMOOTH, SPIKING, Draw, covering
from tests.kernels.test_equality import near

pytestmark = pytest.mark.usefixtures("fresh_memory_is_nan")

EXACT = {
    "image": (2, 2, 5, 4, 4),
    "channels last": (2, 1, 20, 8, 8),
    "one step": (1, 4, 17, 4, 4),
    "flat": (2, 4, 37),
    "constant": (2, 4, 3, 4, 8),
}
RANDOM = {
    "image": (3, 2, 5, 3, 7),
    "channels last": (4, 3, 20, 5, 7),
    "wide": (3, 2, 131, 3, 3),
    "one step": (1, 3, 17, 4, 5),
    "one sample": (5, 1, 64, 2, 3),
    "flat": (5, 6, 37),
    "one channel": (4, 3, 1, 5, 5),
    "constant": (4, 3, 6, 5, 5),
    "every second step": (4, 3, 21, 2, 2),
    "gaps": (4, 3, 6, 4, 5),
    "empty batch": (4, 0, 3, 5, 5),
    "shared": (4, 3, 37, 19, 21),  # enough for two threads and several blocks
}
KINDS = ("number", "scalar", "channel", "neuron", "all")
OPTIONS = SPIKING | {
    "v_threshold": KINDS,
    "keep": KINDS,
    "decay_input": (False, True),
    "dtype": (torch.float32, torch.bfloat16),
    "training": (True, False),
    "affine": ("both", "weight", "none"),
    "state": (None, "given", "learnt"),
    "loss": ("spikes", "state", "both", "sum"),
    "threads": (1, 2),
    "variant": ("avx512", "avx2", "baseline"),
}


def sequence(draw, name, shape):
    """The norm's input in the layout that its shape is named for; a leaf."""
    T, N, C, *space = shape
    if draw.exact:
        half = torch.tensor([2.0, -2.0]).repeat(N * torch.Size(space).numel() * T // 2)
        if name == "constant":
            half = half[: len(half) // T]
        drawn = [half[torch.randperm(len(half), generator=draw.generator)] for _ in range(C)]
        x = torch.stack(drawn, 1).reshape(-1, N, *space, C).movedim(-1, 2)
        x = (x + torch.arange(C).sub(C // 2).view(C, *(1 for _ in space))).to(draw.dtype)
        x = x.contiguous()
    else:
        length = 1 if name == "constant" else 2 * T if name == "every second step" else T
        x = draw.numbers((length, *shape[1:]), shift=1.5)
    if name in ("channels last", "shared", "wide"):
        x = x.flatten(0, 1).contiguous(memory_format=torch.channels_last).view(shape)
    x = draw.leaf("x", x)
    if name == "constant":
        return x[0].expand(shape)
    if name == "every second step":
        return x[::2]
    return x[..., :-1] if name == "gaps" else x


def arguments(row, draw, shapes):
    x_seq = sequence(draw, row["shape"], shapes[row["shape"]])
    step, C = tuple(x_seq.shape[1:]), x_seq.shape[2]
    dtype, draw.dtype = draw.dtype, torch.float32
    weight = draw.leaf("weight", draw.numbers((C,), 1.0, 1.0)) if row["affine"] != "none" else None
    bias = draw.leaf("bias", draw.numbers((C,), 1.0)) if row["affine"] == "both" else None
    mean, var = draw.numbers((C,)), torch.full((C,), 4.0)
    draw.dtype = dtype
    v = draw.numbers(step, 0.5, 0.0) if row["state"] else None
    if row["state"] == "learnt":
        draw.leaf("v", v)
    options = {
        "training": row["training"],
        "eps": 12.0 if draw.exact else 1e-5,
        "momentum": 0.25,
        "decay": Decay(draw.value("keep", row["keep"], step, 0.3, 0.95), row["decay_input"]),
        "v_threshold": draw.value("v_threshold", row["v_threshold"], step, 0.5, 1.2),
        "reset": row["reset"][0],
        "v_reset": row["reset"][1],
    }
    options |= {name: row[name] for name in ("detach_reset", "strict", "surrogate")}
    return (x_seq, weight, bias, mean, var, v), options


def outcome(run, row, exact, seed, dtype, shapes):
    """Spikes, potential, running statistics and gradients, from inputs of the row's dtype."""
    draw = Draw(exact, row["dtype"], torch.Generator().manual_seed(seed))
    (x_seq, *affine, mean, var, v), options = arguments(row, draw, shapes)
    x_seq, v = x_seq.to(dtype), None if v is None else v.to(dtype)
    out, v_end = run(x_seq, *affine, mean, var, v, **options)
    incoming = Draw(exact, row["dtype"], torch.Generator().manual_seed(seed + 1))
    g_out, g_v = (incoming.numbers(tuple(p.shape), 1.0, 0.0).to(dtype) for p in (out, v_end))
    total = out.sum() if row["loss"] == "sum" else 0.0
    total = total + (out * g_out).sum() if row["loss"] in ("spikes", "both") else total
    total = total + (v_end * g_v).sum() if row["loss"] in ("state", "both") else total
    leaves = list(draw.leaves)
    found = torch.autograd.grad(total, [draw.leaves[k] for k in leaves], allow_unused=True)
    return (out.detach(), v_end.detach(), mean, var), dict(zip(leaves, found, strict=True))


def margins(x_seq, weight, bias, mean, var, v=None, *, training, momentum, eps, **options):
    """How near every neuron comes to its threshold at its nearest step."""
    y_seq = batch_norm(
        x_seq, weight, bias, mean, var, training=training, momentum=momentum, eps=eps
    )
    u = lif_trace(y_seq, v, **options).h_seq - options["v_threshold"]
    return u.abs().amin(0), torch.zeros(())


def near_the_threshold(row, seed, turned):
    draw = Draw(False, row["dtype"], torch.Generator().manual_seed(seed))
    (x_seq, *rest, v), options = arguments(row, draw, RANDOM)
    with torch.no_grad():
        v = None if v is None else v.float()
        distance, _ = margins(x_seq.float(), *rest, v, **options)
    return bool((distance[turned.any(0)] < 1e-4).all())


@pytest.mark.parametrize("part", range(4))
@pytest.mark.parametrize("lane", ["exact", "random"])
def test_equals_norm_then_neurons(lane, part, threads):
    exact = lane == "exact"
    shapes = EXACT if exact else RANDOM
    options = {"shape": tuple(shapes), "surrogate": DYADIC if exact else SMOOTH}
    skipped, rows = 0, covering(OPTIONS | options, seed=3)[part::4]
    for seed, row in enumerate(rows):
        if row["shape"] == "empty batch" and row["loss"] != "both":
            continue
        threads(row["threads"])
        native.variant(row["variant"])
        want, want_grads = outcome(bn_lif, row, exact, seed, torch.float32, shapes)
        got, grads = outcome(norms.bn_lif, row, exact, seed, row["dtype"], shapes)
        try:
            assert got[0].dtype == got[1].dtype == row["dtype"]
            turned = got[0].float() != want[0]
            if exact:
                assert not turned.any()
            elif turned.any():
                assert near_the_threshold(row, seed, turned)
                skipped += 1
                continue
            compare(got, grads, want, want_grads, exact, row)
        except AssertionError as error:
            raise AssertionError(f"row {row}, seed {seed}: {error}") from error
    assert skipped <= len(rows) // 20


def compare(got, grads, want, want_grads, exact, row):
    dtype, surrogate = row["dtype"], row["surrogate"]
    steepness = surrogate.alpha * getattr(surrogate, "b", 1.0)
    for name, ours, theirs in zip(("v", "mean", "var"), got[1:], want[1:], strict=True):
        if exact and name != "var":  # the running variance is unbiased: n / (n - 1) rounds
            assert torch.equal(ours, theirs.to(ours.dtype)), name
        else:
            near(ours, theirs, name, ours.dtype)
    for leaf, theirs in want_grads.items():
        ours = grads[leaf]
        if ours is None or theirs is None:
            assert not any(g is not None and g.count_nonzero() for g in (ours, theirs)), leaf
        elif exact and dtype == torch.float32:
            assert torch.equal(ours, theirs), f"gradient of {leaf}"
        else:
            terms = want_grads["x"].numel() / max(1, theirs.numel())
            near(ours, theirs, leaf, dtype, steepness, terms)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("special", [float("nan"), float("inf"), -float("inf"), 3e38])
def test_nan_and_infinity_stay_in_their_channel(special, training):
    def run(function):
        torch.manual_seed(0)
        x = torch.randn(4, 2, 5, 3, 3)
        x[1, 1, 2, 0, 1] = special
        x.requires_grad_()
        values = torch.ones(5, requires_grad=True), torch.zeros(5, requires_grad=True)
        statistics = torch.zeros(5), torch.ones(5)
        out, v = function(x, *values, *statistics, training=training)
        (out.sum() + v.sum()).backward()
        return out, v, x.grad, *(value.grad for value in values), *statistics

    for ours, theirs in zip(run(norms.bn_lif), run(bn_lif), strict=True):
        torch.testing.assert_close(ours, theirs, equal_nan=True, rtol=1e-4, atol=1e-4)


def test_results_do_not_depend_on_threads(threads):
    x_seq = torch.randn(4, 8, 24, 16, 16)

    def run():
        x, weight = x_seq.clone().requires_grad_(), torch.ones(24, requires_grad=True)
        out, v = norms.bn_lif(x, weight, None, torch.zeros(24), torch.ones(24), training=True)
        (out.sum() + v.square().sum()).backward()
        return out, v, x.grad, weight.grad

    threads(1)
    alone = run()
    for number in (2, 3):
        threads(number)
        for ours, theirs in zip(run(), alone, strict=True):
            assert torch.equal(ours, theirs)


def test_a_mean_far_above_the_spread_loses_no_digits():
    x_seq = 1000 + 0.01 * torch.randn(4, 8, 3, 9, 9, dtype=torch.float64)
    mean, var = torch.zeros(3), torch.zeros(3)
    norms.bn_lif(x_seq.float(), None, None, mean, var, training=True, momentum=1.0)
    exact = x_seq.float().double().transpose(0, 2).flatten(1)
    torch.testing.assert_close(mean, exact.mean(1).float())
    torch.testing.assert_close(var, exact.var(1).float(), rtol=1e-4, atol=0)


def test_only_what_is_asked_for_gets_a_gradient():
    weight, bias = torch.ones(3, requires_grad=True), torch.zeros(3)
    statistics = torch.zeros(3), torch.ones(3)
    out, _ = norms.bn_lif(torch.randn(4, 2, 3, 5, 5), weight, bias, *statistics, training=True)
    out.sum().backward()
    assert weight.grad.any()
    with torch.no_grad():
        out, _ = norms.bn_lif(torch.randn(4, 2, 3), weight, bias, *statistics, training=True)
    assert not out.requires_grad


def test_only_the_input_is_kept_for_the_backward():
    x_seq = torch.randn(4, 8, 16, 8, 8, requires_grad=True)
    kept = []

    def note(tensor):
        kept.append(tensor.numel() if tensor is not x_seq else 0)
        return tensor

    values = torch.ones(16, requires_grad=True), torch.zeros(16, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        norms.bn_lif(x_seq, *values, torch.zeros(16), torch.ones(16), training=True)
    assert sum(kept) <= 5 * 16


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"x_seq": torch.randn(3, 2, 4).double()}, "float64"),
        ({"x_seq": torch.randn(3, 4)}, "no sequence"),
        ({"weight": torch.ones(5)}, r"weight is not \[4\]"),
        ({"bias": torch.ones(4).double()}, "bias is torch.float64"),
        ({"running_mean": None}, "running_mean is not"),
        ({"momentum": None}, "plain means"),
        ({"x_seq": torch.randn(1, 1, 4)}, "one value per channel"),
    ],
)
def test_what_the_kernel_cannot_do_is_refused(change, reason):
    given = {
        "x_seq": torch.randn(3, 2, 4), "weight": torch.ones(4), "bias": torch.zeros(4),
        "running_mean": torch.zeros(4), "running_var": torch.ones(4), "training": True,
    } | change  # fmt: skip
    with use("cpu"), pytest.raises(CannotServeError, match=reason):
        door("bn_lif")(**given)
    assert explain("bn_lif", **given).startswith("bn_lif: truth")


def test_the_structure_has_the_size_that_the_library_expects():
    assert native.OPENED.spikeloom_norm_size() == ctypes.sizeof(norm_ops.NormCall)


def test_a_second_derivative_is_refused():
    x_seq = torch.randn(3, 2, 4, requires_grad=True)
    out, _ = norms.bn_lif(x_seq, None, None, torch.zeros(4), torch.ones(4), training=True)
    with pytest.raises(RuntimeError, match="no second derivative"):
        torch.autograd.grad(out.sum(), x_seq, create_graph=True)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("learnt", [False, True])
def test_registration(training, learnt):
    def values(number):
        return torch.full((5,), number, requires_grad=True)

    keep = torch.full((5, 1), 0.5, requires_grad=True) if learnt else None
    threshold = torch.tensor(1.0, requires_grad=True) if learnt else None
    statistics = (None, None) if training else (torch.zeros(5), torch.ones(5))
    tensors = torch.randn(4, 3, 5, 2, requires_grad=True), torch.randn(3, 5, 2, requires_grad=True)
    numbers = norm_ops.Numbers(0.5, 0.5, threshold=1.0, alpha=2.0, slope=2.0)
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    library.opcheck(
        torch.ops.spikeloom.bn_lif.default,
        (
            *tensors, values(1.5), values(0.5), keep, threshold, *statistics,
            list(numbers), list(norm_ops.Options()), 1e-5,
        ),
        test_utils=(*checks, "test_aot_dispatch_static"),
    )  # fmt: skip


def test_the_pieces_through_their_own_kernels_give_the_same():
    x_seq, grad = torch.randn(4, 3, 8, 6, 6), torch.randn(4, 3, 8, 6, 6)

    def run(function):
        x = x_seq.clone().requires_grad_()
        out, v = function(x, None, None, torch.zeros(8), torch.ones(8))
        out.backward(grad)
        return out.detach(), v.detach(), x.grad

    def pieces(*given):
        return lif(batch_norm(*given, training=True))

    def whole(*given):
        return norms.bn_lif(*given, training=True)

    for ours, theirs in zip(run(whole), run(pieces), strict=True):
        torch.testing.assert_close(ours, theirs)
