"""Event-driven learning: what reaches weights and inputs, and what is refused."""

from functools import partial

import pytest
import torch
from torch import nn

from spikeloom.functional import timed
from spikeloom.functional.neurons.double_exponential import response
from spikeloom.functional.neurons.timed import simulate
from spikeloom.layers import (
    IF,
    LI,
    LIF,
    BatchNorm,
    Conv2d,
    DoubleExponential,
    Dropout,
    EarlySpikes,
    Linear,
    MaxPool2d,
    NoNorm,
    OverTime,
    Standardised,
    transform_weights,
)
from spikeloom.learning import Batch, EventBP, Unsupported
from spikeloom.learning.links import linked
from spikeloom.losses import CountPlus
from spikeloom.models import SpikingResNet
from spikeloom.run.config import load
from spikeloom.run.task import network
from tests.functional.neurons.slow_events import layer_backward, spikes_of
from tests.learning.timed_networks import START, batch, neurons, vgg

TAUS = {"tau_m": 5.0, "tau_s": 3.0, "tau_grad": 1.7}
CLIP = 1.5


def weighted(shape=(4, 3)):
    """A loss of random slopes, so that every spike's gradient is known and different."""
    return lambda out, y: (out * torch.linspace(-1, 2, out.numel()).view_as(out)).sum()


@pytest.mark.parametrize("supervised", [False, True])
def test_two_layers_equal_their_definition(supervised):
    torch.manual_seed(0)
    T, sizes, label = 7, (5, 6, 4), 0
    first, second = (DoubleExponential((n,), v_threshold=0.2) for n in sizes[1:])
    net = nn.Sequential(
        *(OverTime(Linear(5, 6, bias=False)), first, OverTime(Linear(6, 4, bias=False)), second)
    ).double()
    with torch.no_grad():
        for layer in (net[0].module, net[2].module):
            layer.weight.copy_(torch.randn_like(layer.weight) + 0.3)
    x = torch.rand(T, 1, 5, dtype=torch.float64)
    learner = EventBP(
        spikes_at_start=0, transfer=False, supervised=supervised, tau_grad=1.7, clip=CLIP
    )
    model = learner.prepare(net)
    seen = learner.step(model, Batch(x, torch.tensor([label])), weighted(), START)

    W1, W2 = (layer.weight.detach() for layer in (net[0].module, net[2].module))
    i1 = x[:, 0] @ W1.T
    one = [spikes_of(i1[:, n], 0.2, **TAUS) for n in range(6)]
    s1 = torch.tensor([found[0] for found in one], dtype=torch.float64).T
    i2 = s1 @ W2.T
    two = [spikes_of(i2[:, n], 0.2, **TAUS) for n in range(4)]
    emitted = torch.tensor([found[0] for found in two], dtype=torch.float64).T
    assert torch.equal(seen.logits_seq[:, 0] > 0, emitted > 0)
    s, du, _ = two[label]
    at = max(t for t in range(T) if du[t] > 0.05)
    assert not s[at]  # so that the supervised spike is a new one
    s[at] = 1.0 if supervised else 0.0
    s2 = torch.tensor([found[0] for found in two], dtype=torch.float64).T
    assert s1.sum() > 8
    assert s2.sum() > 6
    assert any(0 < du < 1 / CLIP for s, du, _ in two for s, du in zip(s, du, strict=True) if s)
    G2 = -torch.linspace(-1, 2, s2.numel()).view_as(s2) * s2
    back = [layer_backward(i2[:, n], *two[n], G2[:, n], **TAUS, clip=CLIP) for n in range(4)]
    Gw2, Gi2 = (torch.stack(part, 1) for part in zip(*back, strict=True))
    torch.testing.assert_close(net[2].module.weight.grad, Gw2.T @ s1)
    G1 = (Gi2 @ W2) * s1
    back = [layer_backward(i1[:, n], *one[n], G1[:, n], **TAUS, clip=CLIP) for n in range(6)]
    Gw1 = torch.stack([found[0] for found in back], 1)
    torch.testing.assert_close(net[0].module.weight.grad, Gw1.T @ x[:, 0])


