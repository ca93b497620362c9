"""Where numbers or sizes run out: NaN, infinity, streamed stores, threads in forked processes."""

import multiprocessing
import os
import subprocess
import sys

import pytest
import torch

from spikeloom.functional import NO_DECAY, alif, cuba_lif, li, lif
from spikeloom.kernels import explain, use
from spikeloom.kernels.cpu import library, neurons

pytestmark = pytest.mark.skipif(library.OPENED is None, reason=library.PROBLEM)
PAIRS = {"lif": lif, "alif": alif, "cuba_lif": cuba_lif, "li": li}
SPECIAL = (float("nan"), float("inf"), -float("inf"), 0.0, -0.0, 1e-45, 3e38, -3e38)


def equal_with_nan(ours, theirs):
    return torch.allclose(ours, theirs, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("memory", ["off", "low"])
@pytest.mark.parametrize("detach_reset", [False, True])
@pytest.mark.parametrize("reset", [("hard", 0.0), ("hard", -0.25), ("soft", 0.0), ("none", 0.0)])
@pytest.mark.parametrize("op", PAIRS)
def test_nan_and_infinity_spread_as_in_the_truth(op, reset, detach_reset, memory):
    options = {}
    if op != "li":
        options = {"reset": reset[0], "v_reset": reset[1], "detach_reset": detach_reset}
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randint(0, 3 * len(SPECIAL), (5, 300), generator=generator)
    special = torch.tensor(SPECIAL)[drawn % len(SPECIAL)]
    x = torch.where(drawn < len(SPECIAL), special, torch.randn(5, 300, generator=generator))

    def run(function):
        leaf = x.clone().requires_grad_()
        out, state = function(leaf, **options)
        (out[:, ::2].sum() + out[-1].sum()).backward()
        states = (state,) if op in ("lif", "li") else tuple(state)
        return out, *states, leaf.grad

    with use(memory=memory):
        got = run(getattr(neurons, op))
    for ours, theirs in zip(got, run(PAIRS[op]), strict=True):
        assert equal_with_nan(ours, theirs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("variant", ["avx512", "avx2", "baseline"])
@pytest.mark.parametrize("neurons_in_all", [(64, 16384), (1, 1048579)])
def test_sequences_beyond_the_cache(neurons_in_all, variant, dtype, fresh_memory_is_nan):
    library.variant(variant)
    x = torch.randn(5, *neurons_in_all).to(dtype)
    grad = torch.randn(x.shape).to(dtype)

    def run(function, dtype):
        leaf = x.to(dtype, copy=True).requires_grad_()
        out, v = function(leaf)
        out.backward(grad.to(dtype))
        return out.detach(), v.detach(), leaf.grad

    for memory in ("off", "low"):
        with use(memory=memory):
            got = run(neurons.lif, dtype)
        for ours, theirs in zip(got, run(lif, torch.float32), strict=True):
            assert torch.equal(ours, theirs.to(dtype))


def _in_child(queue, x_seq, threads):
    # Nothing of torch that would use its threads: after a fork they hang.
    torch.set_num_threads(threads)
    queue.put(float(neurons.lif(x_seq)[0].numpy().sum()))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # fork beside threads: what is tested
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("in_child", [1, 2])
def test_a_forked_process_computes_on_its_own_threads(threads, in_child):
    threads(2)
    x_seq = torch.full((4, 8, 8192), 0.75)
    want = float(neurons.lif(x_seq)[0].numpy().sum())
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_in_child, args=(queue, x_seq, in_child), daemon=True)
    child.start()
    assert queue.get(timeout=60) == want
    child.join(timeout=60)
    assert child.exitcode == 0


def test_own_threads_serve_where_torch_has_none(threads):
    code = """
import torch
from spikeloom.kernels.cpu import library, neurons
library.opened().spikeloom_use_openmp(None)
torch.set_num_threads(3)
x_seq = torch.randn(8, 16, 8192)
alone = None
for threads in (1, 3, 2):
    torch.set_num_threads(threads)
    for _ in range(5):
        out = neurons.lif(x_seq)[0]
        alone = out if alone is None else alone
        assert torch.equal(out, alone)
print("equal")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "equal", done.stderr


def test_without_the_library_the_truth_runs_and_says_why():
    code = """
import torch
from spikeloom.kernels import door, explain, pool_size, release
x_seq = torch.randn(4, 2, 3)
print(explain("lif", x_seq))
door("lif")(x_seq)
assert pool_size() == release() == 0
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False,
        env=os.environ | {"SPIKELOOM_KERNELS": "none"},
    )  # fmt: skip
    assert "lif: truth" in done.stdout, done.stderr
    assert "SPIKELOOM_KERNELS is 'none'" in done.stdout


def test_a_rounded_trace_keeps_spikes_and_bounds_the_gradient(fresh_memory_is_nan):
    x = 0.8 * torch.randn(16, 4000, generator=torch.Generator().manual_seed(0)) + 0.3
    grad = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))

    def run(memory, **options):
        leaf = x.clone().requires_grad_()
        with use("cpu", memory=memory):
            out, v = neurons.lif(leaf, **options)
            out.backward(grad)
        return out.detach(), v.detach(), leaf.grad

    for options in ({"detach_reset": True}, {}, {"reset": "soft"}, {"strict": True}):
        exact, near = run("off", **options), run("rounded", **options)
        assert torch.equal(exact[0], near[0])
        assert torch.equal(exact[1], near[1])
        error = (near[2] - exact[2]).norm() / exact[2].norm()
        assert 0 < error < 2**-8


@pytest.mark.parametrize("strict", [False, True])
def test_a_rounded_trace_never_turns_a_spike(strict):
    # Distances to the threshold that vanish in bfloat16; the reset shows what backward took for it.
    tiny = torch.tensor([0.0, -0.0, 1e-45, -1e-45, 1e-40, -1e-40, 1e-38, -1e-38])
    x = tiny.repeat(2, 4).requires_grad_()

    def slopes(memory):
        x.grad = None
        with use("cpu", memory=memory):
            out, _ = neurons.lif(x, decay=NO_DECAY, v_threshold=0.0, strict=strict)
            out.sum().backward()
        return x.grad.clone()

    assert torch.equal(slopes("rounded") == slopes("off"), torch.ones_like(x, dtype=torch.bool))


def test_explain_tells_the_instruction_set():
    library.variant("baseline")
    assert explain("lif", torch.randn(2, 3)).startswith("lif: cpu (baseline")
