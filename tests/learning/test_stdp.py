"""Unsupervised STDP in runs. Numbered items are those of the specification."""

import json

import pytest
import torch

from spikeloom.learning import STDP, Batch, Progress, Unsupported
from spikeloom.losses import RateCrossEntropy
from spikeloom.models import DiehlCook
from spikeloom.run import session
from spikeloom.run.config import Config, ConfigError, load
from spikeloom.run.loop import Training
from tests.run.test_resume import same_end
from tests.small import small

START = Progress(epoch=0, epochs=1, update=0, updates=1)


def recipe(*changes: str) -> Config:
    return load("digits_diehl_cook", ["run.threads=1", *changes])


def accuracy(tmp_path, *changes: str) -> float:
    return float(session.train(recipe(*changes), tmp_path)["test"]["accuracy"])


def test_item_11_digits_are_learnt_far_beyond_random_weights(tmp_path):
    learnt = accuracy(tmp_path / "learnt")
    frozen = accuracy(tmp_path / "frozen", "phase.0.learner.frozen=true")
    assert learnt > 0.75
    assert learnt > frozen + 0.2


def test_item_11_thresholds_that_rise_are_needed(tmp_path):
    """Without them few neurons win everything (direction inferred)."""
    whole = accuracy(tmp_path / "whole")
    assert accuracy(tmp_path / "still", "model.theta_step=0.0") < whole - 0.1


def test_labels_are_counted_and_change_no_weight():
    found = []
    for y in (torch.tensor([0, 1, 2, 1]), torch.tensor([2, 2, 0, 0])):
        torch.manual_seed(1)
        net = DiehlCook(in_shape=(1, 6, 6), num_classes=3, neurons=8, inhibition=20.0, rate=400.0)
        trained = STDP().prepare(net)
        STDP().step(trained, Batch(torch.rand(4, 1, 6, 6).expand(60, 4, 1, 6, 6), y), *LOSS)
        found.append(net)
    assert torch.equal(found[0].weight, found[1].weight)
    assert not torch.equal(found[0].responses, found[1].responses)


LOSS = (RateCrossEntropy(), START)


def test_neurons_are_assigned_anew_when_a_window_is_full():
    learner = STDP(assign=6, a_plus=0.0, a_minus=0.0)
    net = DiehlCook(in_shape=(5,), num_classes=2, neurons=3, rate=1000.0)
    trained = learner.prepare(net)
    x = torch.ones(4, 5).expand(40, 4, 5)

    def step(label: int) -> None:
        learner.step(trained, Batch(x, torch.full((4,), label)), *LOSS)

    step(0)
    assert net.responses[0].any()
    assert not net.responses[1].any()
    step(0)  # eight of six: full
    assert trained.full
    assert not trained.answers.any()
    before = net.responses.clone()
    step(1)
    assert torch.equal(net.responses, before)
    step(1)
    assert not net.responses[0].any()


def test_a_class_s_logit_is_the_mean_count_of_its_neurons():
    net = DiehlCook(in_shape=(2,), num_classes=3, neurons=4)
    net.responses.copy_(torch.tensor([[5.0, 1, 0, 0], [1.0, 2, 9, 0], [0.0, 0, 0, 0]]))
    assert net.logits(torch.tensor([[4.0, 2, 6, 100]])).tolist() == [[4, 4, 0]]


def test_it_goes_on_exactly(tmp_path, monkeypatch):
    short = ("phase.0.epochs=2", "data.train=300", "model.neurons=16", "data.val=50")
    session.train(recipe(*short), tmp_path / "whole")
    epoch = Training._epoch

    def once(self):
        if self.state.epoch == 1:
            raise KeyboardInterrupt
        epoch(self)

    monkeypatch.setattr(Training, "_epoch", once)
    with pytest.raises(KeyboardInterrupt):
        session.train(recipe(*short), tmp_path / "cut")
    monkeypatch.undo()
    session.train(recipe(*short), tmp_path / "cut", resume=True)
    same_end(tmp_path / "whole", tmp_path / "cut")
    lines = (tmp_path / "cut" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2]


def test_other_networks_are_refused():
    with pytest.raises(Unsupported, match='take the model "diehl_cook"'):
        STDP().prepare(small("spiking_mlp"))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("model.encoder=constant", "intensities must be in 0..1"),
        ("model.encoder=poisson", 'set encoder = "intensity"'),
        ("model.neurons=0", "neurons must be >= 1"),
        ("phase.0.learner.assign=0", "assign must be >= 1"),
        ("phase.0.learner.a_plus=-1.0", "sizes >= 0"),
        ("phase.0.optimizer=sgd", 'set optimizer = "none"'),
        ("phase.0.learner=bptt", "bptt"),
    ],
)
def test_recipes_that_cannot_be_are_refused(tmp_path, change, reason):
    with pytest.raises((ConfigError, Unsupported), match=reason):
        session.train(recipe(change), tmp_path / "run")
    assert not (tmp_path / "run").exists()
