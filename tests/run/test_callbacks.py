"""What goes along with a learner: terms of the loss, states, notes, and nothing else."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from spikeloom import registry
from spikeloom.callbacks import Callback
from spikeloom.callbacks.base import Term
from spikeloom.functional import Arctan, Sigmoid
from spikeloom.layers import LIF
from spikeloom.learning import Batch, Loss, Metrics, Progress
from spikeloom.learning.bptt import BPTT
from spikeloom.run import checkpoint, session
from spikeloom.run.config import ConfigError
from spikeloom.run.record import LAST
from spikeloom.run.session import Silent
from spikeloom.run.task import Task
from tests.run.recipe import tiny
from tests.run.test_resume import StopAfter, StopError, same_end


class Rude(Callback):
    """Counts epochs, and leaves nothing in the model as it found it."""

    def __init__(self, weight: float = 0.0) -> None:
        self.weight, self.epochs = weight, 0

    def state(self) -> dict[str, Any]:
        return {"epochs": self.epochs}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.epochs = state["epochs"]

    def apply(self, model: nn.Module) -> None:
        for module in model.modules():
            if isinstance(module, LIF):
                module.detach_reset = self.epochs % 2 == 0

    def epoch(
        self, model: nn.Module, probe: Callable[[int], Batch], loss: Loss, progress: Progress
    ) -> dict[str, float]:
        batch = probe(8)
        loss(model(batch.x_seq), batch.y).backward()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(torch.rand(()))
        self.epochs += 1
        return {"mean": float(batch.x_seq.mean())}

    @contextmanager
    def term(self, model: nn.Module) -> Iterator[Term]:
        yield lambda *_: self.weight * sum(p.square().sum() for p in model.parameters())


class Nudge(BPTT):
    """BPTT that adds one to the last parameter after every update."""

    def step(self, model: nn.Module, batch: Batch, loss: Loss, progress: Progress) -> Metrics:
        seen = super().step(model, batch, loss, progress)
        *_, (name, last) = model.named_parameters()
        return seen._replace(increments={name: torch.ones_like(last)})


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = registry.Entry("callback", "rude", Rude, "a test")
    shelf = {**registry._entries.get("callback", {}), "rude": entry}
    monkeypatch.setitem(registry._entries, "callback", shelf)
    nudge = registry.Entry("learner", "nudge", Nudge, "a test")
    monkeypatch.setitem(registry._entries["learner"], "nudge", nudge)


def trained(folder: Path, **changes: Any) -> tuple[dict[str, Any], dict[str, Tensor]]:
    result = session.train(tiny(**changes), folder)
    tensors, _ = checkpoint.load_state(folder / LAST)
    return result, tensors


def test_a_callback_cannot_touch_weights_or_random_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Rude, "apply", lambda *_: None)
    changes = {"data__augment": ["crop"], "model__dropout": 0.2}
    _, plain = trained(tmp_path / "plain", **changes)
    _, rude = trained(tmp_path / "rude", phase__0__callback=["rude"], **changes)
    assert plain.keys() == rude.keys()
    assert all(torch.equal(plain[key], rude[key]) for key in plain)


def test_state_and_notes_survive_a_stop(tmp_path: Path) -> None:
    config = tiny(phase__0__callback=["rude"], run__checkpoint_minutes=1e-9)
    session.train(config, tmp_path / "whole")
    with pytest.raises(StopError):
        session.train(config, tmp_path / "broken", watch=lambda task: StopAfter(10))
    session.train(config, tmp_path / "broken", resume=True)
    same_end(tmp_path / "whole", tmp_path / "broken")
    _, about = checkpoint.load_state(tmp_path / "broken" / LAST)
    assert about["callbacks"] == {"rude": {"epochs": 2}}
    notes = [line["notes"]["rude/mean"] for line in about["state"]["history"]]
    assert notes[0] != notes[1], "every epoch has a probe of its own"


def test_a_term_is_added_to_the_loss(tmp_path: Path) -> None:
    heavy = {"name": "rude", "weight": 1e3}
    plain, _ = trained(tmp_path / "plain")
    result, _ = trained(tmp_path / "heavy", phase__0__callback=[heavy])
    assert result["train"]["loss"] > 100 * plain["train"]["loss"]


def test_increments_are_added_once_an_update(tmp_path: Path) -> None:
    still = {"name": "sgd", "lr": 1e-12}
    for accumulate, updates in ((1, 14), (2, 8)):
        phase = {
            "optimizer": still, "learner": "nudge", "epochs": 2, "accumulate": accumulate
        }  # fmt: skip
        folder = tmp_path / str(accumulate)
        _, tensors = trained(folder, phase=[phase])
        bias = tensors["model/classifier.4.module.bias"]
        torch.testing.assert_close(bias, torch.full_like(bias, updates), rtol=1e-5, atol=0)


def test_averaged_weights_follow_increments(tmp_path: Path) -> None:
    still = {"name": "sgd", "lr": 1e-12}
    phase = {"optimizer": still, "learner": "nudge", "epochs": 1, "ema": 0.5}
    _, tensors = trained(tmp_path, phase=[phase])
    average = tensors["ema/module.classifier.4.module.bias"]
    want = 1.0  # the first update is copied, of seven in all
    for update in range(2, 8):
        want = 0.5 * want + 0.5 * update
    torch.testing.assert_close(average, torch.full_like(average, want), rtol=1e-5, atol=0)


def test_what_fails_at_an_epochs_beginning_fails_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []

    def epoch(self: Rude, model: nn.Module, probe: Any, *_: Any) -> dict[str, float]:
        sizes.append(len(probe(64).y))
        raise KeyError("no_such")

    monkeypatch.setattr(Rude, "epoch", epoch)
    with pytest.raises(ConfigError, match=r"phase 0 .*no_such"):
        session.train(tiny(phase__0__callback=["rude"]), tmp_path / "run")
    assert sizes == [2]
    assert not (tmp_path / "run").exists()


WRONG = [(["rued"], "rude"), (["rude", "rude"], "twice"), ([{"name": "rude", "w": 1}], "weight")]


@pytest.mark.parametrize(("given", "says"), WRONG)
def test_wrong_callbacks_are_refused(tmp_path: Path, given: list[Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        session.train(tiny(phase__0__callback=given), tmp_path / "run")


ESG = {"optimizer": {"name": "adam", "lr": 0.003}, "epochs": 2, "callback": ["esg"]}
PLAIN = {"optimizer": {"name": "adam", "lr": 0.003}, "epochs": 1}


@pytest.mark.parametrize("ema", [None, 0.5])
def test_a_slope_ends_with_its_phase(tmp_path: Path, ema: float | None) -> None:
    first = ESG if ema is None else {**ESG, "ema": ema}
    seen: list[Any] = []

    class Look(Silent):
        def __init__(self, task: Task) -> None:
            self.model = task.model

        def epoch(self, line: dict[str, Any]) -> None:
            seen.append({m.surrogate for m in self.model.modules() if isinstance(m, LIF)})

    session.train(tiny(phase=[first, PLAIN]), tmp_path, watch=Look)
    assert seen[-1] == {Arctan()}
    if ema is None:
        assert seen[0] == {Sigmoid(alpha=2.0)}


def test_a_run_resumes_exactly_after_a_phase_with_a_slope(tmp_path: Path) -> None:
    config = tiny(phase=[ESG, {**PLAIN, "epochs": 2}], run__checkpoint_minutes=1e-9)
    session.train(config, tmp_path / "whole")
    with pytest.raises(StopError):
        session.train(config, tmp_path / "broken", watch=lambda task: StopAfter(18))
    session.train(config, tmp_path / "broken", resume=True)
    same_end(tmp_path / "whole", tmp_path / "broken")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"phase__0__callback": ["esg", "dspike"]}, "sets the slope"),
        ({"phase__0__callback": ["esg"], "model__neuron": "relu"}, "no neurons"),
        ({"phase__0__callback": ["im_loss"], "model__neuron": "relu"}, "no neurons"),
        ({"phase__0__callback": ["thresholds"], "model__neuron": "relu"}, "no neurons"),
        ({"phase__0__callback": [{"name": "esg", "samples": -5}]}, "samples"),
        ({"phase__0__callback": [{"name": "im_loss", "skip": ["nope"]}]}, "matches none"),
        ({"phase__0__learner": "broken"}, "phase 0 .broken.*no_such"),
        ({"phase__0__learner": "idle"}, "neither gradients nor increments"),
        ({"phase__0__learner": {"name": "eicil", "cycle": "E"}, "run__twin": True}, ""),
    ],
)
def test_what_cannot_train_is_said_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], says: str
) -> None:
    for name, made in {"broken": Broken, "idle": Idle}.items():
        entry = registry.Entry("learner", name, made, "a test")
        monkeypatch.setitem(registry._entries["learner"], name, entry)
    if not says:
        session.train(tiny(**changes), tmp_path / "run")
        return
    with pytest.raises(ConfigError, match=says):
        session.train(tiny(**changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


class Broken(BPTT):
    def step(self, model: nn.Module, batch: Batch, loss: Loss, progress: Progress) -> Metrics:
        raise KeyError("no_such")


class Idle(BPTT):
    def step(self, model: nn.Module, batch: Batch, loss: Loss, progress: Progress) -> Metrics:
        with torch.no_grad():
            logits_seq = model(batch.x_seq)
            return Metrics(loss(logits_seq, batch.y), logits_seq)