class Noted(torch.autograd.Function):
    """Hands a sequence on and notes the sum of its time gradients, -g s."""

    @staticmethod
    def forward(ctx, x_seq, into):
        ctx.save_for_backward(x_seq)
        ctx.into = into
        return x_seq.view_as(x_seq)

    @staticmethod
    def backward(ctx, g):
        ctx.into.append(float((-g * ctx.saved_tensors[0]).sum()))
        return g, None


def sums_through(between):
    """Sums of time gradients behind a convolution's neurons, in front of it, and before that."""
    torch.manual_seed(2)
    source = DoubleExponential((4, 8, 8), v_threshold=0.3)
    conv = OverTime(Conv2d(4, 5, 3, padding=1, bias=False)).double()
    last = DoubleExponential((5, 8, 8), v_threshold=0.3)
    found = []

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.last, self.between = conv, last, between

        def forward(self, spike_seq):
            return self.last(self.conv(self.between(Noted.apply(spike_seq, found))))

    x = torch.rand(6, 2, 4, 8, 8, dtype=torch.float64)
    spike_seq = source(x).detach().requires_grad_()

    def fire(neuron, x_seq, link, maps):
        return Noted.apply(timed(x_seq, link, v_threshold=0.3), found)

    with torch.no_grad():
        conv.module.weight.abs_()
    net = Net()
    with linked(net, fire):
        out = net(spike_seq)
    (out * torch.randn_like(out)).sum().backward()
    return found, spike_seq


@pytest.mark.parametrize(
    "between",
    [
        nn.Identity(),
        OverTime(nn.AvgPool2d(2)),
        OverTime(nn.AdaptiveAvgPool2d(1)),
        Dropout(0.5),
    ],
    ids=str,
)
def test_the_sum_of_time_gradients_goes_through_layers_poolings_and_dropout(between):
    (out, before), _ = sums_through(between)
    assert abs(out) > 0.01
    assert before == pytest.approx(out, abs=1e-9)


def test_an_average_pooling_gives_each_of_m_spikes_the_same_share():
    _, spike_seq = sums_through(OverTime(nn.AvgPool2d(2)))
    G = -spike_seq.grad * spike_seq.detach()
    windows = G.unflatten(-1, (4, 2)).unflatten(-3, (4, 2)).transpose(-3, -2).flatten(-2)
    m = (windows != 0).sum(-1, keepdim=True)
    share = windows.sum(-1, keepdim=True) / m.clamp(min=1)
    torch.testing.assert_close(windows, torch.where(windows != 0, share, 0.0))
    assert (m > 1).any()


def noted(net, places, x_seq, theta):
    """Sums of time gradients behind the modules of these names, and of the output, last first."""
    found = []

    def fire(neuron, x_seq, link, maps):
        spike_seq, _, q_seq = simulate(x_seq, response(5.0, 3.0), 1 - 1 / 2.5, theta)
        assert (q_seq[spike_seq > 0] > 0).all()  # a condition of the invariance
        return timed(x_seq, link, v_threshold=theta)

    hooks = [
        net.get_submodule(place).register_forward_hook(lambda m, i, out: Noted.apply(out, found))
        for place in places
    ]
    with linked(net, fire):
        out = Noted.apply(net(x_seq), found)
    for hook in hooks:
        hook.remove()
    torch.manual_seed(5)
    (out * torch.randn_like(out)).sum().backward()
    return found


