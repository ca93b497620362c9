"""A packed network equals the network it was made of."""

import copy
import pickle
from functools import partial

import pytest
import torch
from torch import nn

from spikeloom.deploy import infer
from spikeloom.functional import encode, euler
from spikeloom.functional.program import Sum, activations
from spikeloom.kernels import use
from spikeloom.kernels.cpu import native
from spikeloom.layers import IF, LI, LIF, BatchNorm, Neuron, NoNorm, OverTime, ParametricLIF
from spikeloom.models import SpikingMLP, SpikingResNet, SpikingVGG
from tests.small import CLASSES, IMAGE, small

SIZES = [(1, 1), (4, 5), (4, 1)]
ROUNDING = 1e-4  # of a potential near its threshold of 1, summed in another order


def plain(model, in_shape, **arguments):
    """A small model of odd widths, before its weights are made exact."""
    given = {"in_shape": in_shape, "num_classes": CLASSES, "neuron": partial(LIF, tau=2.0)}
    return model(**{"norm": BatchNorm, **given, **arguments})


MODELS = {
    "mlp with a leaky read-out": lambda: plain(SpikingMLP, (9,), readout=lambda shape: LI(tau=2.0)),
    "mlp that answers in spikes": lambda: plain(
        SpikingMLP, (9,), readout=lambda shape: LIF(v_threshold=0.125)
    ),
    "mlp": lambda: plain(SpikingMLP, (2, 3, 5), hidden=(33, 17)),
    "mlp with biases and no norm": lambda: plain(
        SpikingMLP, (9,), hidden=(33, 17), norm=partial(NoNorm, bias=True)
    ),
    "mlp of a vector": lambda: plain(SpikingMLP, (7,), hidden=(20,)),
    **{
        f"vgg {pool}": partial(
            plain, SpikingVGG, (3, 9, 8), plan=(7, "P", 18, 33, "P"), hidden=(21,), pool=pool
        )
        for pool in ("average", "max", "strided")
    },
    **{
        f"resnet {residual} {stem}": partial(
            plain, SpikingResNet, (3, 16, 16), channels=(9, 18), blocks=(2, 1), hidden=hidden,
            residual=residual, stem=stem,
        )
        for residual in ("standard", "sew", "membrane")
        for stem, hidden in (("cifar", ()), ("imagenet", (12,)))
    },
}  # fmt: skip


def exact(model):
    """The model with values on a dyadic grid, so that no sum rounds."""
    generator = torch.Generator().manual_seed(1)

    def draw(like, low, high, step):
        return torch.randint(low, high, like.shape, generator=generator) * step

    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, BatchNorm):
                module.eps = 0.0
                module.weight.copy_(2.0 ** draw(module.weight, -1, 2, 1))
                module.bias.copy_(draw(module.bias, -1, 9, 0.125))
                module.running_mean.copy_(draw(module.running_mean, -4, 5, 0.125))
                module.running_var.copy_(4.0 ** draw(module.running_var, -1, 2, 1))
            elif isinstance(module, NoNorm) and module.bias is not None:
                module.bias.copy_(draw(module.bias, 1, 9, 0.125))
            elif isinstance(module, nn.Conv2d | nn.Linear):
                module.weight.copy_(draw(module.weight, -4, 5, 0.125))
                if module.bias is not None:
                    module.bias.copy_(draw(module.bias, -4, 5, 0.125))
    return model.eval()


def images(T, N, shape, constant):
    x = torch.randint(-8, 9, (1 if constant else T, N, *shape)) / 8
    return x.expand(T, *x.shape[1:]) if constant else x


@pytest.mark.parametrize("break_even", [0.0, 0.4, 10.0])
@pytest.mark.parametrize("name", MODELS)
def test_exact_weights_give_equal_logits(name, break_even):
    model = exact(MODELS[name]())
    sample = images(4, 2, model.in_shape, constant=True)
    packed = infer(model, sample, break_even=break_even)
    for T, N in SIZES:
        for constant in (True, False):
            x_seq = images(T, N, model.in_shape, constant)
            with torch.no_grad():
                want = model(x_seq)
            assert want.abs().max() > 0
            assert torch.equal(packed(x_seq), want)
            with use("truth"):
                assert torch.equal(packed(x_seq), want)


