"""Heads and what goes with them, from a recipe."""

from pathlib import Path
from typing import Any

import pytest
import torch

from spikeloom.layers import LTMDHead
from spikeloom.run import checkpoint, session
from spikeloom.run.catalogue import arguments, uses
from spikeloom.run.config import ConfigError
from spikeloom.run.inspect import layers_of
from spikeloom.run.record import LAST
from spikeloom.run.session import twin_of
from spikeloom.run.task import network
from tests.run.recipe import tiny

PHASE = {"loss": "ltmd", "optimizer": {"name": "sgd", "lr": 0.04, "weight_decay": 1e-4}}


def config(head: Any = "ltmd", loss: Any = "ltmd", **changes: Any) -> Any:
    phase = [PHASE | {"loss": loss, "epochs": 2, "callback": ["thresholds"]}]
    return tiny(model__head=head, model__neuron="ltmd", phase=phase, **changes)


def test_a_recipe_trains_the_head_with_two_passes(tmp_path: Path) -> None:
    result = session.train(config(), tmp_path)
    assert 0 <= result["train"]["accuracy"] <= 1
    assert any("wang2022ltmd" in paper["bibtex"] for paper in result["papers"])
    tensors, about = checkpoint.load_state(tmp_path / LAST)
    raws = {key: float(value) for key, value in tensors.items() if key.endswith("v_threshold.raw")}
    still = {key for key in raws if "classifier" in key and key.startswith("model/")}
    assert len(still) == 2
    assert {key for key, raw in raws.items() if raw == 0.5} == still
    notes = about["state"]["history"][0]["notes"]
    assert notes["thresholds/threshold mean"] == pytest.approx(0.462117, abs=1e-6)


def test_arguments_of_the_head_come_from_the_recipe() -> None:
    head = {"name": "ltmd", "hidden": 12, "p": 0.0, "two_passes": False, "lateral": 0}
    model = network(config(head), (1, 8, 8), 10)
    (made,) = (module for module in model.modules() if isinstance(module, LTMDHead))
    assert made.layers[0].module.out_features == 12  # type: ignore[union-attr]
    with pytest.raises(ConfigError, match=r"head 'ltmd': unknown argument 'ratte'"):
        network(config({"name": "ltmd", "ratte": 0.1}), (1, 8, 8), 10)
    with pytest.raises(ConfigError, match=r"unknown argument 'features'"):
        network(config({"name": "ltmd", "features": 3}), (1, 8, 8), 10)
    with pytest.raises(ConfigError, match="readout or head, not both"):
        network(config(model__readout="li"), (1, 8, 8), 10)


def test_a_loss_of_one_answer_fails_before_training_and_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r'cannot train spiking_vgg5.*loss = "ltmd"'):
        session.train(config(loss="rate_ce"), tmp_path)
    one = {"name": "ltmd", "two_passes": False}
    session.train(config(head=one, loss="rate_ce"), tmp_path)


def test_the_twin_has_the_ordinary_last_layers() -> None:
    twin = twin_of(config())
    assert "head" not in twin.model.arguments
    model = network(twin, (1, 8, 8), 10)
    assert not any(isinstance(module, LTMDHead) for module in model.modules())


def test_the_head_is_listed_and_shown() -> None:
    assert {"hidden", "p", "lateral", "two_passes", "kappa"} <= arguments("head", "ltmd").keys()
    assert "features" not in arguments("head", "ltmd")
    assert {("head", "ltmd"), ("neuron", "ltmd"), ("loss", "ltmd")} <= uses(config())
    shown = layers_of(network(config(), (1, 8, 8), 10), torch.zeros(2, 1, 1, 8, 8))
    assert [layer.kind for layer in shown][-3:] == ["Linear", "Conv1d", "Graded"]
    assert shown[-1].shape == (10,)


def test_norms_follow_a_threshold_that_is_given_and_are_refused_without() -> None:
    given = config(model__norm="tdbn")
    with pytest.raises(ConfigError, match="give it to the neuron or to the norm"):
        network(given, (1, 8, 8), 10)
    neuron = {"name": "ltmd", "v_threshold": 0.3}
    tree = given.model_dump(mode="json", exclude_none=True)
    tree["model"]["neuron"] = neuron
    model = network(type(given).model_validate(tree), (1, 8, 8), 10)
    assert {m.scale for m in model.modules() if hasattr(m, "scale")} == {0.3}
