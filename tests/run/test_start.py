"""A run that starts from its teacher's values, and callbacks that are taught."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing as mp

from spikeloom.run import checkpoint, session
from spikeloom.run.config import Config, ConfigError
from spikeloom.run.record import LAST
from spikeloom.run.start import start_from
from spikeloom.run.task import network
from spikeloom.run.teacher import TEACHER
from tests.run.recipe import tiny
from tests.run.test_processes import free_port, train_as, train_noting_gradients
from tests.run.test_resume import StopAfter, StopError, same_end

SUB_BIT = {"name": "sub_bit", "bits": 4, "period": 3}
STILL = {"name": "sgd", "lr": 1e-12}


@pytest.fixture(scope="session")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of spiking neurons with real weights."""
    folder = tmp_path_factory.mktemp("spiking") / "run"
    session.train(tiny(phase__0__epochs=1), folder)
    return folder


def student(taught: Path, **changes: Any) -> Config:
    teacher = {"run": str(taught), "start": True}
    return tiny(**{"teacher": teacher, "model__weight": SUB_BIT, **changes})


def model_of(folder: Path) -> dict[str, torch.Tensor]:
    return checkpoint.under("model", checkpoint.load_state(folder / LAST)[0])


def test_latent_weights_start_from_the_teachers(taught: Path, tmp_path: Path) -> None:
    config = student(taught, phase__0__optimizer=STILL, phase__0__epochs=1)
    session.train(config, tmp_path / "run")
    own, others = model_of(tmp_path / "run"), model_of(taught)
    raw = own["features.4.module.parametrizations.weight.original"]
    torch.testing.assert_close(raw, others["features.4.module.weight"])
    torch.testing.assert_close(own["features.1.weight"], others["features.1.weight"])


def test_frequent_codewords_are_those_of_the_teacher(taught: Path) -> None:
    frequent = {"name": "sub_bit", "bits": 2, "init": "frequent"}
    plain, coded = (
        network(tiny(model__weight=weight, model__width=0.5), (3, 16, 16), 10)
        for weight in (None, frequent)
    )
    layer = plain.features[4].module
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, -1, 1], [1, 1, 1], [1, 1, -1]]))
    start_from(coded, plain)
    book = coded.features[4].module.parametrizations.weight[0].codebook
    assert torch.equal(book[0].view(3, 3), layer.weight[0, 0])
    torch.testing.assert_close(coded.features[4].module.weight, layer.weight)


def test_a_binary_network_hands_over_latent_weights_and_computed_ones() -> None:
    binary, plain, coded = (
        network(tiny(model__weight=weight), (3, 16, 16), 10) for weight in ("binary", None, SUB_BIT)
    )
    start_from(coded, binary)
    start_from(plain, binary)
    layers = [net.features[4].module for net in (binary, plain, coded)]
    raw = layers[0].parametrizations.weight.original
    assert torch.equal(layers[2].parametrizations.weight.original, raw)
    assert torch.equal(layers[1].weight, layers[0].weight)


def test_a_start_from_another_network_is_refused(taught: Path, tmp_path: Path) -> None:
    config = student(taught, model__name="spiking_mlp", model__weight=None)
    with pytest.raises(ConfigError, match="no parameter of one name and shape"):
        session.train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


TAUGHT = ["mpfd", {"name": "distil_logits", "weight": 0.5}, "distil_rates"]


def test_a_taught_run_resumes_exactly_without_the_teachers_folder(
    taught: Path, tmp_path: Path
) -> None:
    config = student(taught, phase__0__callback=TAUGHT, run__checkpoint_minutes=1e-9)
    session.train(config, tmp_path / "whole")
    with pytest.raises(StopError):
        session.train(config, tmp_path / "broken", watch=lambda task: StopAfter(10))
    for name in ("best.safetensors", LAST):
        (tmp_path / "broken" / TEACHER / name).unlink()
    torch.manual_seed(99)
    session.train(config, tmp_path / "broken", resume=True)
    same_end(tmp_path / "whole", tmp_path / "broken")


def test_a_taught_callback_without_a_teacher_is_refused(tmp_path: Path) -> None:
    for name in ("mpfd", "distil_logits", "distil_rates"):
        with pytest.raises(ConfigError, match=f"{name} needs a teacher"):
            session.train(tiny(phase__0__callback=[name]), tmp_path / "run")
    shutil.rmtree(tmp_path)


@pytest.mark.slow
def test_two_processes_have_the_codebooks_of_one(taught: Path, tmp_path: Path) -> None:
    """Every update is one of the codebook, with a rate at which codewords meet and are replaced."""
    fast = {"match": ["*.proxy"], "lr_scale": 200.0}
    config = student(
        taught, model__weight={**SUB_BIT, "period": 1}, phase__0__group=[fast],
        phase__0__callback=["distil_logits"], phase__0__epochs=1, data__train=96,
    )  # fmt: skip
    train_noting_gradients(tmp_path / "one", config)
    mp.spawn(train_as, (2, free_port(), str(tmp_path / "two"), config), nprocs=2)
    one, two = model_of(tmp_path / "one"), model_of(tmp_path / "two")
    book = "features.4.module.parametrizations.weight.0.memory"
    assert not torch.equal(one[book], network(config, (1, 8, 8), 10).state_dict()[book])
    for name in one:
        if name.endswith(".memory"):
            assert torch.equal(one[name], two[name]), name
