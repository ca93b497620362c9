"""STMixer: sizes, and the identities that tell a right implementation."""

from functools import partial
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from spikeloom.deploy import infer
from spikeloom.functional import Dspike, factor, spike_attention
from spikeloom.layers import (
    LIF,
    BatchNorm,
    Conv2d,
    MaxPool2d,
    Neuron,
    NoNorm,
    OverTime,
    TokenMixing,
    late_spikes,
    ruled,
)
from spikeloom.models import STMixer
from spikeloom.models.token_mixers import MIXERS
from spikeloom.registry import Unsupported

PUBLISHED = partial(LIF, decay=factor(0.5), surrogate=Dspike(alpha=0.5, b=5.0))


def build(depth=2, dim=32, heads=4, *, beta=0.5, neuron=None, **arguments):
    arguments = {"in_shape": (3, 16, 16), "num_classes": 5, "norm": BatchNorm} | arguments
    neuron = neuron or partial(LIF, decay=factor(beta), surrogate=Dspike(alpha=0.5, b=5.0))
    return STMixer(depth, dim, heads, neuron=neuron, **arguments)


def settled(**arguments):
    """A network in evaluation, whose norms have seen data and differ from where they start."""
    model = build(**arguments)
    for norm in model.modules():
        if isinstance(norm, BatchNorm):
            nn.init.uniform_(norm.weight, 0.5, 2.0)
            nn.init.uniform_(norm.bias, -0.2, 0.6)
    for _ in range(20):
        model(images(model, T=2))
    return model.eval()


def images(model, T=2, N=6):
    return torch.randn(N, *model.in_shape).expand(T, N, *model.in_shape)


def fired(model, x_seq):
    """The spikes of all neurons, in the order of the call."""
    seen = []
    hooks = [
        module.register_forward_hook(lambda _m, x, y: seen.append((x[0], y)))
        for module in model.modules()
        if isinstance(module, Neuron)
    ]
    model(x_seq)
    for hook in hooks:
        hook.remove()
    return seen


# ---- sizes


