"""Binary and sub-bit weights on layers and models; codebooks that learn."""

import copy
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from spikeloom.functional.sub_bit import pattern_number
from spikeloom.layers import OSQuant, Place, SubBit, codes_of, transform_of, transform_weights
from spikeloom.layers.binary import binary
from spikeloom.layers.sub_bit import sub_bit
from tests.small import IMAGE, small


def coded(layer: nn.Module, **options: Any) -> Any:
    return transform_weights(layer, partial(sub_bit, keep=(), **options))


def conv(ins: int = 3, outs: int = 8, **options: Any) -> Any:
    torch.manual_seed(0)
    return coded(nn.Conv2d(ins, outs, 3, bias=False), **options)


def learning(layer: Any, gradient: torch.Tensor, *, count: int, lr: float = 1.0) -> list[bool]:
    """Plain steps with one gradient of the codewords; whether each update had one."""
    transform = transform_of(layer)
    had = []
    for _ in range(count):
        transform.proxy.grad = None
        layer.weight.sum().backward()
        had.append(transform.proxy.grad is not None)
        if transform.proxy.grad is not None:
            with torch.no_grad():
                transform.proxy.sub_(lr * gradient)
        transform.after_update()
    return had


@pytest.mark.parametrize("bits", [1, 4, 5, 6, 9])
def test_every_kernel_is_a_scaled_codeword(bits: int) -> None:
    layer = conv(bits=bits)
    raw = layer.parametrizations.weight.original
    book = transform_of(layer).codebook
    assert book.shape == (2**bits, 9)
    assert len(pattern_number(book).unique()) == 2**bits
    scale = raw.abs().mean((1, 2, 3), keepdim=True)
    assert pattern_number(layer.weight.flatten(2)).unique().numel() <= 2**bits
    torch.testing.assert_close(layer.weight.abs(), scale.expand_as(raw))


def test_nine_bits_are_a_binary_network() -> None:
    layer = conv(bits=9)
    plain = nn.Conv2d(3, 8, 3, bias=False)
    with torch.no_grad():
        plain.weight.copy_(layer.parametrizations.weight.original)
    assert torch.equal(layer.weight, transform_weights(plain, partial(binary, keep=())).weight)


def test_ends_and_shortcuts_keep_their_weights() -> None:
    net = transform_weights(small("spiking_resnet18"), sub_bit)
    kept = [
        name
        for name, module in net.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear) and transform_of(module) is None
    ]
    shortcuts = [f"stages.{stage}.0.shortcut.0.module" for stage in (1, 2, 3)]
    assert kept == ["stem.0.module", *shortcuts, "head.2.module"]


