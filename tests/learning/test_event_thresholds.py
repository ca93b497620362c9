"""Thresholds of event-driven learning: calibrated at the start, folded, kept."""

import copy
from itertools import pairwise

import pytest
import torch
from torch import nn

from spikeloom.layers import (
    DoubleExponential,
    Linear,
    OverTime,
    Standardised,
    transform_of,
    transform_weights,
)
from spikeloom.learning import Batch, EventBP
from spikeloom.learning.event_thresholds import calibrate, transfer
from spikeloom.losses import CountPlus
from spikeloom.run.rehearse import rehearse
from tests.compose import composition
from tests.learning.timed_networks import START, batch, neurons, vgg


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


def test_transfer_without_fold_keeps_the_scale():
    model = vgg()
    learner = EventBP(spikes_at_start=0, transfer=False)
    learner.step(learner.prepare(model), batch(), CountPlus(), START)
    gamma = transform_of(model.features[0].module).gamma
    with torch.no_grad():
        gamma.fill_(2.0)
    transfer(learner.layers, fold=False)
    assert (gamma == 2).all()
