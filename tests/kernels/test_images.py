"""Packed spikes, convolutions that keep them, and max-pooling against torch's own."""

import ctypes

import pytest
import torch
from torch.nn import functional as F

from spikeloom.kernels import CannotServeError, door, explain, use
from spikeloom.kernels.cpu import bits, conv, maxpool, native

pytestmark = pytest.mark.usefixtures("fresh_memory_is_nan")
VARIANTS = ("avx512", "avx2", "baseline")
DTYPES = (torch.float32, torch.bfloat16)


def spikes(*shape, dtype=torch.float32, channels_last=False):
    x = (torch.rand(shape) < 0.2).to(dtype)
    return x.contiguous(memory_format=torch.channels_last) if channels_last else x


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 1000, 65537, 3_000_003])
def test_bits_hold_zeros_and_ones(count, dtype, variant, threads):
    threads(2)
    native.variant(variant)
    x = spikes(count, dtype=dtype)
    words = bits.pack(x)
    assert words.numel() == (count + 63) // 64
    assert torch.equal(bits.unpack(words, x.shape, x.stride(), dtype), x)
    if count:
        assert torch.equal((words[0] >> torch.arange(64) & 1)[:count], x[:64].long())


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("other", [2.0, -1.0, 0.5, 1.0078125, float("nan"), float("inf"), 1e-30])
@pytest.mark.parametrize("place", [0, 17, 700_000, 999_998])
def test_other_values_are_not_packed(place, other, dtype, variant):
    native.variant(variant)
    x = spikes(999_999, dtype=dtype)
    x[place] = other
    assert bits.pack(x) is None


def test_minus_zero_is_zero():
    x = torch.tensor([1.0, -0.0, 0.0])
    assert bits.unpack(bits.pack(x), (3,), (1,), x.dtype).tolist() == [1.0, 0.0, 0.0]


