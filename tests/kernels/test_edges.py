"""Where numbers or sizes run out: NaN, infinity, streamed stores, threads in forked processes."""

import multiprocessing
import os
import subprocess
import sys
import threading

import pytest
import torch

from spikeloom.functional import NO_DECAY, alif, cuba_lif, li, lif, ternary_lif
from spikeloom.kernels import current, door, explain, use
from spikeloom.kernels.cpu import native, neurons, ops

pytestmark = pytest.mark.skipif(native.OPENED is None, reason=native.PROBLEM)
PAIRS = {"lif": lif, "alif": alif, "cuba_lif": cuba_lif, "li": li, "ternary_lif": ternary_lif}
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
        states = (state,) if isinstance(state, torch.Tensor) else tuple(state)
        return out, *states, leaf.grad

    with use(memory=memory):
        got = run(getattr(neurons, op))
    for ours, theirs in zip(got, run(PAIRS[op]), strict=True):
        assert equal_with_nan(ours, theirs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("variant", ["avx512", "avx2", "baseline"])
@pytest.mark.parametrize("neurons_in_all", [(64, 16384), (1, 1048579)])
def test_sequences_beyond_the_cache(neurons_in_all, variant, dtype, fresh_memory_is_nan):
    native.variant(variant)
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
from spikeloom.kernels.cpu import native, neurons, ops
native.opened().spikeloom_use_openmp(None)
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
    native.variant("baseline")
    assert explain("lif", torch.randn(2, 3)).startswith("lif: cpu (baseline")


def test_operators_and_batched_gradients_refuse_what_they_cannot_do():
    x_seq = torch.rand(3, 2, 4, requires_grad=True)
    numbers, options = ops.Numbers(keep=0.5, threshold=0.5), ops.Options(reset=0)
    out = torch.ops.spikeloom.lif(x_seq, None, None, *(None,) * 4, numbers, options)[0]
    (grad,) = torch.autograd.grad(out.sum(), x_seq, create_graph=True)
    if grad.requires_grad:
        with pytest.raises(RuntimeError, match="second derivative"):
            grad.sum().backward()
    out, _ = neurons.lif(x_seq)
    with pytest.raises(RuntimeError, match="many gradients at once"):
        torch.autograd.grad(out, x_seq, torch.ones(5, *out.shape), is_grads_batched=True)


def test_new_tensors_are_on_the_cpu_whatever_the_default_device():
    x_seq, weight = torch.rand(3, 2, 8), torch.rand(4, 8)
    image = torch.rand(2, 3, 4, 4).contiguous(memory_format=torch.channels_last)
    want = neurons.lif(x_seq)[0]
    with torch.device("meta"):
        assert torch.equal(neurons.lif(x_seq)[0], want)
        assert door("linear")(x_seq, weight).device.type == "cpu"
        assert door("max_pool2d")(image, (2, 2), stride=(2, 2)).device.type == "cpu"


@pytest.mark.parametrize("density", [0.05, 0.5])
def test_a_bias_of_any_stride_is_read_as_it_is(density):
    x = (torch.rand(64, 512) < density).float()
    weight = torch.rand(512, 512)
    for bias in (torch.rand(1024)[::2], torch.tensor([3.0]).expand(512)):
        want = torch.nn.functional.linear(x, weight, bias)
        torch.testing.assert_close(door("linear")(x, weight, bias), want, rtol=1e-4, atol=1e-3)


def test_autocast_to_half_precision_takes_the_plain_convolution():
    x, weight = torch.rand(8, 8, 32, 32), torch.rand(4, 8, 3, 3, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.float16):
        assert door("conv2d")(x, weight).dtype == torch.float16


def test_settings_of_two_threads_leave_nothing_behind():
    entered, left = threading.Event(), threading.Event()

    def other():
        with use(memory="low"):
            entered.set()
            left.wait(10)

    before, thread = current(), threading.Thread(target=other)
    with use("truth"):
        thread.start()
        entered.wait(10)
    left.set()
    thread.join()
    assert current() == before
