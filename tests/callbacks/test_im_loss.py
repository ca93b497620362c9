"""IM-Loss and ESG against the numbers of their specification."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from spikeloom.callbacks import EvolutionarySurrogate, IMLoss
from spikeloom.callbacks.im_loss import channel_deviation, inner_names, layer_deviation
from spikeloom.callbacks.potentials import Mean, means, potentials
from spikeloom.functional import Sigmoid, factor, lif
from spikeloom.kernels import use
from spikeloom.layers import (
    ALIF,
    IF,
    LIF,
    BatchNorm,
    CubaLIF,
    OverTime,
    carry,
    set_surrogate,
    unrolled,
)
from spikeloom.learning import Batch, Progress, Unsupported
from tests.small import small

HALF = torch.tensor(0.5)
K = {0.0: 1.0, 0.25: 1.77828, 0.5: 3.16228, 0.75: 5.62341, 1.0: 10.0}
GRADIENTS = {
    1.0: (0.604883, 0.581237, 0.436442, 0.541613, 0.475518),
    10.0: (0.677071, 1.448805, 0.394164, 0.060999, 0.217325),
}


def seen(h_seq: Tensor, threshold: Tensor = HALF) -> Mean:
    return Mean("layer", (h_seq > threshold).float(), h_seq.mean(0), threshold)


@pytest.mark.parametrize("share", K)
def test_the_schedule(share: float) -> None:
    schedule = EvolutionarySurrogate()
    assert schedule.at(share) == pytest.approx(K[share], abs=1e-5)
    assert schedule.at(share) == pytest.approx(10**share, abs=1e-12)


def test_other_ends_tell_the_form_from_a_geometric_one() -> None:
    assert EvolutionarySurrogate(lowest=0.5, highest=4).at(0.5) == pytest.approx(1.34089, abs=1e-5)


def test_the_slope_at_the_threshold_is_half_the_sharpness() -> None:
    net = LIF()
    schedule = EvolutionarySurrogate(samples=0)
    for epoch in range(4):
        at = Progress(epoch=epoch, epochs=4, update=0, updates=1)
        notes = schedule.epoch(net, lambda n: pytest.fail("asked"), lambda *_: HALF, at)
        schedule.apply(net)
        assert net.surrogate.grad(torch.zeros(())).item() == pytest.approx(notes["sharpness"] / 2)
        again = EvolutionarySurrogate()
        again.restore(schedule.state())
        assert again.sharpness == schedule.sharpness


@pytest.mark.parametrize("sharpness", [1.0, 3.0, 10.0])
def test_the_slope_is_even_and_has_area_one(sharpness: float) -> None:
    net = LIF()
    EvolutionarySurrogate(lowest=sharpness, highest=sharpness).apply(net)
    u = torch.linspace(-20, 20, 80_001, dtype=torch.float64)
    slope = net.surrogate.grad(u)
    torch.testing.assert_close(slope, slope.flip(0))
    want = 0.5 * sharpness * (1 - torch.tanh(sharpness * u) ** 2)
    torch.testing.assert_close(slope, want)
    assert torch.trapezoid(slope, u).item() == pytest.approx(1, abs=1e-6)


def test_a_fixed_sharpness_and_no_weight_is_the_plain_tanh() -> None:
    schedule = EvolutionarySurrogate(lowest=3.0, highest=3.0, samples=0)
    given = Batch(torch.rand(2, 4, 3, 32, 32), torch.randint(5, (4,)))
    found = []
    for extras in (False, True):
        torch.manual_seed(0)
        net = small("spiking_vgg5")
        set_surrogate(net, Sigmoid(alpha=6.0))
        if extras:
            set_surrogate(net, Sigmoid(alpha=1.0))
            for epoch in range(3):
                at = Progress(epoch=epoch, epochs=3, update=0, updates=1)
                schedule.epoch(net, lambda n: given, lambda *_: HALF, at)
                schedule.apply(net)
        with IMLoss(weight=0.0).term(net) as term, use("truth"):
            value = net(given.x_seq).square().mean()
            extra = term() if extras else None
            (value if extra is None else value + extra).backward()
        found.append([p.grad for p in net.parameters()])
    assert all(torch.equal(*pair) for pair in zip(*found, strict=True))
    assert any(grad.any() for grad in found[0])


def test_the_share_near_the_threshold_is_noted() -> None:
    net, schedule = nn.Sequential(LIF(v_threshold=0.5)), EvolutionarySurrogate()
    batch = Batch(torch.linspace(-3, 5, 4000).view(1, -1, 1), torch.zeros(4000, dtype=torch.long))
    at = Progress(epoch=0, epochs=2, update=0, updates=1)
    notes = schedule.epoch(net, lambda n: batch, lambda *_: HALF, at)
    # h = x / 2 is spread evenly over [-1.5, 2.5]; within 1 of 0.5 lies half of that
    assert notes["near threshold"] == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("sharpness", GRADIENTS)
def test_the_neuron_vector(sharpness: float) -> None:
    x_seq = torch.tensor([0.3, 0.3, 0.6, 0.1, 0.7], dtype=torch.float64).view(5, 1, 1)
    x_seq.requires_grad_()
    curve = Sigmoid(alpha=2 * sharpness)
    spikes, _ = lif(x_seq, decay=factor(0.25), v_threshold=0.5, surrogate=curve)
    assert spikes.flatten().tolist() == [0, 0, 1, 0, 1]
    spikes.sum().backward()
    assert x_seq.grad.flatten().tolist() == pytest.approx(GRADIENTS[sharpness], abs=1e-6)


def test_the_worked_example() -> None:
    u = torch.tensor([[0.1, 0.2], [0.4, 0.9]])[None].requires_grad_()
    value = layer_deviation(seen(u))
    (grad,) = torch.autograd.grad(value, u)
    assert value.item() == pytest.approx(0.01)
    torch.testing.assert_close(grad, torch.full_like(u, -0.05))
    value = channel_deviation(seen(u))
    (grad,) = torch.autograd.grad(value, u)
    assert value.item() == pytest.approx(0.0325)
    torch.testing.assert_close(grad[0], torch.tensor([[-0.125, 0.025]] * 2))


@pytest.mark.parametrize("d", [0.0, 0.3, -0.7])
def test_a_constant_potential_costs_its_squared_distance(d: float) -> None:
    u = torch.full((3, 4, 5), 0.5 + d, requires_grad=True)
    for statistic in (layer_deviation, channel_deviation):
        value = statistic(seen(u))
        assert value.item() == pytest.approx(d * d, abs=1e-6)
        (grad,) = torch.autograd.grad(value, u)
        assert (grad == 0).all() == (d == 0)


@pytest.mark.parametrize("layer", [LIF(), ALIF(), CubaLIF(), LIF(reset="soft")])
def test_recording_changes_neither_spikes_nor_states(layer: nn.Module) -> None:
    net, x_seq = nn.Sequential(layer), 2 * torch.rand(6, 3, 4)
    with use("truth"):
        want, states = carry(net, x_seq)
    with potentials(net) as recorded:
        found, after = carry(net, x_seq)
    assert torch.equal(found, want)
    torch.testing.assert_close(after, states)
    (one,) = recorded()
    assert one.name == "0"
    assert one.h_seq.shape == x_seq.shape
    assert recorded() == [], "handed over once"


@pytest.mark.parametrize(
    "layer", [LIF(), IF(v_threshold=0.7), ALIF(beta=0.3), CubaLIF(), LIF(learn=["v_threshold"])]
)
def test_means_are_those_of_the_potentials(layer: nn.Module) -> None:
    net = nn.Sequential(layer)
    found, weights = [], torch.randn(3, 4)
    for record in (potentials, means):
        x_seq = (2 * torch.rand(6, 3, 4, generator=torch.manual_seed(0))).requires_grad_()
        with record(net) as recorded:
            spikes = net(x_seq)
        (one,) = recorded()
        mean = one.h_seq.mean(0) if record is potentials else one.h_mean
        ((mean * weights).sum() + spikes.square().sum()).backward()
        level = one.threshold.expand(6, 3, 4).mean(0) if record is potentials else one.threshold
        found.append((spikes.detach(), mean.detach(), level.expand(3, 4), x_seq.grad))
    torch.testing.assert_close(*found)


def test_learnt_thresholds_are_a_target_and_do_not_move_to_the_potentials() -> None:
    net = nn.Sequential(OverTime(nn.Linear(5, 8)), LIF(learn=["v_threshold"]))
    with IMLoss().term(net) as term:
        net(torch.rand(1, 4, 5))  # in later steps potentials depend on it, through the reset
        term().backward()
    assert net[1].v_threshold.raw.grad in (None, 0)
    assert net[0].module.weight.grad.any()


def test_the_target_of_adaptive_neurons_is_the_threshold_in_force() -> None:
    neuron, x_seq = ALIF(v_threshold=0.5, beta=0.3), 2 * torch.rand(12, 3, 4)
    x_seq = torch.cat([x_seq, torch.full_like(x_seq[:1], 4.0)])
    for state in (None, neuron.scan(x_seq)[1]):
        trace = neuron.trace(x_seq, state)
        level = neuron.threshold(trace, state)
        assert torch.equal(trace.spike_seq, (trace.h_seq >= level).float())
        assert not torch.equal(trace.spike_seq, (trace.h_seq >= 0.5).float())
    with potentials(nn.Sequential(neuron)) as recorded:
        neuron(x_seq)
    torch.testing.assert_close(recorded()[0].threshold, neuron.threshold(neuron.trace(x_seq)))


def gradient(weight: float, **given: Any) -> tuple[float, list[Tensor]]:
    torch.manual_seed(0)
    net = small("spiking_vgg5")
    x_seq = torch.rand(2, 4, 3, 32, 32)
    with IMLoss(weight=weight, **given).term(net) as term:
        logits = net(x_seq)
        extra = term()
        assert extra is not None
        (logits.square().mean() + extra).backward()
    return float(extra.detach()), [p.grad for p in net.parameters()]


def test_weight_zero_changes_no_gradient() -> None:
    torch.manual_seed(0)
    net = small("spiking_vgg5")
    with use("truth"):
        net(torch.rand(2, 4, 3, 32, 32)).square().mean().backward()
    extra, grads = gradient(0.0)
    assert extra == 0
    assert all(torch.equal(p.grad, grad) for p, grad in zip(net.parameters(), grads, strict=True))
    assert all(grad.any() for grad in grads)


def test_sum_and_mean_over_layers_differ_by_their_number() -> None:
    total, _ = gradient(2.0)
    mean, _ = gradient(2.0, combine="mean")
    layers = sum(isinstance(m, LIF) for m in small("spiking_vgg5").modules())
    assert total == pytest.approx(layers * mean)


INNER = {  # neurons of the model, and how many of them are inside its blocks
    "standard": ("spiking_resnet18", {}, 17, 8),
    "sew": ("spiking_resnet18", {"residual": "sew"}, 20, 8),
    "membrane": ("spiking_resnet18", {"residual": "membrane"}, 17, 8),
    "dense": ("spiking_densenet_bc", {}, None, 0),
}


@pytest.mark.parametrize("kind", INNER)
def test_neurons_inside_residual_blocks_do_not_count(kind: str) -> None:
    name, options, every, inside = INNER[kind]
    net = small(name, **options)
    with potentials(net) as recorded:
        net(torch.rand(2, 2, 3, 32, 32))
    layers = recorded()
    names = {layer.name for layer in layers} & inner_names(net)
    assert every in (None, len(layers))
    assert len(names) == inside
    if kind != "dense":
        place = {"standard": "body.2", "sew": "body.2", "membrane": "body.3"}[kind]
        assert all(name.endswith(place) for name in names)


def test_layers_are_skipped_by_name() -> None:
    net = small("spiking_resnet18")
    for skip, says in ((["*"], "every layer"), (["nothing.*"], "matches none")):
        with IMLoss(skip=skip).term(net) as term:
            net(torch.rand(2, 2, 3, 32, 32))
            with pytest.raises(Unsupported, match=says):
                term()


@pytest.mark.parametrize("statistic", ["layer", "channel", "rate"])
def test_low_memory_changes_nothing(statistic: Any) -> None:
    net = nn.Sequential(OverTime(nn.Linear(5, 8)), LIF(), OverTime(nn.Linear(8, 3)), LIF())
    x_seq = 3 * torch.rand(40, 4, 5)
    found = []
    for memory in ("auto", "low"):
        net.zero_grad()
        with use(memory=memory), IMLoss(statistic=statistic).term(net) as term:
            unrolled(net, x_seq)
            value = term()
            value.backward()
        found.append((value.detach(), net[0].module.weight.grad))
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("statistic", ["layer", "channel"])
def test_the_term_alone_brings_potentials_to_the_threshold(statistic: Any) -> None:
    neuron: dict[str, Any] = {"decay": factor(0.25), "v_threshold": 0.5}
    net = nn.Sequential(
        OverTime(nn.Linear(20, 64)), BatchNorm(64), LIF(**neuron),
        OverTime(nn.Linear(64, 64)), BatchNorm(64), LIF(**neuron),
    )  # fmt: skip
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
    callback = IMLoss(statistic=statistic)
    x_seq = torch.randn(4, 64, 20)
    for _ in range(150):
        optimizer.zero_grad()
        with callback.term(net) as term:
            net(x_seq)
            term().backward()
        optimizer.step()
    with torch.no_grad(), potentials(net) as recorded:
        net(x_seq)
    for layer in recorded():
        assert abs(float(layer.h_seq.mean()) - 0.5) < 1e-2
        assert 0.4 < float(layer.spike_seq.mean()) < 0.6


def test_what_cannot_work_is_refused() -> None:
    with pytest.raises(ValueError, match="weight"):
        IMLoss(weight=-1)
    with pytest.raises(ValueError, match="statistic"):
        IMLoss(statistic="median")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="combine"):
        IMLoss(combine="max")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="lowest"):
        EvolutionarySurrogate(lowest=3, highest=2)
