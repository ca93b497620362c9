"""A run with a teacher: trained first or copied, kept for a resume, gone when it is finished."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing as mp
from safetensors.torch import save_file

from spikeloom.registry import Unsupported
from spikeloom.run import checkpoint, session
from spikeloom.run.config import Config, ConfigError
from spikeloom.run.distributed import Processes
from spikeloom.run.imported import import_weights
from spikeloom.run.loop import Silent, Training
from spikeloom.run.record import BEST, CONFIG, LAST, RESULT, stored_config
from spikeloom.run.rehearse import rehearse
from spikeloom.run.task import prepare
from spikeloom.run.teacher import TEACHER, teacher_config
from tests.run.recipe import tiny
from tests.run.test_processes import free_port, train_as, train_noting_gradients

PLAIN = {"name": "none", "bias": True}
NEURON = {
    "name": "lif", "decay": {"name": "exponential", "tau": 10.0}, "v_threshold": 0.6,
    "strict": True, "surrogate": {"name": "rectangle", "alpha": 2.5, "scale": 0.4},
}  # fmt: skip
ONLINE = {"name": "local_tandem", "variant": "online", "warm_up": 1, "update": "step"}
RECIPE = """
[model]
name = "spiking_vgg5"
width = 0.05
T = 1
neuron = {{ name = "relu", clip = 2.0 }}
[data]
name = "digits"
batch = {batch}
augment = ["crop"]
[[phase]]
optimizer = {{ name = "adam", lr = 0.003 }}
epochs = 2
"""


@pytest.fixture(scope="session")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "taught.toml"
    path.write_text(RECIPE.format(batch=50))
    return path


@pytest.fixture(scope="session")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of rectifiers."""
    folder = tmp_path_factory.mktemp("taught") / "run"
    session.train(
        tiny(model__neuron={"name": "relu", "clip": 2.0}, model__T=1, phase__0__epochs=1), folder
    )
    return folder


def tandem(teacher: Any, **changes: Any) -> Config:
    how = {"teacher": teacher, "model__neuron": NEURON, "model__T": 3, "model__norm": PLAIN}
    return tiny(**{**how, "phase__0__learner": "local_tandem", **changes})


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return checkpoint.load_state(folder / LAST)[0]


def same(one: Path, other: Path) -> None:
    tensors, others = weights(one), weights(other)
    assert tensors.keys() == others.keys()
    assert all(torch.equal(tensors[name], others[name]) for name in tensors)


def test_a_teacher_is_trained_first_on_the_data_of_the_run(recipe: Path, tmp_path: Path) -> None:
    result = session.train(tandem({"recipe": str(recipe), "set": ["phase.0.epochs=1"]}), tmp_path)
    own = json.loads((tmp_path / TEACHER / RESULT).read_text())
    assert own["splits"] == result["splits"]
    assert own["epochs"] == 1
    assert result["teacher"]["test"] == own["test"]
    assert json.loads((tmp_path / RESULT).read_text())["teacher"] == result["teacher"]
    stored = session.stored_config(tmp_path / TEACHER)
    assert (stored.data.batch, stored.data.train) == (50, 200)
    assert [part.name for part in stored.data.augment] == ["crop"]
    best = checkpoint.under("model", checkpoint.load_state(tmp_path / BEST)[0])
    assert not any("teacher" in name for name in best), "gone from the finished model"
    assert any("teacher" in name for name in weights(tmp_path))
    in_checkpoint = checkpoint.under("model", weights(tmp_path))
    trained = checkpoint.under("model", weights(tmp_path / TEACHER))
    for name, value in trained.items():
        assert torch.equal(in_checkpoint[f"teacher.{name}"], value)


def test_a_finished_run_teaches_from_a_copy(taught: Path, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in taught.iterdir() if path.is_file()}
    moved, folder = tmp_path / "moved", tmp_path / "run"
    shutil.copytree(taught, moved)
    session.train(tandem({"run": str(moved)}), folder)
    assert {p.name: p.read_bytes() for p in moved.iterdir() if p.is_file()} == before
    shutil.rmtree(moved)
    assert session.score(folder)["accuracy"] > 0, "the teacher's folder is needed no more"
    with pytest.raises(ConfigError, match="already holds a run"):
        session.train(tandem({"run": str(moved)}), folder)