def convolve(function, x, options, C=8):
    torch.manual_seed(1)
    x = x.detach().requires_grad_()
    groups = options.get("groups", 1)
    weight = torch.randn(C, x.shape[1] // groups, 3, 3, dtype=x.dtype).requires_grad_()
    bias = torch.randn(C, dtype=x.dtype).requires_grad_()
    y = function(x, weight, bias, **options)
    y.backward(torch.randn(y.shape, dtype=torch.float32).to(x.dtype))
    return y.detach(), x.grad, weight.grad, bias.grad


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize(
    "options",
    [
        {"padding": (1, 1)},
        {"stride": (2, 1), "padding": (0, 1)},
        {"dilation": (2, 2)},
        {"groups": 2},
    ],
)
def test_a_convolution_equals_torchs(options, channels_last, dtype, binary):
    x = spikes(5, 12, 37, 41, dtype=dtype, channels_last=channels_last)
    x = x if binary else x + 0.5
    got, want = (convolve(function, x, options) for function in (conv.conv2d, F.conv2d))
    for ours, theirs in zip(got, want, strict=True):
        assert torch.equal(ours, theirs)
        assert ours.stride() == theirs.stride()


def kept_bytes(forward, *but):
    found = {}

    def note(tensor):
        found[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        y = forward()
    for tensor in but:
        found.pop(tensor.untyped_storage().data_ptr(), None)
    return sum(found.values()), y


@pytest.mark.parametrize(("memory", "kept"), [("auto", 1 / 8), ("low", 1 / 8), ("off", 4)])
def test_spikes_are_kept_as_bits(memory, kept):
    x, weight = spikes(4, 16, 32, 32), torch.randn(8, 16, 3, 3, requires_grad=True)
    with use(memory=memory):
        size, _ = kept_bytes(lambda: conv.conv2d(x, weight), weight)
    assert size == kept * x.numel()


def test_a_frozen_convolution_keeps_nothing():
    x = spikes(4, 16, 32, 32).requires_grad_()
    weight = torch.randn(8, 16, 3, 3)
    size, y = kept_bytes(lambda: conv.conv2d(x, weight), weight, x)
    assert size == 0
    assert y.requires_grad


def test_under_autocast_parameters_keep_their_precision():
    x = spikes(4, 16, 32, 32, dtype=torch.bfloat16)

    def run(function):
        weight = torch.ones(8, 16, 3, 3, requires_grad=True)
        with torch.autocast("cpu", torch.bfloat16):
            y = function(x, weight)
            again = F.conv2d(x, weight)
        (y.float().square().sum() + again.float().sum()).backward()
        return y, weight.grad

    for ours, theirs in zip(run(conv.conv2d), run(F.conv2d), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=2**-7, atol=0)


def test_a_packed_convolution_has_no_second_derivative():
    x = spikes(4, 16, 32, 32).requires_grad_()
    y = conv.conv2d(x, torch.randn(8, 16, 3, 3, requires_grad=True))
    with pytest.raises(RuntimeError, match="no second derivative"):
        torch.autograd.grad(y.sum(), x, create_graph=True)


WINDOWS = {
    "halves": {"kernel_size": (2, 2), "stride": (2, 2)},
    "overlap": {"kernel_size": (3, 3), "stride": (2, 2), "padding": (1, 1)},
    "gaps": {"kernel_size": (2, 1), "stride": (3, 2)},
    "dilated": {"kernel_size": (3, 2), "stride": (1, 2), "padding": (1, 0), "dilation": (2, 3)},
    "steps of one": {"kernel_size": (2, 3), "stride": (1, 1), "padding": (0, 1)},
}


def pooled(function, x, window, grad):
    x = x.detach().requires_grad_()
    y = function(x, **window)
    y.backward(grad[: y.shape[0], : y.shape[1], : y.shape[2], : y.shape[3]].to(y.dtype))
    return y.detach(), x.grad


def torchs(x, kernel_size, **window):
    return F.max_pool2d(x, kernel_size, **window)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("values", ["spikes", "real", "few", "special"])
@pytest.mark.parametrize("window", WINDOWS)
def test_max_pooling_equals_torchs_ties_included(window, values, dtype, variant, threads):
    native.variant(variant)
    for number, (shape) in enumerate([(3, 19, 8, 10), (1, 1, 7, 9), (6, 64, 32, 32)]):
        threads(1 + number % 2)
        x = spikes(*shape) if values == "spikes" else torch.randn(shape)
        x = x.round() if values in ("few", "special") else x
        if values == "special":
            x[x == 1] = float("nan")
            x[x == -1] = -float("inf")
            x[:, 0] = -float("inf")
        x = x.to(dtype).contiguous(memory_format=torch.channels_last)
        grad = torch.randint(-4, 5, shape).float()  # sums of bfloat16 that do not round
        grad = torch.cat([grad, grad], 2).repeat(1, 1, 1, 2)
        got = pooled(maxpool.max_pool2d, x, WINDOWS[window], grad)
        want = pooled(torchs, x, WINDOWS[window], grad)
        for ours, theirs in zip(got, want, strict=True):
            assert torch.allclose(ours, theirs, rtol=0, atol=0, equal_nan=True)
            assert ours.stride() == theirs.stride() or ours.shape[1] == 1


def test_pooling_keeps_a_byte_an_output():
    x = spikes(4, 16, 32, 32, channels_last=True).requires_grad_()
    size, y = kept_bytes(lambda: maxpool.max_pool2d(x, (2, 2), stride=(2, 2)), x)
    assert size == y.numel()


def test_pooling_without_gradients_keeps_nothing():
    x = spikes(4, 16, 32, 32, channels_last=True)
    assert torch.equal(maxpool.max_pool2d(x, (2, 2), stride=(2, 2)), F.max_pool2d(x, 2))


@pytest.mark.parametrize(
    ("x", "change", "reason"),
    [
        (torch.randn(2, 3, 6, 6), {}, "channels last"),
        (torch.randn(2, 3, 6, 6).double(), {}, "float64"),
        (torch.randn(3, 6, 6), {}, "channels last"),
        (spikes(2, 3, 6, 6, channels_last=True), {"kernel_size": (16, 16)}, "nothing comes out"),
        (spikes(2, 3, 20, 20, channels_last=True), {"kernel_size": (16, 16)}, "more than 255"),
        (spikes(2, 3, 6, 6, channels_last=True), {"padding": (2, 2)}, "half the window"),
    ],
)
def test_what_the_pooling_cannot_do_is_refused(x, change, reason):
    given = {"kernel_size": (2, 2), "stride": (2, 2)} | change
    with use("cpu"), pytest.raises(CannotServeError, match=reason):
        door("max_pool2d")(x, **given)
    assert explain("max_pool2d", x, **given).startswith("max_pool2d: truth")


@pytest.mark.parametrize(
    ("x", "reason"), [(torch.randn(2, 3, 6, 6).double(), "float64"), (torch.ones(3, 6, 6), "N, C")]
)
def test_what_the_convolution_cannot_pack_is_refused(x, reason):
    with use("cpu"), pytest.raises(CannotServeError, match=reason):
        door("conv2d")(x, torch.randn(4, 3, 3, 3, dtype=x.dtype))


def test_the_structure_has_the_size_that_the_library_expects():
    assert native.OPENED.spikeloom_maxpool_size() == ctypes.sizeof(maxpool.PoolCall)


@pytest.mark.filterwarnings("ignore")
def test_compiled_layers_are_the_plain_ones():
    from spikeloom.layers import Conv2d, MaxPool2d

    torch.manual_seed(0)
    model = torch.nn.Sequential(Conv2d(4, 8, 3, padding=1), MaxPool2d(2))
    x = spikes(8, 4, 64, 64, channels_last=True)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(x), model(x))
    exported = torch.export.export(model.eval(), (x,))
    assert torch.equal(exported.module()(x), model(x))
