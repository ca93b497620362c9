"""STDP with sleep as a learner: what changes, what is noted, what is refused, and exact resumes."""

import json

import pytest
import torch

from spikeloom.functional import ei_live, ei_rest, sources_of, totals
from spikeloom.kernels import use
from spikeloom.learning import Batch, Progress, Readout, SleepSTDP, Unsupported
from spikeloom.models import RecurrentEI
from spikeloom.registry import find
from spikeloom.run import session
from spikeloom.run.config import ConfigError
from spikeloom.run.loop import Training
from spikeloom.run.record import LAST
from tests.run.recipe import tiny
from tests.run.test_resume import same_end
from tests.small import small

LOSS = find("loss", "rate_ce").build()
START = Progress(epoch=0, epochs=1, update=0, updates=1)
FAST = {
    "sign": "code", "eta": 8e-3, "period": 70, "decay": 0.99, "ratio": 0.3, "noise": 4.0,
}  # fmt: skip


def network():
    torch.manual_seed(0)
    model = RecurrentEI(24, 6, in_shape=(1, 4, 4), num_classes=3)
    model.network.weight.mul_(6)
    return model


def batch(T=20, N=5):
    x = torch.rand(N, 1, 4, 4)
    return Batch(x.expand(T, *x.shape), torch.arange(N) % 3)


def run(**changes):
    return tiny(
        model={"name": "ei_network", "width": 0.1, "T": 30, "encoder": "intensity"},
        data={"name": "digits", "batch": 20, "val": 20, "train": 60, "test": 30},
        phase=[
            {"learner": {"name": "sleep_stdp", **FAST}, "optimizer": "none", "epochs": 2},
            {"learner": "readout", "optimizer": "none", "epochs": 1},
        ],
        **changes,
    )


def test_wiring_is_that_of_the_paper():
    torch.manual_seed(0)
    network = RecurrentEI(in_shape=(1, 15, 15), num_classes=10).network
    w = network.weight
    inputs, recurrent, back = w[:200, :225], w[:200, 225:425], w[:200, 425:]
    onward, rest = w[200:, 225:425], (w[200:, :225], w[200:, 425:])
    for part, p, value in (
        (inputs, 0.1, 0.15), (recurrent, 0.15, 0.3), (onward, 0.2, 0.4), (back, 0.25 * 0.8, -0.5),
    ):  # fmt: skip
        assert part[part != 0].unique().tolist() == pytest.approx([value])
        assert (part != 0).float().mean().item() == pytest.approx(p, abs=0.012)
    assert not any(part.any() for part in rest)
    assert not recurrent.diagonal().any()
    assert not ((onward.T != 0) & (back != 0)).any()


def test_probabilities_have_the_sum_that_density_says():
    network = RecurrentEI(8, 2, in_shape=(1, 15, 15), num_classes=2).network
    x_seq = (0.3 * torch.rand(3, 1, 15, 15)).expand(7, -1, -1, -1, -1)
    p_seq = network.probabilities(x_seq)
    assert p_seq.shape == (7, 3, 225)
    assert p_seq.stride(0) == 0
    assert torch.allclose(p_seq.sum(-1), torch.tensor(22.5))
    dark = network.probabilities(torch.zeros(2, 1, 1, 15, 15))
    assert not dark.any()


def test_a_step_is_a_life_of_the_batch_and_goes_on_from_the_last():
    model, learner = network(), SleepSTDP(**FAST)
    first, living = model.network.weight.clone(), learner.prepare(model)
    batches = batch(), batch()
    torch.manual_seed(3)
    for each in batches:
        learner.step(living, each, LOSS, START)
    torch.manual_seed(3)
    cell, weight, state = model.network.cell, first, ei_rest(first, model.network.cell)
    start = totals(first, sources_of(first, cell))
    for number, each in enumerate(batches):
        state = state._replace(v=torch.full((30,), -70.0))
        found = ei_live(
            model.network.probabilities(each.x_seq), weight, state, cell=cell, rule=learner.rule,
            sleep=learner.sleep, start=start, seed=int(torch.randint(2**62, ())), step=100 * number,
        )  # fmt: skip
        weight, state = found.weight, found.state
    assert torch.equal(model.network.weight, weight)
    assert torch.equal(living.age, state.age)
    assert int(living.step) == 200
    notes = learner.notes(living)
    assert notes["sleeps"] == 2
    assert notes["slept share"] == pytest.approx(2 * 21 / 200)


@pytest.mark.parametrize("served", ["cpu", "truth"])
def test_without_sleep_it_is_plain_stdp_bit_for_bit(served):
    weights = []
    for changes in ({"ratio": 0.0}, {"most": 0}, {"period": 10_000}):
        model, learner = network(), SleepSTDP(**FAST | changes)
        living = learner.prepare(model)
        torch.manual_seed(1)
        with use(None if served == "cpu" else "truth"):
            learner.step(living, batch(), LOSS, START)
        weights.append(model.network.weight.clone())
    assert torch.equal(weights[0], weights[1])
    assert torch.equal(weights[0], weights[2])


def test_notes_tell_of_weights_rates_and_sleep():
    model, learner = network(), SleepSTDP(**FAST | {"ceiling": 1.0, "ratio": 0.0})
    living = learner.prepare(model)
    learner.step(living, batch(), LOSS, START)
    notes = learner.notes(living)
    size = model.network.weight[:, :40]
    assert notes["weight excitatory"] == pytest.approx(size[size > 0].mean().item(), rel=1e-5)
    assert 0 < notes["ceiling excitatory"] < 1
    assert notes["slept share"] == 0
    assert notes["rate excitatory"] == float(living.spikes[0]) / 24 / 100


def test_a_run_goes_on_exactly_in_the_middle_of_an_epoch(tmp_path, monkeypatch):
    session.train(run(), tmp_path / "whole")
    update = Training._update

    def twice(self, *args):
        if self.state.update == 4:
            self._save()
            raise KeyboardInterrupt
        return update(self, *args)

    monkeypatch.setattr(Training, "_update", twice)
    with pytest.raises(KeyboardInterrupt):
        session.train(run(), tmp_path / "cut")
    monkeypatch.undo()
    assert (tmp_path / "cut" / LAST).exists()
    session.train(run(), tmp_path / "cut", resume=True)
    same_end(tmp_path / "whole", tmp_path / "cut")
    lines = (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()
    assert "sleep_stdp/weight excitatory" in json.loads(lines[1])["notes"]
    assert "readout/fit accuracy" in json.loads(lines[2])["notes"]


def test_networks_that_it_cannot_train_are_refused():
    with pytest.raises(Unsupported, match="ei_network"):
        SleepSTDP().prepare(small("spiking_mlp"))
    with pytest.raises(Unsupported, match="readout fits a Linear"):
        Readout().prepare(small("spiking_mlp"))
    with pytest.raises(ConfigError, match="sleep_stdp trains"):
        session.train(tiny(phase=run().model_dump(mode="json")["phase"]), None)
    with pytest.raises(ConfigError, match="no parameters that gradients train"):
        session.train(tiny(model=run().model_dump(mode="json")["model"]), None)
    with pytest.raises(ConfigError, match='set optimizer = "none"'):
        session.train(run(phase__0__optimizer="sgd"), None)
    with pytest.raises(ValueError, match="at least one neuron of each kind"):
        RecurrentEI(0, 6, in_shape=(1, 4, 4), num_classes=3)
    with pytest.raises(ValueError, match="mode is"):
        SleepSTDP(mode="deep")
