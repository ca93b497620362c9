"""First-spike classifiers in runs: their rules, their extractors, and both together."""

import json

import pytest
import torch

from spikeloom.run import checkpoint, session
from spikeloom.run.config import ConfigError, validate
from spikeloom.run.loop import Training
from spikeloom.run.record import BEST, LAST
from tests.run.test_resume import same_end

NCG = {
    "name": "s2_stdp", "a_plus": 0.1, "a_minus": -0.1, "gap": 0.1, "compete": True, "spared": 1,
    "regulation": "competition", "eta": 0.5, "eta_decay": 0.7,
}  # fmt: skip
REWARDED = {"name": "r_stdp", "dropout": 0.2}
CSNN = {"name": "stdp_csnn", "filters": 8, "kernel": 3, "pool": 2, "threshold": 2.0}
FILTERS = {"name": "csnn_stdp", "goal": 0.7, "stages": 4}
SOFT = {"name": "softhebb_cnn", "width": 0.05}


def tree(learner, extractor="on_off", **model):
    phases = learner if isinstance(learner, list) else [learner]
    return {
        "model": {"name": "first_spike", "extractor": extractor, "size": 3, "v_threshold": 20.0,
                  "T": 1, "encoder": "intensity"} | model,
        "data": {"name": "digits", "batch": 32, "val": 100, "train": 200, "test": 60},
        "phase": [{"learner": each, "optimizer": "none", "epochs": 2} for each in phases],
        "run": {"threads": 1},
    }  # fmt: skip


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


CASES = {
    "ncg": tree(NCG),
    "r_stdp": tree(REWARDED),
    "sstdp": tree("sstdp"),
    "filters": tree(FILTERS, CSNN),
    "filters, then ncg": tree([FILTERS, NCG], CSNN),
    "softhebb": tree("softhebb", SOFT),
}


@pytest.mark.parametrize("case", CASES)
def test_it_goes_on_exactly(tmp_path, monkeypatch, case):
    config = validate(CASES[case])
    session.train(config, tmp_path / "whole")
    updates = Training._update

    def some(self, *given):
        if self.state.epoch == 1 and self.state.batch == 3:
            self._save()
            raise KeyboardInterrupt
        return updates(self, *given)

    monkeypatch.setattr(Training, "_update", some)
    with pytest.raises(KeyboardInterrupt):
        session.train(config, tmp_path / "cut")
    monkeypatch.undo()
    session.train(config, tmp_path / "cut", resume=True)
    same_end(tmp_path / "whole", tmp_path / "cut")


def test_a_classifier_starts_from_an_extractor_trained_once(tmp_path, monkeypatch):
    recipe = tmp_path / "filters.toml"
    recipe.write_text(
        """
        [model]
        name = "first_spike"
        extractor = { name = "stdp_csnn", filters = 8, kernel = 3, pool = 2, threshold = 2.0 }
        T = 1
        encoder = "intensity"
        [data]
        name = "digits"
        batch = 50
        passes = 3
        [[phase]]
        learner = { name = "csnn_stdp", goal = 0.7 }
        optimizer = "none"
        epochs = 1
        """
    )
    kept = tmp_path / "kept"
    taught = tree(NCG, CSNN | {"keep": str(kept)})
    taught["teacher"] = {"recipe": str(recipe), "start": True}
    session.train(validate(taught), tmp_path / "run")
    before, _ = checkpoint.load_state(tmp_path / "run" / "teacher" / LAST)
    after, _ = checkpoint.load_state(tmp_path / "run" / BEST)
    for name in ("weight", "threshold", "least", "most", "learnt"):
        name = f"model/extractor.{name}"
        assert torch.equal(before[name], after[name])
    assert int(before["model/extractor.learnt"]) == 12, "passes of the teacher's own"
    stored = sum(1 for path in kept.rglob("*.keys.npy") if path.stat().st_size > 200)
    assert stored >= 7, "features of training, validation and test samples"
    assert len({path.parent for path in kept.rglob("*.keys.npy")}) == 1
    again = tree(REWARDED, CSNN | {"keep": str(kept)})
    again["teacher"] = {"run": str(tmp_path / "run" / "teacher"), "start": True}
    files = set(kept.rglob("*"))
    session.train(validate(again), tmp_path / "again")
    assert set(kept.rglob("*")) == files, "all of them were known"


def test_a_layer_of_first_spikes_learns_digits(tmp_path):
    config = tree(NCG, v_threshold=20.0)
    config["data"] |= {"train": 800, "test": 300}
    config["phase"][0]["epochs"] = 8
    result = session.train(validate(config), tmp_path / "run")
    assert result["test"]["accuracy"] > 0.8


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        (tree(NCG, T=4), "set model.T = 1"),
        (tree(NCG, encoder="constant"), r'set model.encoder = "intensity"'),
        (tree("csnn_stdp"), "trains the extractor stdp_csnn"),
        (tree(NCG, size=1), "leaves no target"),
        (tree(NCG, size=0), "a class needs a neuron"),
        (tree(NCG, extractor="on_of"), "on_off"),
        (tree(NCG, extractor="softhebb_cnn", neuron="alif"), "takes no neuron"),
        (tree(NCG | {"eta": 0.0}), "give both or none"),
        (tree({"name": "s2_stdp", "regulation": "some"}), "competition"),
    ],
)
def test_what_does_not_go_together_is_refused_before_anything_is_written(tmp_path, case, reason):
    with pytest.raises(ConfigError, match=reason):
        session.train(validate(case), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_gradients_are_refused(tmp_path):
    config = tree("bptt")
    config["phase"][0]["optimizer"] = {"name": "sgd", "lr": 0.1}
    with pytest.raises(ConfigError, match="no parameters that gradients train"):
        session.train(validate(config), tmp_path / "run")