def test_the_sum_of_time_gradients_goes_through_residual_blocks():
    torch.manual_seed(0)
    options = {"neuron": neurons, "norm": NoNorm, "in_shape": (1, 8, 8), "num_classes": 3}
    options["readout"] = partial(EarlySpikes, neuron=neurons)
    net = SpikingResNet((4, 8), (1, 1), residual="sew", **options).double()
    with torch.no_grad():
        for p in net.parameters():
            p.abs_()
    values = []
    net.stages[1].register_forward_hook(lambda m, i, out: values.append(out.max().item()))
    x_seq = torch.rand(6, 2, 1, 8, 8, dtype=torch.float64)
    sums = noted(net, ("stem", "stages.0", "stages.1"), x_seq, 0.4)
    assert max(values) > 1  # spikes that add up
    assert abs(sums[0]) > 0.01
    assert sums[1:] == pytest.approx([sums[0]] * 3, abs=1e-9)


def test_the_sum_of_time_gradients_goes_through_the_last_layer_of_a_recipe():
    torch.manual_seed(0)
    net = network(load("digits_mlp_time_based"), (1, 8, 8), 10).double().train()
    with torch.no_grad():
        for name, p in net.named_parameters():
            if name.endswith("beta"):
                p.fill_(0.05)
            elif name.endswith(".bias"):
                p.fill_(0.3)
    layers = [name for name, m in net.named_modules() if isinstance(m, DoubleExponential)]
    assert len(layers) == 4
    x_seq = torch.rand(12, 1, 8, 8, dtype=torch.float64).expand(5, 12, 1, 8, 8)
    sums = noted(net, layers[:3], x_seq, 0.2)
    assert abs(sums[0]) > 0.01
    assert sums[1:] == pytest.approx([sums[0]] * 3, abs=1e-9)


def test_a_step_runs_every_convolution_once_and_fills_all_gradients():
    model, calls = vgg(), []
    learner = EventBP()
    trained = learner.prepare(model)
    learner.step(trained, batch(), CountPlus(desired=4), START)
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(lambda *_: calls.append(1))
    trained.zero_grad()
    seen = learner.step(trained, batch(), CountPlus(desired=4), START)
    assert len(calls) == 4
    assert seen.logits_seq.shape == (5, 6, 3)
    for name, p in trained.named_parameters():
        assert p.grad is not None, name
        assert p.grad.isfinite().all(), name
    assert sum(bool(p.grad.any()) for p in trained.parameters()) > 5
    assert not any(m._forward_hooks for m in model.modules() if isinstance(m, OverTime))


def test_a_sew_network_trains_and_others_are_refused():
    torch.manual_seed(0)
    options = {"neuron": neurons, "norm": NoNorm, "in_shape": (1, 8, 8), "num_classes": 3}
    options["readout"] = partial(EarlySpikes, neuron=neurons)
    net = SpikingResNet((4, 8), (1, 1), residual="sew", **options)
    net = transform_weights(net, Standardised)
    learner = EventBP(spikes_at_start=1.5)
    model = learner.prepare(net)
    learner.step(model, batch(), CountPlus(desired=4), START)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    for kind in ("standard", "membrane"):
        learner = EventBP()
        model = learner.prepare(SpikingResNet((4, 8), (2, 1), residual=kind, **options))
        with pytest.raises(Unsupported, match='residual = "sew"'):
            learner.step(model, batch(), CountPlus(desired=4), START)


class Doubled(nn.Module):
    def forward(self, x_seq):
        return 2 * x_seq


class Twice(nn.Module):
    """A map whose output counts twice."""

    def __init__(self):
        super().__init__()
        self.map = OverTime(Linear(5, 4))

    def forward(self, x_seq):
        x_seq = self.map(x_seq)
        return x_seq + x_seq


BETWEEN = {
    "scaled": (OverTime(Linear(5, 4)), Doubled()),
    "dropout": (OverTime(Linear(5, 4)), Dropout(0.5)),
    "biased": (OverTime(Linear(5, 4)), NoNorm(4, bias=True)),
    "two maps": (OverTime(Linear(5, 5)), OverTime(Linear(5, 4))),
    "twice": (Twice(),),
    "frozen and scaled": (OverTime(Linear(5, 4)).requires_grad_(False), Doubled()),
}