@pytest.mark.parametrize("name", [name for name in MODELS if "mlp " not in name])
def test_the_networks_compared_fire(name):
    model = exact(MODELS[name]())
    program = infer(model, images(4, 2, model.in_shape, constant=False)).program
    x_seq = images(4, 5, model.in_shape, constant=False)
    values = list(activations(program, x_seq))
    fired = [
        v for v, n in zip(values, program.nodes, strict=True) if isinstance(n, Sum) and n.neurons
    ]
    assert fired
    assert all(0.01 < rate < 0.99 for rate in [float(v.mean()) for v in fired])


def lively(model):
    """Random statistics, as training leaves them, so that neurons fire."""
    for module in model.modules():
        if isinstance(module, BatchNorm):
            nn.init.uniform_(module.weight, 0.8, 2.0)
            nn.init.uniform_(module.bias, -0.1, 0.5)
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 1.5)
    return model.eval()


REGISTERED = [
    *((name, {}) for name in ("spiking_mlp", "spiking_vgg5", "spiking_vgg11", "spiking_vgg16")),
    ("spiking_vgg9", {"pool": "max", "neurons": "if"}),
    ("spiking_vgg9", {"pool": "strided", "norms": "tdbn", "neurons": "plif"}),
    ("stmixer", {"mixer": ("stm", "conv", "stm", "stm")}),
    *(("spiking_resnet18", {"residual": kind}) for kind in ("standard", "sew", "membrane")),
    ("spiking_resnet19", {"norms": "tdbn"}),
    ("spiking_resnet20", {"residual": "sew", "norms": "none"}),
    ("spiking_resnet34", {"residual": "membrane", "stem": "imagenet"}),
]


def potentials(model, x_seq):
    """Potentials before the reset and spikes of every neuron layer, in the order they run."""
    found, hooks = [], []

    def note(layer, inputs, out):
        found.append((layer.trace(inputs[0]).h_seq, out))

    for module in model.modules():
        if isinstance(module, Neuron):
            hooks.append(module.register_forward_hook(note))
    with torch.no_grad():
        logits = model(x_seq)
    for hook in hooks:
        hook.remove()
    return logits, found


def fired(program, x_seq):
    values = activations(program, x_seq)
    return [
        v for n, v in zip(program.nodes, values, strict=True) if isinstance(n, Sum) and n.neurons
    ]


@pytest.mark.parametrize(("name", "arguments"), REGISTERED)
def test_spikes_differ_only_within_rounding_of_the_threshold(name, arguments):
    model = lively(small(name, **arguments))
    x_seq = torch.rand(4, 3, *IMAGE)
    packed = infer(model, x_seq)
    want, layers = potentials(model, x_seq)
    for ours, (h, theirs) in zip(fired(packed.program, x_seq), layers, strict=True):
        turned = ours.reshape(theirs.shape) != theirs
        if turned.any():  # what follows from it later, and in later layers, may be anything
            first = turned.int().cumsum(0).cumsum(0) == 1
            assert (h - 0.5).abs()[first].le(ROUNDING).all()
            return
    assert torch.allclose(packed(x_seq), want, atol=1e-5)


@pytest.mark.parametrize("seed", range(6))
def test_bits_and_truth_differ_only_where_a_spike_turned(seed):
    torch.manual_seed(seed)
    model = lively(small("spiking_vgg9", pool="max", width=0.3))
    x_seq = encode.constant(torch.rand(2, *IMAGE), 4)
    packed = infer(model, x_seq)
    with use("truth"):
        truth = packed(x_seq)
    error = (packed(x_seq) - truth).abs()
    assert error.amax((0, 2)).le(1e-5).any()  # a turned spike is rare: not in both images


