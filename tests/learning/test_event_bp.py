"""Event-driven learning: what reaches weights and inputs, thresholds, and what is refused."""

import copy
from functools import partial
from itertools import pairwise

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
    transform_of,
    transform_weights,
)
from spikeloom.learning import Batch, EventBP, Progress, Unsupported
from spikeloom.learning.event_thresholds import calibrate, transfer
from spikeloom.learning.links import linked
from spikeloom.losses import CountPlus
from spikeloom.models import SpikingResNet, SpikingVGG
from spikeloom.run.config import load
from spikeloom.run.stage import rehearse
from spikeloom.run.task import network
from tests.compose import composition
from tests.functional.neurons.slow_events import layer_backward, spikes_of

START = Progress(epoch=0, epochs=1, update=0, updates=1)
TAUS = {"tau_m": 5.0, "tau_s": 3.0, "tau_grad": 1.7}
CLIP = 1.5
neurons = partial(DoubleExponential, per="channel", v_threshold=0.6)


def vgg(**more):
    torch.manual_seed(0)
    options = {"neuron": neurons, "norm": NoNorm, "in_shape": (1, 8, 8), "num_classes": 3}
    options |= {"readout": partial(EarlySpikes, neuron=neurons), "kernel": 5}
    return transform_weights(SpikingVGG((4, "P", 6, "P"), (16,), **options | more), Standardised)


def batch(N=6, T=5, seed=1):
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(N, 1, 8, 8, generator=generator)
    return Batch(x.expand(T, *x.shape), torch.arange(N) % 3)


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


def test_the_fold_changes_no_output_and_leaves_gamma_at_one():
    model, x_seq = vgg().double(), batch().x_seq.double()
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.uniform_(transform_of(layer).gamma, 0.5, 2.0)
            nn.init.normal_(transform_of(layer).beta, 0, 0.1)
            if layer.bias is not None:
                nn.init.normal_(layer.bias)
    before = copy.deepcopy(model)
    learner = EventBP(spikes_at_start=0)
    prepared = learner.prepare(model)
    learner.step(prepared, Batch(x_seq, batch().y), CountPlus(), START)
    seen = [spikes_of_all(net, x_seq) for net in (before, model)]
    assert all(torch.equal(a, b) for a, b in zip(*seen, strict=True))
    assert sum(s.sum() for s in seen[0]) > 50
    gammas = [m.gamma for m in model.modules() if isinstance(m, Standardised)]
    assert len(gammas) == 4
    assert all((gamma == 1).all() for gamma in gammas)


def spikes_of_all(net, x_seq):
    found = []
    layers = [m for m in net.modules() if isinstance(m, DoubleExponential)]
    hooks = [m.register_forward_hook(lambda m, i, o: found.append(o)) for m in layers]
    with torch.no_grad():
        net(x_seq)
    for hook in hooks:
        hook.remove()
    return found


def test_raw_weights_are_bounded_and_gamma_stays_positive():
    model = vgg()
    layer = model.features[0].module
    with torch.no_grad():
        layer.parametrizations.weight.original.fill_(9.0)
        transform_of(layer).gamma.fill_(-1.0)
    learner = EventBP(spikes_at_start=0)
    learner.step(learner.prepare(model), batch(), CountPlus(), START)
    assert layer.parametrizations.weight.original.max() == 4
    assert transform_of(layer).gamma.min() > 0
    assert model.features[2].v_threshold.start.min() > 0


def mlp(*sizes, **options):
    torch.manual_seed(0)
    layers = []
    for n, out in pairwise(sizes):
        layers += [OverTime(Linear(n, out, bias=False)), neurons((out,), **options)]
    return transform_weights(nn.Sequential(*layers), Standardised)


def test_calibration_brings_every_layer_to_its_rate():
    model, x_seq = mlp(64, 300, 300, 200), torch.rand(40, 64).expand(12, 40, 64)
    calibrate(model, x_seq, 1.0)
    for spike_seq in spikes_of_all(model, x_seq):
        rate = spike_seq[8:].sum(0).mean().item()
        assert rate == pytest.approx(1.0 / 12 * 4, rel=0.02)
    scales = {round(float(theta.mean()), 6) for theta in thresholds_of(model)}
    assert len(scales) == 3
    assert all(m.calibrated == 1 for m in model if isinstance(m, DoubleExponential))


