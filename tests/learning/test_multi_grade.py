"""Numbered items are those of the specification of multi-grade learning."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from spikeloom.layers import Grades
from spikeloom.learning import Batch, MultiGrade, Progress, Unsupported
from spikeloom.losses import MSE, RateCrossEntropy
from spikeloom.models import GradedMLP
from spikeloom.run.optimize import exponential
from tests.small import neuron, norm

START = Progress(0, 1, 0, 1)
LOSS = MSE(half=True, over="sum")


def network(grades=3, hidden=(8, 8), inputs=2, outputs=1, neurons="relu", **how) -> GradedMLP:
    return GradedMLP(
        grades, hidden, in_shape=(inputs,), num_classes=outputs,
        neuron=neuron(neurons), norm=norm("none"), **how,
    )  # fmt: skip


def data(N=32, inputs=2, outputs=1) -> Batch:
    return Batch(torch.rand(1, N, inputs), torch.randn(N, outputs))


def fit(net, nth, batch, updates=20, lr=0.01, **how):
    """Train a grade by gradient descent, on what begin has noted."""
    learner = MultiGrade(nth=nth, **how)
    learner.prepare(net)
    noted = learner.begin(net, [batch])
    seen = batch
    if noted.x is not None:
        seen = Batch(noted.x.transpose(0, 1), batch.y, noted.known)
    optimizer = torch.optim.SGD(net.parameters(), lr=lr)
    for _ in range(updates):
        optimizer.zero_grad()
        learner.step(net, seen, LOSS, START)
        optimizer.step()
    return learner


def rse(net, batch) -> float:
    with torch.no_grad():
        error = net(batch.x_seq).mean(0) - batch.y
    return float(error.square().sum() / batch.y.square().sum())


@pytest.mark.parametrize("cache", [True, False])
def test_item_2_grades_before_and_after_stay_bit_identical_and_without_gradients(cache):
    net, batch = network(), data()
    for nth in range(3):
        before = {name: value.clone() for name, value in net.named_parameters()}
        fit(net, nth, batch, cache=cache)
        own = {f"{kind}.{nth}." for kind in ("features", "heads")}
        for name, value in net.named_parameters():
            mine = any(name.startswith(start) for start in own)
            assert torch.equal(value, before[name]) != mine, name
            assert (value.grad is not None) == mine, name


def test_cached_or_not_a_step_is_the_same():
    nets, batch = (network(), network()), data()
    nets[1].load_state_dict(nets[0].state_dict())
    for nth in range(3):
        for net, cache in zip(nets, (True, False), strict=True):
            fit(net, nth, batch, cache=cache)
    for one, other in zip(*(net.parameters() for net in nets), strict=True):
        assert torch.equal(one, other)


def test_item_3_residuals_are_what_the_running_prediction_left():
    net, batch = network(), data()
    residual = batch.y
    for nth in range(2):
        learner = fit(net, nth, batch)
        h_seq, _ = net.below(batch.x_seq, nth)
        with torch.no_grad():
            residual = residual - net.answer(h_seq, nth)[0]
        torch.testing.assert_close(residual, batch.y - net(batch.x_seq)[0].detach())
        after = MultiGrade(nth=nth + 1)
        after.prepare(net)
        noted = after.begin(net, [batch])
        torch.testing.assert_close(batch.y - noted.known, residual)
        assert noted.facts["residual rms"] == pytest.approx(float(residual.square().mean()) ** 0.5)
        assert learner.grade == nth


def test_item_3_a_new_grade_with_a_zeroed_output_layer_starts_at_the_old_error():
    net, batch = network(), data()
    fit(net, 0, batch)
    before = rse(net, batch)
    silent(net.heads[1])
    MultiGrade(nth=1).prepare(net)
    assert rse(net, batch) == before


def silent(head: nn.Module) -> None:
    for parameter in head.parameters():
        nn.init.zeros_(parameter)


def test_item_4_from_zeroed_output_layers_the_training_error_never_rises():
    net, batch = network(4), data(64)
    for head in net.heads:
        silent(head)
    seen = [1.0]
    for nth in range(4):
        fit(net, nth, batch, updates=60, lr=0.05)
        seen.append(rse(net, batch))
    assert all(later <= earlier for earlier, later in pairwise(seen))
    assert seen[-1] < seen[1] < 1


def test_item_5_in_the_linear_limit_a_second_grade_finds_nothing_to_learn():
    torch.set_default_dtype(torch.float64)
    try:
        net, batch = (
            Grades([nn.Linear(2, 6), nn.Linear(6, 5)], [nn.Linear(6, 1), nn.Linear(5, 1)]),
            data(),
        )
        with torch.no_grad():
            h = net.features[0](batch.x_seq[0])
            ones = torch.ones(len(h), 1)
            best = torch.linalg.lstsq(torch.cat([h, ones], 1), batch.y, driver="gelsd").solution
            net.heads[0].weight.copy_(best[:-1].T)
            net.heads[0].bias.copy_(best[-1])
            silent(net.heads[1])
        before = rse(net, batch)
        fit(net, 1, batch, updates=50)
        assert rse(net, batch) == pytest.approx(before, abs=1e-12)
        learner = MultiGrade(nth=1)
        net.zero_grad()
        learner.step(net, batch, LOSS, START)
        assert max(float(p.grad.abs().max()) for p in net.heads[1].parameters()) < 1e-10
    finally:
        torch.set_default_dtype(torch.float32)


def test_item_6_the_gradient_of_the_output_layer_is_error_times_features():
    net, batch = network(outputs=3).double(), data(outputs=3)
    batch = Batch(batch.x_seq.double(), batch.y.double())
    learner = fit(net, 0, batch)
    learner = MultiGrade(nth=1)
    learner.prepare(net)
    net.zero_grad()
    learner.step(net, batch, LOSS, START)
    h, before = net.below(batch.x_seq, 1)
    h = net.features[1](h)[0]
    error = net.heads[1](h[None])[0] - (batch.y - before)
    want = error.T @ h / len(h)
    torch.testing.assert_close(net.heads[1].module.weight.grad, want)


def test_item_6_gradients_are_those_of_finite_differences():
    net = network(2, (4, 4), inputs=1).double()
    batch = Batch(torch.rand(1, 9, 1).double(), torch.randn(9, 1).double())
    for nth in range(2):
        learner = MultiGrade(nth=nth)
        learner.prepare(net)
        net.zero_grad()
        learner.step(net, batch, LOSS, START)
        for part in net.part(nth):
            for parameter in part.parameters():
                differ(net, learner, batch, parameter)


def differ(net, learner, batch, parameter, step=1e-6) -> None:
    found = torch.zeros_like(parameter)
    with torch.no_grad():
        for at in range(parameter.numel()):
            ends = []
            for sign in (1, -1):
                parameter.view(-1)[at] += sign * step
                ends.append(LOSS(net(batch.x_seq), batch.y))
                parameter.view(-1)[at] -= sign * step
            found.view(-1)[at] = (ends[0] - ends[1]) / (2 * step)
    error = (found - parameter.grad).norm() / parameter.grad.norm().clamp_min(1e-3)
    assert float(error) < 1e-6


def test_item_7_the_schedule_goes_from_t_max_to_t_min():
    schedule = exponential(floor=1e-4 / 1e-3)
    assert 1e-3 * schedule(0.0) == 1e-3
    assert 1e-3 * schedule(1.0) == pytest.approx(1e-4)
    assert schedule(0.5) == pytest.approx(10**-0.5)
    assert exponential(floor=1.0)(0.3) == 1.0
    with pytest.raises(ValueError, match="floor must be in"):
        exponential(floor=0.0)


def test_rescaled_residuals_have_size_one_and_the_same_minimum():
    net, batch = network(2), data()
    batch = Batch(batch.x_seq, batch.y * 1e-4)
    fit(net, 0, batch, rescale=True)
    rms = float(batch.y.square().mean()) ** 0.5
    assert float(net.gain[0]) == pytest.approx(rms)
    before = rse(net, batch)
    fit(net, 1, batch, rescale=True, lr=0.05)
    assert rse(net, batch) < before
    learner = MultiGrade(nth=1, rescale=True)
    learner.begin(net, [batch])
    step = learner.step(net, batch, LOSS, START)
    torch.testing.assert_close(step.logits_seq, net(batch.x_seq).detach())
    error = (net(batch.x_seq)[0] - batch.y).square().mean() / 2 / net.gain[1] ** 2
    torch.testing.assert_close(step.loss, error.detach())


def test_dead_features_are_counted():
    net, batch = network(2, (4, 5)), data()
    with torch.no_grad():
        last = net.features[0][-1][0].module
        last.weight[:2], last.bias[:2] = 0, -1
        last.weight[2:], last.bias[2:] = 0, 1
    MultiGrade(nth=1).prepare(net)
    assert MultiGrade(nth=1).begin(net, [batch]).facts["dead features"] == pytest.approx(0.4)


def test_spiking_grades_learn_what_is_left_of_the_mean_over_steps():
    """Our own experiment: the residual is that of the mean output."""
    net, batch = network(2, (16,), neurons="lif"), data()
    batch = Batch(3 * batch.x_seq.expand(4, -1, -1), batch.y)
    fit(net, 0, batch, lr=0.05)
    before = rse(net, batch)
    fit(net, 1, batch, lr=0.05, updates=60)
    assert rse(net, batch) < before


def test_what_mgdl_cannot_train_is_refused():
    with pytest.raises(Unsupported, match="Linear is none"):
        MultiGrade().prepare(nn.Linear(2, 1))
    with pytest.raises(Unsupported, match="after the last of 3"):
        MultiGrade(nth=3).prepare(network())
    with pytest.raises(Unsupported, match="take data of numbers"):
        MultiGrade().step(network(outputs=3), Batch(torch.rand(1, 4, 2), torch.arange(4) % 3),
                          RateCrossEntropy(), START)  # fmt: skip


@pytest.mark.parametrize("bad", [{"grades": 0}, {"hidden": ()}, {"hidden": (4, 0)}])
def test_networks_without_layers_are_refused(bad):
    with pytest.raises(ValueError, match="at least one grade"):
        network(**{"grades": 2, "hidden": (4,), **bad})


def test_initial_weights_are_as_published():
    uniform, glorot = (
        network(1, (200, 300), inputs=50),
        network(1, (200, 300), inputs=50, init="glorot"),
    )
    weights = [layer for layer in uniform.modules() if isinstance(layer, nn.Linear)]
    for layer in weights:
        bound = layer.in_features**-0.5
        for value in (layer.weight, layer.bias):
            assert value.abs().max() <= bound * 1.0001
        assert float(layer.weight.detach().std()) == pytest.approx(bound / 3**0.5, rel=0.2)
    wide = glorot.features[0][2][0].module
    assert float(wide.weight.detach().std()) == pytest.approx((2 / 500) ** 0.5, rel=0.05)
    assert float(wide.bias.detach().std()) == pytest.approx(0.01, rel=0.2)
