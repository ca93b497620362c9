"""Learners that change the network themselves, and phases that end when nothing gets better."""

import json

import pytest
import torch

from spikeloom.learning import Metrics
from spikeloom.learning.base import to_scale
from spikeloom.registry import register
from spikeloom.run import checkpoint, session
from spikeloom.run.config import ConfigError
from spikeloom.run.distributed import Processes
from spikeloom.run.loop import Training
from spikeloom.run.record import LAST
from spikeloom.run.task import prepare
from tests.run.recipe import tiny
from tests.run.test_resume import same_end


@register("learner", "wandering")
class Wandering:
    """Moves the last layer's bias at random: no method, but it leaves no gradients."""

    online = True

    def prepare(self, model):
        return model

    @torch.no_grad()
    def step(self, model, batch, loss, progress):
        logits_seq = model(batch.x_seq)
        *_, bias = (p for name, p in model.named_parameters() if name.endswith("bias"))
        bias.add_(torch.randn_like(bias), alpha=0.1)
        return Metrics(to_scale(loss, loss.loss(logits_seq, batch.y)), logits_seq)

    def finish(self, model):
        return model


ONLINE = {"phase__0__learner": "wandering", "phase__0__optimizer": "none"}


def test_an_online_learner_moves_the_model_and_leaves_nothing_to_an_optimizer(tmp_path):
    config = tiny(**ONLINE)
    before = prepare(config, Processes(), torch.device("cpu"), None).model.state_dict()
    session.train(config, tmp_path)
    tensors, _ = checkpoint.load_state(tmp_path / LAST)
    assert not checkpoint.under("optimizer", tensors)
    after = checkpoint.under("model", tensors)
    moved = {name for name in after if not torch.equal(after[name], before[name])}
    (bias,) = {name for name in moved if name.endswith("bias")}
    assert all("running" in name or "batches" in name for name in moved - {bias})


def test_it_goes_on_exactly(tmp_path, monkeypatch):
    session.train(tiny(**ONLINE), tmp_path / "whole")
    epochs = Training._epoch

    def once(self):
        if self.state.epoch == 1:
            raise KeyboardInterrupt
        epochs(self)

    monkeypatch.setattr(Training, "_epoch", once)
    with pytest.raises(KeyboardInterrupt):
        session.train(tiny(**ONLINE), tmp_path / "cut")
    monkeypatch.undo()
    assert (tmp_path / "cut" / LAST).exists()
    session.train(tiny(**ONLINE), tmp_path / "cut", resume=True)
    same_end(tmp_path / "whole", tmp_path / "cut")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"phase__0__learner": "wandering"}, 'set optimizer = "none"'),
        ({"phase__0__optimizer": "none"}, "bptt leaves gradients"),
        ({**ONLINE, "phase__0__accumulate": 2}, "take accumulate out"),
        ({**ONLINE, "phase__0__clip_norm": 1.0}, "take clip_norm out"),
        ({**ONLINE, "phase__0__ema": 0.9}, "take ema out"),
        ({**ONLINE, "run__precision": "bf16"}, r"take run\.precision out"),
        ({"phase__0__patience": 2, "data__val": 0}, "patience needs a validation split"),
    ],
)
def test_what_only_gradients_could_mean_is_refused(tmp_path, changes, reason):
    with pytest.raises(ConfigError, match=reason):
        session.train(tiny(**changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_phase_ends_when_validation_has_not_risen_for_so_many_epochs(tmp_path):
    still = {"phase__0__optimizer": {"name": "sgd", "lr": 0.0}, "model__norm": "none"}
    result = session.train(
        tiny(**still, phase__0__epochs=9, phase__0__patience=2), tmp_path / "still"
    )
    assert result["epochs"] == 3
    assert "none of the last 2 was better than epoch 1" in result["stopped"]
    lines = (tmp_path / "still" / "metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["stopped"] == result["stopped"]
    patient = tiny(**still, phase__0__epochs=3, phase__0__patience=3)
    assert session.train(patient, tmp_path / "patient")["epochs"] == 3
