"""Learners with a head that answers every sample twice in training."""

import copy
from functools import partial

import pytest
import torch
from torch import nn

from spikeloom.callbacks import Thresholds
from spikeloom.callbacks.dspike import separable
from spikeloom.layers import LTMDHead
from spikeloom.learning import BPTT, Batch, Progress, ShortcutBP, Unsupported, of_batch
from spikeloom.losses import RateCrossEntropy, TwoPassCrossEntropy
from tests.small import CLASSES, IMAGE, STEPS, small

START = Progress(epoch=0, epochs=1, update=0, updates=1)
N = 4


def network(norms="bn", **head):
    made = partial(LTMDHead, **{"hidden": 32} | head)
    return small("spiking_vgg9", neurons="ltmd", norms=norms, width=1 / 8, head=made)


def batch():
    return Batch(torch.rand(STEPS, N, *IMAGE), torch.randint(CLASSES, (N,)))


LEARNERS = [BPTT, ShortcutBP, partial(ShortcutBP, combine="losses")]


@pytest.mark.parametrize("build", LEARNERS)
def test_the_logits_reported_are_those_of_the_batch(build):
    learner = build()
    trained = learner.prepare(network(p=0.5))
    given, answers = batch(), []
    trained.register_forward_hook(lambda module, x, y: answers.append(y))
    inner = learner.finish(trained)
    inner.register_forward_hook(lambda module, x, y: answers.append(y))
    seen = learner.step(trained, given, TwoPassCrossEntropy(), START)
    assert answers[0].shape == (STEPS, 2 * N, CLASSES)
    assert torch.equal(seen.logits_seq, answers[0][:, :N])
    assert not seen.logits_seq.requires_grad


@pytest.mark.parametrize("build", LEARNERS)
def test_passes_that_agree_leave_the_gradients_of_one(build):
    """Without dropout both passes are the same, so the loss and its gradients are those of one."""
    once, given, found = network(p=0.0, two_passes=False), batch(), []
    twice = copy.deepcopy(once)
    next(m for m in twice.modules() if isinstance(m, LTMDHead)).two_passes = True
    for model in (once, twice):
        torch.manual_seed(0)  # branches of shortcut_bp
        learner = build()
        trained = learner.prepare(model)
        seen = learner.step(trained, given, TwoPassCrossEntropy(), START)
        found.append((seen.loss, {name: p.grad for name, p in trained.named_parameters()}))
    torch.testing.assert_close(found[0][0], found[1][0])
    for name, grad in found[0][1].items():
        if grad is not None:
            torch.testing.assert_close(grad, found[1][1][name], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("build", LEARNERS)
def test_a_loss_of_one_answer_is_refused_with_the_remedy(build):
    learner = build()
    with pytest.raises(Unsupported, match='loss = "ltmd"'):
        learner.step(learner.prepare(network()), batch(), RateCrossEntropy(), START)


def test_training_moves_the_thresholds_of_the_backbone_but_not_those_of_the_head():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.04, momentum=0.9, weight_decay=1e-4)
    before = {name: p.item() for name, p in model.named_parameters() if name.endswith("raw")}
    for _ in range(3):
        optimizer.zero_grad()
        BPTT().step(model, batch(), TwoPassCrossEntropy(), START)
        optimizer.step()
    raws = {name: p.item() for name, p in model.named_parameters() if name.endswith("raw")}
    head = {name for name in raws if name.startswith("classifier")}
    assert len(head) == 2
    assert len(raws) == 2 + 7
    assert all((raw == before[name]) == (name in head) for name, raw in raws.items())
    assert all(raws[name] == 0.5 for name in head)


def test_networks_that_see_the_whole_batch_are_measured_one_by_one():
    name = "features.0.module"
    assert separable(small("spiking_vgg5", norms="none"), name)
    head = partial(LTMDHead, p=0.0)
    assert not separable(small("spiking_vgg5", norms="none", head=head), name)
    assert separable(small("spiking_vgg5", norms="none", head=head).eval(), name)


def test_rows_of_a_batch_are_the_first_ones():
    rows = torch.arange(6.0).view(1, 6, 1)
    assert of_batch(rows, torch.zeros(3)).flatten().tolist() == [0, 1, 2]
    assert torch.equal(of_batch(rows, torch.zeros(6)), rows)


def test_thresholds_are_noted():
    model = network()
    with torch.no_grad():
        model.features[2].v_threshold.raw.fill_(-0.3)
    notes = Thresholds().epoch(model, None, None, START)
    assert notes["threshold least"] == pytest.approx(torch.tensor(-0.3).tanh().item())
    assert notes["threshold greatest"] == pytest.approx(0.5)  # where small models start
    assert notes["threshold least"] < notes["threshold mean"] < notes["threshold greatest"]
    with pytest.raises(Unsupported, match="no neurons"):
        Thresholds().apply(nn.Linear(2, 2))