class Stop(Exception):  # noqa: N818 it is no error
    pass


def interrupted(config: Config, folder: Path, at: Callable[[Path], bool]) -> None:
    """Start a run and stop it after the first checkpoint of which ``at`` holds."""
    save = Training._save

    def stopping(self: Training) -> None:
        save(self)
        if at(self.folder):
            raise Stop

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Training, "_save", stopping)
        with pytest.raises(Stop):
            session.train(config, folder, recipe="named")


@pytest.mark.parametrize("learner", ["local_tandem", ONLINE], ids=["offline", "steps"])
@pytest.mark.parametrize("place", ["in the teacher", "in the run"])
def test_an_interrupted_run_ends_like_one_that_was_left_alone(
    place: str, learner: Any, recipe: Path, tmp_path: Path
) -> None:
    config = tandem(
        {"recipe": str(recipe)}, phase__0__learner=learner, run__checkpoint_minutes=1e-5,
        phase__0__ema=0.9,
    )  # fmt: skip
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    session.train(config, whole)
    in_teacher = place == "in the teacher"
    interrupted(config, broken, lambda folder: (folder.name == TEACHER) == in_teacher)
    if not in_teacher:
        shutil.rmtree(broken / TEACHER)  # the checkpoint holds the teacher
        torch.manual_seed(99)
    assert session.resume_folder(broken)["recipe"] == "named"
    same(whole, broken)


def test_arms_of_one_seed_have_the_same_teacher(recipe: Path, tmp_path: Path) -> None:
    session.train(tandem({"recipe": str(recipe)}), tmp_path / "a")
    config = tandem({"recipe": str(recipe)}, phase__0__learner="bptt", phase__0__epochs=1)
    session.train(config, tmp_path / "b")
    same(tmp_path / "a" / TEACHER, tmp_path / "b" / TEACHER)


def test_a_teacher_of_another_run_is_taken_over_if_it_is_the_one_wanted(
    recipe: Path, tmp_path: Path
) -> None:
    wanted, other = ({"recipe": str(recipe), "set": [f"phase.0.epochs={n}"]} for n in (1, 2))
    for name, teacher in {"one": wanted, "two": other}.items():
        session.train(tandem(teacher, phase__0__epochs=1), tmp_path / name)
    known = [tmp_path / name / TEACHER for name in ("two", "none", "one")]
    session.train(tandem(wanted, phase__0__epochs=1), tmp_path / "again", teachers=known)
    first, copy = (tmp_path / name / TEACHER / RESULT for name in ("one", "again"))
    assert first.read_bytes() == copy.read_bytes(), "the time it took included: not trained again"
    same(tmp_path / "one", tmp_path / "again")


def test_training_a_teacher_leaves_the_random_numbers_of_the_run(
    recipe: Path, tmp_path: Path
) -> None:
    """BPTT with a teacher that it does not use ends like BPTT without one."""
    how = {"phase__0__learner": "bptt", "phase__0__epochs": 1, "model__dropout": 0.2}
    session.train(tandem({"recipe": str(recipe)}, **how), tmp_path / "with")
    session.train(tandem(None, **how), tmp_path / "without")
    same(tmp_path / "with", tmp_path / "without")