def count(depth, dim, heads, classes, *, side=32, halvings=2, channels=3, ratio=4):
    """Parameters by formula: weights of maps without a bias, two numbers a channel of each norm."""
    D, M = dim, (side // 2**halvings) ** 2
    widths = (channels, D // 8, D // 4, D // 2, D, D - D // 8)
    splitting = sum(9 * a * b + 2 * b for a, b in pairwise(widths))
    splitting += channels * 4**halvings * (D // 8) + 2 * (D // 8)
    block = 2 * (D * D + 2 * D) + heads * M * M
    block += 2 * ratio * D * D + 2 * ratio * D + 2 * D
    return splitting + depth * block + D * classes + classes


SIZES = [  # depth, dim, heads, classes, other arguments, millions in the specification, exactly
    (4, 384, 16, 10, {}, 8.22, 8_223_674),
    (4, 384, 32, 10, {}, 8.49, 8_485_818),
    (4, 384, 32, 100, {}, 8.52, 8_520_468),
    (2, 384, 32, 100, {}, 5.30, 5_298_452),
    (4, 512, 32, 100, {}, 14.71, 14_710_436),
    (8, 768, 8, 1000, {"side": 224, "halvings": 4}, 58.7, 58_708_808),
    (8, 768, 12, 1000, {"side": 224, "halvings": 4}, 59.9, 59_938_120),
    (8, 768, 16, 1000, {"side": 224, "halvings": 4}, 61.2, 61_167_432),
    (8, 768, 32, 1000, {"side": 224, "halvings": 4}, 66.1, 66_084_680),
]


@pytest.mark.parametrize(("depth", "dim", "heads", "classes", "more", "millions", "exactly"), SIZES)
def test_parameter_counts_are_those_of_the_reference(
    depth, dim, heads, classes, more, millions, exactly
):
    side, halvings = more.get("side", 32), more.get("halvings", 2)
    with torch.device("meta"):
        model = build(
            depth, dim, heads, in_shape=(3, side, side), num_classes=classes, halvings=halvings
        )
    found = sum(p.numel() for p in model.parameters())
    assert found == exactly == count(depth, dim, heads, classes, **more)
    assert round(found / 1e6, 1 if millions > 50 else 2) == millions


@pytest.mark.parametrize(
    ("in_shape", "halvings"),
    [((3, 32, 32), 2), ((2, 128, 128), 4), ((3, 224, 224), 4), ((1, 28, 28), 2), ((5, 16, 24), 3)],
)
@pytest.mark.parametrize("patch", ["ipsps", "sps"])
def test_images_of_all_sizes_become_tokens(in_shape, halvings, patch):
    model = build(1, 8, 2, in_shape=in_shape, halvings=halvings, patch=patch)
    seen = []
    model.stages.register_forward_pre_hook(lambda _m, x: seen.append(x[0].shape))
    assert model(torch.rand(1, 2, *in_shape)).shape == (1, 2, 5)
    size = (in_shape[1] // 2**halvings, in_shape[2] // 2**halvings)
    assert tuple(seen[0]) == (1, 2, 8, *size)


def test_the_strides_are_those_of_the_two_published_layouts():
    for halvings, expected in ((2, [1, 1, 1, 2, 2]), (4, [1, 2, 2, 2, 2])):
        stem = build(1, in_shape=(3, 32, 32), halvings=halvings).stem
        convs = [m for m in stem.main.modules() if isinstance(m, nn.Conv2d)]
        assert [m.stride[0] for m in convs] == expected
        assert [m.out_channels for m in convs] == [4, 8, 16, 32, 28]
        (protect,) = (m for m in stem.protect.modules() if isinstance(m, nn.Conv2d))
        assert protect.kernel_size == protect.stride == (2**halvings, 2**halvings)


def test_only_the_plain_splitting_pools():
    for patch in ("ipsps", "sps"):
        pools = [m for m in build(patch=patch).modules() if isinstance(m, nn.MaxPool2d)]
        assert len(pools) == (2 if patch == "sps" else 0)


def test_weights_start_as_in_the_specification():
    model = build(1, 128, 8)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.out_channels * module.kernel_size[0] ** 2
            assert module.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.1)
        elif isinstance(module, TokenMixing):
            assert module.weight.std().item() == pytest.approx((2 / 16) ** 0.5, rel=0.1)


# ---- identities


def test_the_surrogate_is_the_published_one():
    """Item 2: the slope has an area of 1, is even, 1.267 at most and 0 outside of [-1, 1]."""
    slope, x = Dspike(alpha=0.5, b=5.0), torch.linspace(-1, 1, 200_001, dtype=torch.float64)
    found = slope.grad(x)
    assert torch.trapezoid(found, x).item() == pytest.approx(1.0, abs=1e-6)
    torch.testing.assert_close(found, found.flip(0))
    assert found.max().item() == pytest.approx(1.267, abs=5e-4)
    assert not slope.grad(torch.tensor([-1.001, 1.001, 4.0])).any()


def test_permuted_tokens_give_permuted_streams():
    """Item 4: with W_g -> P W_g Pᵀ every block puts out its tokens in the other order."""
    model = settled()
    tokens = 16
    order = torch.randperm(tokens)
    u = model.stem(images(model))

    def through(u_seq):
        out = []
        for stage in model.stages:
            u_seq = stage(u_seq)
            out.append(u_seq.flatten(3))
        return out

    with torch.no_grad():
        plain = through(u)
        for module in model.modules():
            if isinstance(module, TokenMixing):
                module.weight.copy_(module.weight[:, order][:, :, order])
        shuffled = through(u.flatten(3)[..., order].unflatten(3, u.shape[3:]))
    for one, other in zip(plain, shuffled, strict=True):
        torch.testing.assert_close(other, one[..., order], rtol=1e-4, atol=1e-4)


class Folded(nn.Module):
    """A convolution with the norm after it folded into its weights."""

    def __init__(self, conv, norm):
        super().__init__()
        weight, bias = fuse_conv_bn_weights(
            conv.weight, None, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
        )
        self.conv = nn.Conv2d(conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride,
                              conv.padding, groups=conv.groups)  # fmt: skip
        self.conv.weight, self.conv.bias = weight, bias

    def forward(self, x_seq):
        return OverTime(self.conv)(x_seq)


def fold(model):
    """Fold every norm into the convolution before it."""
    for row in model.modules():
        if isinstance(row, nn.Sequential):
            for at in range(len(row) - 1):
                if isinstance(row[at + 1], BatchNorm):
                    row[at] = Folded(row[at].module, row[at + 1])
                    row[at + 1] = nn.Identity()
    return model


@pytest.mark.parametrize("mixer", MIXERS)
def test_norms_fold_into_convolutions(mixer):
    """Item 5: logits within 1e-4, and the same spikes but where |m - 1| < 1e-5."""
    model = settled(mixer=mixer)
    x_seq = images(model)
    with torch.no_grad():
        logits, spikes = model(x_seq), [y for _, y in fired(model, x_seq)]
        traces = [
            neuron.trace(x).h_seq
            for neuron, (x, _) in zip(
                [m for m in model.modules() if isinstance(m, Neuron)], fired(model, x_seq),
                strict=True,
            )
        ]  # fmt: skip
        fold(model)
        assert not any(isinstance(module, BatchNorm) for module in model.modules())
        again, after = model(x_seq), [y for _, y in fired(model, x_seq)]
    assert sum(spike.sum() for spike in spikes) > 100
    torch.testing.assert_close(again, logits, rtol=0, atol=1e-4)
    for before, now, h_seq in zip(spikes, after, traces, strict=True):
        assert (before == now)[(h_seq - 1).abs() >= 1e-5].all()


def packets(shape=(2, 3, 16, 8, 8)):
    """Spikes, split at random into two packets."""
    spikes, first = (torch.rand(shape) < 0.4).float(), torch.rand(shape) < 0.5
    return spikes * first, spikes * ~first


ADDITIVE = {
    "convolution": OverTime(Conv2d(16, 8, 3, padding=1, bias=False)),
    "strided convolution": OverTime(Conv2d(16, 8, 3, 2, 1, bias=False)),
    "1x1 convolution": OverTime(Conv2d(16, 8, 1, bias=False)),
    "whole patches": OverTime(Conv2d(16, 8, 4, 4, bias=False)),
    "convolution of each channel": OverTime(Conv2d(16, 16, 3, padding=1, groups=16, bias=False)),
    "token mixing": OverTime(TokenMixing(16, 64, 4)),
    "mean token": OverTime(nn.AdaptiveAvgPool2d(1)),
    "linear": nn.Sequential(OverTime(nn.Flatten()), OverTime(nn.Linear(1024, 5, bias=False))),
    "residual sum": nn.Identity(),
    "no norm": NoNorm(16),
}


@pytest.mark.parametrize("name", ADDITIVE)
def test_packets_of_spikes_add_up_in_every_synaptic_operation(name):
    """Item 6: f(a) + f(b) = f(a + b), whatever arrives first."""
    f, (a, b) = ADDITIVE[name], packets()
    torch.testing.assert_close(f(a) + f(b), f(a + b), rtol=1e-5, atol=1e-5)


def test_packets_do_not_add_up_in_attention_and_max_pooling():
    a, b = packets()

    def attention(x_seq):
        x = x_seq.flatten(3)
        return spike_attention(x, x, x, heads=4)

    for f in (attention, OverTime(MaxPool2d(2))):
        assert ((f(a) + f(b)) - f(a + b)).abs().max() > 0.1


def test_the_additive_operations_are_all_that_a_network_is_made_of():
    """Beside neurons and norms, which fold; the attention's product is no layer."""
    known = (Conv2d, TokenMixing, nn.AdaptiveAvgPool2d, nn.Flatten, nn.Linear, nn.Identity)
    model = build(mixer=["stm", "conv"])
    inside = {
        m for n in model.modules() if isinstance(n, Neuron) for m in n.modules() if m is not n
    }
    leaves = [m for m in model.modules() if m not in inside and not [*m.children()]]
    other = [m for m in leaves if not isinstance(m, (*known, BatchNorm, Neuron, nn.Sequential))]
    assert other == []


@pytest.mark.parametrize("mixer", MIXERS)
def test_without_memory_every_step_of_a_still_image_is_the_network_of_one_step(mixer):
    """Item 7."""
    model = settled(beta=0.0, mixer=mixer)
    with torch.no_grad():
        four, one = (model(images_) for images_ in repeated(model))
    assert all(torch.equal(step, four[0]) for step in four)
    torch.testing.assert_close(four.mean(0), one.mean(0))


def repeated(model):
    x = torch.randn(5, *model.in_shape)
    return x.expand(4, *x.shape), x.expand(1, *x.shape)


def test_one_step_has_no_memory():
    """At T = 1 a spike is x >= 1, whatever the decay."""
    x_seq = torch.randn(1, 4, 50)
    assert torch.equal(PUBLISHED()(x_seq), (x_seq >= 1).float())


# ---- variants


@pytest.mark.parametrize("patch", ["ipsps", "sps"])
@pytest.mark.parametrize("mixer", [*MIXERS, ["conv", "attention"]])
@pytest.mark.parametrize("T", [1, 3])
def test_all_cells_train(mixer, patch, T):
    model = build(mixer=mixer, patch=patch, neuron=partial(PUBLISHED, v_threshold=0.5))
    logits_seq = model(torch.randn(T, 8, *model.in_shape))
    assert logits_seq.shape == (T, 8, 5)
    (logits_seq * torch.randn(5)).sum().backward()
    for name, p in model.named_parameters():
        assert p.grad is not None, name
        assert p.grad.isfinite().all(), name
        assert p.grad.any(), name


def test_blocks_may_mix_differently():
    model = build(3, mixer=["stm", "attention", "conv"])
    found = [sum(isinstance(m, TokenMixing) for m in stage.modules()) for stage in model.stages]
    assert found == [1, 0, 0]


def test_with_silent_branches_the_stream_passes_blocks_unchanged():
    model = build()
    for stage in model.stages:
        for part in stage:
            nn.init.zeros_(part.body[-1].weight)
    u = torch.randn(2, 3, 32, 4, 4)
    assert torch.equal(model.stages(u), u)


def test_late_spikes_reach_the_logits():
    """Item 10 in small: delays change what comes out, and no delay changes nothing."""
    model = settled(beta=0.5)
    x_seq = torch.randn(4, 5, *model.in_shape)
    with torch.no_grad():
        plain = model(x_seq)
        with ruled(model, late_spikes(0.0)):
            torch.testing.assert_close(model(x_seq), plain)
        with ruled(model, late_spikes(0.5)):
            assert not torch.allclose(model(x_seq), plain)


@pytest.mark.parametrize("mixer", ["conv", "stm"])
@pytest.mark.parametrize("patch", ["ipsps", "sps"])
def test_networks_without_attention_can_be_packed(mixer, patch):
    model = settled(mixer=mixer, patch=patch)
    x_seq = images(model)
    with torch.no_grad():
        torch.testing.assert_close(infer(model, x_seq)(x_seq), model(x_seq), rtol=1e-3, atol=1e-3)


def test_a_network_with_attention_cannot_be_packed_and_says_why_not():
    model = settled(mixer="attention")
    with pytest.raises(Unsupported, match="calls flatten"):
        infer(model, images(model))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dim": 36}, "multiple of 8 and of heads, got dim = 36"),
        ({"heads": 3}, "heads = 3"),
        ({"depth": 0}, "must be >= 1"),
        ({"ratio": 0}, "must be >= 1"),
        ({"halvings": 6}, r"halvings must be in 1 ... 5 for ipsps, got 6"),
        ({"halvings": 5, "patch": "sps"}, r"1 ... 4 for sps"),
        ({"in_shape": (3, 30, 32)}, "30 x 32 does not divide into patches of 4 x 4"),
        ({"mixer": "mlp"}, "unknown mixer 'mlp'"),
        ({"mixer": ["stm"]}, "1 cells for 2 blocks"),
        ({"patch": "conv"}, "unknown patch 'conv'"),
    ],
)
def test_impossible_networks_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        build(**arguments)