def thresholds_of(model):
    return [m.v_threshold.start.clone() for m in model.modules() if hasattr(m, "v_threshold")]


def test_a_layer_that_cannot_reach_the_rate_keeps_its_threshold_and_is_named():
    model = mlp(8, 6, 4)
    with torch.no_grad():  # no output of the second map is positive
        transform_of(model[2].module).beta.fill_(-9.0)
    x_seq = torch.rand(20, 8).expand(6, 20, 8)
    with pytest.warns(UserWarning, match=r"lets 3 fire 1 times in 6 steps.* fires 0 times"):
        calibrate(model, x_seq, 1.0)
    first, second = thresholds_of(model)
    assert (first != 0.6).all()
    assert (second == 0.6).all()


def test_a_rehearsal_on_two_samples_does_not_warn(monkeypatch):
    monkeypatch.setitem(composition.ARGUMENTS, "event_bp", {"spikes_at_start": 2.0})
    task = composition.task(composition.configuration({"learner": "event_bp"}))
    rehearse(task)
    learner = EventBP(spikes_at_start=2.0)
    x_seq = torch.rand(2, 4, *composition.IMAGES)
    with pytest.warns(UserWarning, match="keeps the one it has"):
        learner.step(
            task.model.train(), Batch(x_seq, torch.zeros(4).long()), CountPlus(desired=2), START
        )


def test_more_spikes_than_steps_are_refused_at_the_first_step():
    learner = EventBP(spikes_at_start=5.5)
    with pytest.raises(ValueError, match=r"spikes_at_start = 5\.5, but in T = 5 steps"):
        learner.step(learner.prepare(vgg()), batch(), CountPlus(), START)


@pytest.mark.parametrize("spikes", [0, 0.0])
def test_no_spikes_at_start_leave_thresholds_as_they_are(spikes):
    model, learner = vgg(), EventBP(spikes_at_start=spikes)
    learner.step(learner.prepare(model), batch(), CountPlus(), START)
    assert all((theta == 0.6).all() for theta in thresholds_of(model))


def test_thresholds_are_calibrated_once_and_kept_in_the_state():
    learner, model = EventBP(), vgg()
    trained = learner.prepare(model)
    learner.step(trained, batch(), CountPlus(), START)
    kept = {key: value.clone() for key, value in trained.state_dict().items()}
    assert [kept[key] for key in kept if key.endswith("calibrated")] == [1] * 4
    names = [key for key in kept if key.endswith("v_threshold.start")]
    assert len(names) == 4
    assert all((kept[key] != 0.6).all() for key in names)

    again = EventBP()
    resumed = again.prepare(vgg())
    resumed.load_state_dict(kept)
    trained.zero_grad()
    for one, net in ((learner, trained), (again, resumed)):
        one.step(net, batch(seed=2), CountPlus(), START)
    for a, b in zip(trained.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a.grad, b.grad)


def test_a_second_phase_leaves_the_thresholds_of_the_first():
    model, learner = vgg(), EventBP(spikes_at_start=0.6)
    trained = learner.prepare(model)
    learner.step(trained, batch(), CountPlus(), START)
    average = torch.optim.swa_utils.AveragedModel(
        trained, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9), use_buffers=True
    )
    for _ in range(3):
        average.update_parameters(trained)
    for plain in (learner.finish(trained), learner.finish(average.module)):
        before = thresholds_of(plain)
        second = EventBP(spikes_at_start=2.0)
        second.step(second.prepare(plain), batch(seed=3), CountPlus(), START)
        assert all(torch.equal(*pair) for pair in zip(before, thresholds_of(plain), strict=True))


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


def test_transfer_without_fold_keeps_the_scale():
    model = vgg()
    learner = EventBP(spikes_at_start=0, transfer=False)
    learner.step(learner.prepare(model), batch(), CountPlus(), START)
    gamma = transform_of(model.features[0].module).gamma
    with torch.no_grad():
        gamma.fill_(2.0)
    transfer(learner.layers, fold=False)
    assert (gamma == 2).all()


def test_max_pooling_is_named_where_it_is():
    net = nn.Sequential(OverTime(Conv2d(1, 2, 3)), neurons((2, 6, 6)), OverTime(MaxPool2d(2)))
    with pytest.raises(Unsupported, match=r"2\.module \(MaxPool2d\)"):
        EventBP().prepare(net)