@pytest.mark.parametrize("what", BETWEEN)
def test_what_lies_between_a_map_and_its_neurons_is_refused(what):
    net = nn.Sequential(nn.Sequential(*BETWEEN[what], neurons((4,))))
    x_seq = torch.rand(3, 2, 5).requires_grad_()

    def fire(neuron, x_seq, link, maps):
        return timed(x_seq, link, v_threshold=0.3)

    with (
        pytest.raises(
            Unsupported, match=rf"current of 0\.{len(net[0]) - 1} .*in front of the maps"
        ),
        linked(net, fire),
    ):
        net(x_seq)


def test_a_pooling_behind_a_map_is_refused():
    pool = OverTime(nn.AvgPool2d(2))
    net = nn.Sequential(OverTime(Conv2d(1, 3, 3, padding=1)), pool, neurons((3, 4, 4)))
    learner = EventBP()
    with pytest.raises(Unsupported, match=r"current of 2 .*in front of the maps"):
        learner.step(learner.prepare(net), batch(), weighted(), START)


def test_a_frozen_map_still_leads_to_its_input():
    torch.manual_seed(0)
    map_ = OverTime(Linear(5, 4)).requires_grad_(False)
    spike_seq = torch.ones(3, 2, 5, requires_grad=True)
    net = nn.Sequential(map_, neurons((4,)))
    with linked(net, lambda neuron, x_seq, link, maps: timed(x_seq, link, v_threshold=0.05)):
        net(spike_seq).sum().backward()
    assert spike_seq.grad.any()


def test_accuracy_is_that_of_the_spikes_that_were_emitted():
    model = vgg()
    learner = EventBP(spikes_at_start=0)
    trained = learner.prepare(model)
    seen = learner.step(trained, batch(), CountPlus(), START)
    model.eval()
    with torch.no_grad():
        assert torch.equal(model(batch().x_seq), seen.logits_seq)


def test_finish_hands_the_network_back():
    model = vgg()
    learner = EventBP()
    assert learner.finish(learner.prepare(model)) is model


REFUSED = {
    "neuron": ({"neuron": partial(LIF)}, 'neuron = { name = "double_exponential"'),
    "if": ({"neuron": partial(IF)}, "double_exponential"),
    "norm": ({"norm": BatchNorm}, 'norm = "none" and weight = "standardised"'),
    "pool": ({"pool": "max"}, 'pool = "average"'),
    "readout": ({"readout": partial(LI)}, 'readout = "early_spikes"'),
    "layer": ({"neuron": partial(DoubleExponential, v_threshold=0.6)}, 'per = "channel"'),
    "learnt": ({"neuron": partial(neurons, learn=("v_threshold",))}, "leave out"),
    "strict": ({"neuron": partial(neurons, strict=True)}, "leave out"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_does_not_fit_is_refused_with_the_reason(what):
    options, said = REFUSED[what]
    with pytest.raises(Unsupported, match=said):
        EventBP().prepare(vgg(**options))


def test_logits_and_mixed_labels_are_refused():
    learner = EventBP()
    model = learner.prepare(vgg(readout=None))
    with pytest.raises(Unsupported, match='readout = "early_spikes"'):
        learner.step(model, batch(), CountPlus(), START)
    learner = EventBP()
    mixed = Batch(batch().x_seq, torch.full((6, 3), 1 / 3))
    with pytest.raises(Unsupported, match="one class for each sample"):
        learner.step(learner.prepare(vgg()), mixed, CountPlus(), START)


@pytest.mark.parametrize(
    "options", [{"tau_grad": 1.0}, {"clip": 0.0}, {"spikes_at_start": -0.1}], ids=str
)
def test_arguments_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match=r"need|must be"):
        EventBP(**options)


def test_max_pooling_is_named_where_it_is():
    net = nn.Sequential(OverTime(Conv2d(1, 2, 3)), neurons((2, 6, 6)), OverTime(MaxPool2d(2)))
    with pytest.raises(Unsupported, match=r"2\.module \(MaxPool2d\)"):
        EventBP().prepare(net)