@pytest.mark.parametrize(
    "make",
    [
        lambda: IF(
            (6, 1, 1), v_threshold=0.75, reset="soft", per="channel", learn=("v_threshold",)
        ),
        lambda: ParametricLIF((6, 8, 8), tau=1.5, per="neuron", learn=("v_threshold",)),
        lambda: LIF(decay=euler(3.0), reset="none", strict=True),
        lambda: LIF(v_reset=-0.5, v_threshold=0.5),
    ],
)
def test_learnt_values_and_resets(make):
    neurons = make()
    with torch.no_grad():
        for value in neurons.parameters():
            value += 0.2 * torch.randn_like(value)
    model = nn.Sequential(
        OverTime(nn.Conv2d(3, 6, 3, padding=1)), neurons, OverTime(nn.Conv2d(6, 5, 3, padding=1)),
        LIF(tau=1.2, v_threshold=0.3), OverTime(nn.Flatten()),
        OverTime(nn.Linear(320, 4)), LI(tau=3.0),
    )  # fmt: skip
    x_seq = 2 * torch.rand(5, 3, 3, 8, 8)
    packed = infer(model, x_seq)
    with torch.no_grad():
        want = model(x_seq)
    assert torch.allclose(packed(x_seq), want, atol=1e-5)
    with use("truth"):
        assert torch.allclose(packed(x_seq), want, atol=1e-5)


def test_a_network_that_ends_in_spikes_or_images_keeps_their_shape():
    conv = OverTime(nn.Conv2d(2, 5, 3))
    x_seq = torch.rand(3, 2, 2, 7, 6)
    for model in (nn.Sequential(conv, LIF(v_threshold=0.2)), nn.Sequential(conv)):
        packed = infer(model, x_seq)
        with torch.no_grad():
            want = model(x_seq)
        assert packed(x_seq).shape == want.shape
        assert torch.allclose(packed(x_seq), want, atol=1e-5)


def test_packing_leaves_the_model_as_it_was_and_does_not_follow_it():
    model = lively(small("spiking_vgg5")).train()
    before = copy.deepcopy(model.state_dict())
    x_seq = torch.rand(2, 2, *IMAGE)
    packed = infer(model, x_seq)
    assert model.training
    assert all(module.training for module in model.modules())
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    found = packed(x_seq)
    with torch.no_grad():
        for value in (*model.parameters(), *model.buffers()):
            value.zero_()
    assert torch.equal(packed(x_seq), found)


def test_a_packed_network_is_pickled_and_copied():
    model = lively(small("spiking_vgg5"))
    x_seq = torch.rand(2, 2, *IMAGE)
    packed = infer(model, x_seq)
    want = packed(x_seq)
    for twin in (pickle.loads(pickle.dumps(packed)), copy.deepcopy(packed)):
        assert torch.equal(twin(x_seq), want)


def test_the_plan_names_every_layer_its_density_and_choice():
    model = lively(small("spiking_vgg5", pool="max"))
    packed = infer(model, torch.rand(2, 2, *IMAGE))
    lines = str(packed).splitlines()
    assert lines[1].split() == ["layer", "shape", "density", "choice", "events"]
    assert "features.0" in lines[2]
    assert "real values" in lines[2]
    assert "or of bits" in lines[3]
    assert "gather" in str(infer(model, torch.rand(2, 2, *IMAGE), break_even=2.0))
    assert "dense" in str(infer(model, torch.rand(2, 2, *IMAGE), break_even=0.0))


@pytest.mark.skipif(native.OPENED is None, reason=native.PROBLEM)
def test_inputs_of_other_dtypes_and_layouts():
    model = lively(small("spiking_vgg5"))
    x_seq = torch.rand(2, 3, *IMAGE)
    packed = infer(model, x_seq)
    want = packed(x_seq)
    wide = x_seq.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)
    assert torch.equal(packed(wide), want)
    assert torch.equal(packed(x_seq.double()), want)
    assert torch.equal(packed(torch.cat([x_seq, x_seq], 1)[:, ::2][:, :1]), want[:, :1])