def test_what_is_kept_is_chosen_by_word_or_pattern() -> None:
    def kept(*keep: str) -> list[int]:
        net = transform_weights(small("spiking_vgg5"), partial(binary, keep=keep))
        maps = [m for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
        return [at for at, layer in enumerate(maps) if transform_of(layer) is None]

    assert kept() == []
    assert kept("first") == [0]
    assert kept("last", "features.4.*") == [1, 4]
    with pytest.raises(ValueError, match=r"'feature.4'.* matches no map"):
        kept("feature.4")
    with pytest.raises(ValueError, match="none of the network's 5 maps"):
        kept("*")


@pytest.mark.parametrize("others", ["binary", "grouped", "full"])
def test_maps_without_3x3_kernels(others: str) -> None:
    layer = nn.Linear(20, 4)
    want = layer.weight.detach().clone()
    row = transform_weights(
        nn.Sequential(nn.Conv2d(1, 1, 3), layer), partial(sub_bit, keep=(), others=others)
    )
    codes = codes_of(row[1])
    if others == "full":
        assert codes is None
    elif others == "binary":
        assert codes.index is None
        assert torch.equal(codes.signs, want.sign())
    else:
        assert codes.index.shape == (4, 3)
        assert layer.weight.shape == want.shape
        layer.weight.sum().backward()
        assert layer.parametrizations.weight.original.grad.abs().min() > 0


@pytest.mark.parametrize(("bits", "kind"), [(4, torch.uint8), (9, torch.int16)])
def test_codes_give_back_the_weight(bits: int, kind: torch.dtype) -> None:
    layer = conv(bits=bits, selection=OSQuant())
    codes = codes_of(layer)
    assert codes.index.dtype == kind
    assert codes.index.shape == (8, 3)
    assert codes.signs is None
    kernels = codes.scale.view(-1, 1, 1) * codes.codebook[codes.index.long()]
    assert torch.equal(kernels.view(8, 3, 3, 3), layer.weight)
    one_bit = transform_weights(nn.Conv2d(3, 8, 3), partial(binary, keep=()))
    codes = codes_of(one_bit)
    assert torch.equal(codes.scale.view(-1, 1, 1, 1) * codes.signs, one_bit.weight)
    assert codes_of(nn.Conv2d(3, 8, 3)) is None


def test_the_codebook_learns_at_every_period_and_in_training_only() -> None:
    layer = conv(period=5)
    assert learning(layer, torch.zeros(16, 9), count=12) == [False] * 4 + [True] + [False] * 4 + [
        True, False, False,
    ]  # fmt: skip
    learning(layer, torch.zeros(16, 9), count=2)
    layer.eval()
    transform_of(layer).eval()
    transform_of(layer).proxy.grad = None
    layer.weight.sum().backward()
    assert transform_of(layer).proxy.grad is None
    assert transform_of(layer).updates == 14, "evaluation is not counted"


def test_codewords_follow_their_proxies_and_small_ones_keep_their_sign() -> None:
    layer = conv(period=1)
    transform: Any = transform_of(layer)
    before = transform.codebook.clone()
    shift = torch.zeros(16, 9)
    used, flipped = pattern_number(before).tolist(), before[0] * (1 - 2 * torch.eye(9))
    cell = next(c for c, n in enumerate(pattern_number(flipped).tolist()) if n not in used)
    shift[0, cell] = before[0, cell] * 1.5  # crosses
    shift[1, 1] = before[1, 1] * (1 + 5e-4)  # crosses, but stays within 1e-3 of 0
    shift[2, 2] = -before[2, 2] * 9  # far out
    learning(layer, shift, count=1)
    changed = transform.codebook != before
    assert changed.nonzero().tolist() == [[0, cell]]
    assert transform.proxy[2, 2].abs() == 3


def test_codewords_that_have_become_equal_are_replaced_alike_everywhere() -> None:
    layer = conv(period=1)
    twins = [layer, copy.deepcopy(layer)]
    for twin in twins:
        transform: Any = transform_of(twin)
        with torch.no_grad():
            transform.proxy[5:9] = transform.proxy[2]
        torch.rand(7)  # random numbers elsewhere do not matter
        transform.after_update()
    one, other = (transform_of(twin) for twin in twins)
    numbers = pattern_number(one.codebook)
    assert len(numbers.unique()) == 16
    assert torch.equal(one.codebook, other.codebook)
    assert torch.equal(one.proxy, other.proxy)
    assert torch.equal(one.proxy[5:9], one.codebook[5:9])
    assert torch.equal(one.proxy[2], one.codebook[2]), "the first of them stays"


def test_a_codebook_that_does_not_learn_stays() -> None:
    layer = conv(learn=False, period=1)
    before = transform_of(layer).codebook.clone()
    transform_of(layer).after_update()
    assert [name for name, _ in layer.named_parameters()] == ["parametrizations.weight.original"]
    assert torch.equal(transform_of(layer).codebook, before)


def test_frequent_codewords_are_the_commonest_patterns_of_what_is_assigned() -> None:
    layer = conv(ins=4, outs=4, bits=1, init="frequent")
    kernels = torch.ones(4, 4, 3, 3)
    kernels[:3, :, 0, 0] = -1
    kernels[3, 3, 1, 1] = -1
    layer.weight = kernels
    want = torch.stack([kernels[0, 0], kernels[3, 0]]).flatten(1)
    assert torch.equal(transform_of(layer).codebook, want)
    assert torch.equal(transform_of(layer).proxy, want)


def test_averaged_codebooks_are_binary() -> None:
    layer = conv(period=1)
    average = AveragedModel(layer, multi_avg_fn=get_ema_multi_avg_fn(0.7), use_buffers=True)
    average.update_parameters(layer)
    learning(layer, 2.5 * transform_of(layer).codebook[:, :1], count=1)
    average.update_parameters(layer)
    assert transform_of(average.module).codebook.abs().eq(1).all()
    assert codes_of(average.module) is not None


def test_training_and_evaluation_choose_alike_and_a_copy_is_the_same() -> None:
    net = transform_weights(small("spiking_vgg9"), partial(sub_bit, selection=OSQuant()))
    weights = [m.weight for m in net.modules() if codes_of(m)]
    net.eval()
    assert all(
        torch.equal(a, m.weight)
        for a, m in zip(weights, filter(codes_of, net.modules()), strict=True)
    )
    x_seq = torch.rand(2, 2, *IMAGE)
    other = transform_weights(small("spiking_vgg9"), partial(sub_bit, selection=OSQuant())).eval()
    other.load_state_dict(net.state_dict())
    assert torch.equal(other(x_seq), net(x_seq))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"bits": 0}, "bits"), ({"bits": 10}, "bits"), ({"period": 0}, "period"),
        ({"init": "best"}, "init must be"), ({"others": "none"}, "others must be"),
    ],
)  # fmt: skip
def test_what_is_out_of_range_is_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        sub_bit(Place(nn.Conv2d(2, 2, 3)), **options)
    for given in ({"normalise": "x"}, {"neighbours": "x"}, {"fence": -1.0}):
        with pytest.raises(ValueError, match=next(iter(given))):
            OSQuant(**given)  # type: ignore[arg-type]


def test_proxies_follow_the_dtype_and_state_names_are_stable() -> None:
    layer = conv().double()
    assert layer.weight.dtype == torch.float64
    assert isinstance(transform_of(layer), SubBit)
    assert {name.rpartition(".")[2] for name in layer.state_dict()} == {
        "original", "proxy", "memory", "seed", "updates",
    }  # fmt: skip