def test_an_update_at_every_step_counts_batches_and_steps_the_optimizer_more(
    taught: Path, tmp_path: Path
) -> None:
    config = tandem({"run": str(taught)}, phase__0__learner=ONLINE)
    session.train(config, tmp_path)
    tensors, about = checkpoint.load_state(tmp_path / LAST)
    batches = 2 * 7  # 200 images in batches of 32, two epochs
    assert about["state"]["update"] == batches
    steps = {float(value) for name, value in tensors.items() if name.endswith("/step")}
    assert steps == {2.0 * batches}, "T = 3, warm_up = 1: two updates a batch"
    line = about["state"]["history"][0]
    assert 0 < line["train"]["accuracy"] <= 1


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no teacher": ({"teacher": None}, r"needs a teacher.*\[teacher\]"),
    "both": ({"teacher": {"run": "a", "recipe": "b"}}, "one of both"),
    "neither": ({"teacher": {}}, "one of both"),
    "set of a run": ({"teacher": {"run": "a", "set": ["x=1"]}}, "a finished run stays"),
    "no such run": ({"teacher": {"run": "nowhere"}}, "nowhere is not a run folder"),
    "no such recipe": ({"teacher": {"recipe": "digits_vg"}}, "Did you mean 'digits_vgg'"),
    "spiking teacher": ({"teacher": {"recipe": "digits_vgg"}}, "0 of rectifiers"),
    "accumulate": (
        {"phase__0__learner": ONLINE, "phase__0__accumulate": 2}, "set accumulate = 1"
    ),
    "dropout online": ({"phase__0__learner": ONLINE, "model__dropout": 0.5}, "Dropout"),
    "norm online": ({"phase__0__learner": ONLINE, "model__norm": "bn"}, "bias = true"),
    "warm-up": (
        {"phase__0__learner": {"name": "local_tandem", "variant": "online"}}, "warm_up = 12"
    ),
    "width": ({"model__width": 0.1}, "cannot follow rectifiers"),
    "encoder": ({"model__encoder": "poisson"}, 'encoder = "constant"'),
    "callback": ({"phase__0__callback": ["im_loss"]}, "a callback adds a term"),
    "handed": (
        {"phase__0__learner": {"name": "local_tandem", "teacher": "x"}}, "unknown argument"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_taught_is_refused_before_anything_is_written(
    case: str, taught: Path, tmp_path: Path
) -> None:
    changes, message = REFUSED[case]
    with pytest.raises((ConfigError, ValueError), match=message):
        session.train(tandem(**{"teacher": {"run": str(taught)}, **changes}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_unfinished_teacher_and_one_of_other_data_are_refused(
    taught: Path, tmp_path: Path
) -> None:
    shutil.copytree(taught, tmp_path / "taught")
    (tmp_path / "taught" / RESULT).unlink()
    with pytest.raises(ConfigError, match="not finished"):
        teacher_config(tandem({"run": str(tmp_path / "taught")}))
    config = tandem({"run": str(taught)}, data={"name": "mnist"})
    with pytest.raises(ConfigError, match="trained on digits, the run is on mnist"):
        teacher_config(config)


def test_a_teacher_with_a_teacher_of_its_own_is_refused(recipe: Path, tmp_path: Path) -> None:
    path = tmp_path / "second.toml"
    path.write_text(recipe.read_text() + f'\n[teacher]\nrecipe = "{recipe}"\n')
    with pytest.raises(ConfigError, match="has a teacher of its own"):
        teacher_config(tandem({"recipe": str(path)}))


def test_a_teacher_that_cannot_be_trained_is_refused_by_name(recipe: Path, tmp_path: Path) -> None:
    config = tandem({"recipe": str(recipe), "set": ["phase.0.loss=nll"]})
    with pytest.raises(ConfigError, match=r"the teacher: .*unknown loss"):
        session.train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_rehearsal_leaves_the_teacher_as_it_was(taught: Path, tmp_path: Path) -> None:
    config = tandem({"run": str(taught)})
    task = prepare(config, Processes(), torch.device("cpu"), None)
    assert task.teacher is not None
    before = {name: value.clone() for name, value in task.teacher.state_dict().items()}
    rehearse(task)
    now = task.teacher.state_dict()
    assert all(torch.equal(before[name], now[name]) for name in before)


def test_the_copy_of_a_teacher_is_whole_or_not_there(
    taught: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = shutil.copyfile

    def failing(source: Path, target: Path) -> None:
        if source.name == BEST:
            raise OSError("no space")
        copy(source, target)

    monkeypatch.setattr(shutil, "copyfile", failing)
    with pytest.raises(OSError, match="no space"):
        session.train(tandem({"run": str(taught)}), tmp_path)
    assert not (tmp_path / TEACHER / CONFIG).exists()
    monkeypatch.undo()
    with pytest.raises(ConfigError, match="already holds a run; resume it"):
        session.train(tandem({"run": str(taught)}, phase__0__epochs=1), tmp_path)
    session.resume_folder(tmp_path)
    assert (tmp_path / RESULT).exists()


@pytest.mark.slow
@pytest.mark.parametrize("learner", ["local_tandem", ONLINE], ids=["offline", "steps"])
def test_two_processes_have_the_gradients_of_one(
    learner: Any, taught: Path, tmp_path: Path
) -> None:
    config = tandem(
        {"run": str(taught)}, phase__0__learner=learner, data__train=67, phase__0__epochs=1,
        phase__0__optimizer={"name": "sgd", "lr": 0.1, "momentum": 0.9},
    )  # fmt: skip
    one = train_noting_gradients(tmp_path / "one", config)
    mp.spawn(train_as, (2, free_port(), str(tmp_path / "two"), config), nprocs=2)
    for rank in range(2):
        two = torch.load(tmp_path / f"two-gradients{rank}.pt")
        assert len(two) == len(one) == (3 if learner == "local_tandem" else 6)
        for mine, whole in zip(two, one, strict=True):
            torch.testing.assert_close(mine, whole, rtol=1e-9, atol=1e-12)


def test_a_teacher_comes_from_a_file_of_weights(taught: Path, tmp_path: Path) -> None:
    task = prepare(stored_config(taught), Processes(), torch.device("cpu"), None)
    state = Training(task, taught, Silent()).weights("last").state_dict()
    state = {key: value.contiguous() for key, value in state.items()}
    prefixes = list(dict.fromkeys(key.rpartition(".")[0] for key in state))
    theirs = {  # as in another library
        f"{prefixes.index(key.rpartition('.')[0])}.{key.rpartition('.')[2]}": value
        for key, value in state.items()
    }
    letters = str.maketrans("0123456789", "abcdefghij")
    named = {
        f"{prefix.translate(letters)}.{name}": theirs[f"{prefix}.{name}"]
        for prefix, _, name in (key.rpartition(".") for key in theirs)
    }
    files = [
        tmp_path / name for name in ("o.safetensors", "n.safetensors", "p.pt", "x.safetensors")
    ]
    save_file(state, files[0])
    save_file(theirs, files[1])
    torch.save(named, files[2])
    save_file(named, files[3])
    for number, file in enumerate(files[:3]):
        folder = tmp_path / f"imported{number}"
        found = import_weights(file, str(taught / CONFIG), out=folder)
        assert found["parameters"] == json.loads((taught / RESULT).read_text())["parameters"]
        assert (
            session.score(folder)["accuracy"] == session.score(taught, weights="last")["accuracy"]
        )
    with pytest.raises(Unsupported, match="keeps no order of its layers"):
        import_weights(files[3], str(taught / CONFIG), out=tmp_path / "none")
    session.train(tandem({"run": str(folder)}), tmp_path / "run")
    held, _ = checkpoint.load_state(tmp_path / "run" / TEACHER / BEST)
    teacher = checkpoint.under("model", held)
    assert all(torch.equal(teacher[key], value) for key, value in state.items())


def test_weights_that_do_not_fit_are_refused_before_a_folder_is_made(
    taught: Path, tmp_path: Path
) -> None:
    file, out = tmp_path / "w.safetensors", tmp_path / "out"
    save_file({"0.weight": torch.zeros(3, 4)}, file)
    with pytest.raises(Unsupported, match="0 is a linear, but"):
        import_weights(file, str(taught / CONFIG), out=out)
    with pytest.raises(FileNotFoundError):
        import_weights(tmp_path / "none.pt", str(taught / CONFIG), out=out)
    assert not out.exists()
