"""Bad input is refused before training starts, with what came, what was expected, how to mend.

Nothing is written then: no run folder appears, and one that is there stays as it was.
"""

import errno
import gzip
import os
import re
import shutil
import struct
import subprocess
import sys
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from spikeloom.data.files import ROOT_VARIABLE
from spikeloom.data.idx import FILES
from spikeloom.learning import Progress
from spikeloom.run import checkpoint, session
from spikeloom.run.checkpoint import CheckpointError
from spikeloom.run.config import ConfigError, load
from spikeloom.run.distributed import Processes
from spikeloom.run.loop import NonFiniteLossError
from spikeloom.run.record import CONFIG, LAST
from spikeloom.run.task import prepare

TINY = [
    "model.width=0.05", "model.T=2", "data.batch=32", "data.train=64", "data.val=32",
    "data.test=32", "phase.0.epochs=1", "run.twin=false", "run.threads=1",
]  # fmt: skip
CPU = torch.device("cpu")


class Counting(session.Silent):
    """Counts the updates of a run."""

    updates = 0

    def update(self, progress: Progress, loss: float) -> None:
        self.updates += 1


def train(folder: Path, *overrides: str, recipe: str = "digits_vgg", **how: Any) -> dict[str, Any]:
    return session.train(load(recipe, [*TINY, *overrides]), folder, **how)


def refusal(folder: Path, *overrides: str, recipe: str = "digits_vgg", **how: Any) -> str:
    """The message, once it is certain that nothing was trained and nothing written."""
    seen = Counting()
    before = contents(folder)
    with pytest.raises(ConfigError) as refused:
        train(folder, *overrides, recipe=recipe, watch=lambda task: seen, **how)
    assert seen.updates == 0
    assert contents(folder) == before
    return str(refused.value)


def contents(folder: Path) -> dict[str, bytes]:
    files = folder.rglob("*") if folder.exists() else ()
    return {str(path): path.read_bytes() for path in files if path.is_file()}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "run"
    train(folder)
    return folder


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A finished run to spoil."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


UNKNOWN_KEYS = {
    "modle.T=2": "top level: unknown key 'modle'. Did you mean 'model'?",
    "model.nueron=lif": "unknown argument 'nueron'. Did you mean 'neuron'?",
    "model.wdith=1": "model 'spiking_vgg5': unknown argument 'wdith'. Did you mean 'width'?",
    "data.bacth=3": "dataset 'digits': unknown argument 'bacth'. Did you mean 'batch'?",
    "phase.0.epoch=3": "phase.0: unknown key 'epoch'. Did you mean 'epochs'?",
    "run.sede=1": "run: unknown key 'sede'. Did you mean 'seed'?",
    'phase.0.group=[{match=["*"],lr_scael=1}]': (
        "phase.0.group.0: unknown key 'lr_scael'. Did you mean 'lr_scale'? "
        "Known: lr_scale, match, weight_decay."
    ),
    "model.neuron.taau=2": "neuron 'lif': unknown argument 'taau'. Did you mean 'tau'?",
    "model.neuron.shape=[2]": "neuron 'lif': unknown argument 'shape'",
    'model.norm={name="bn",ep=1}': "norm 'bn': unknown argument 'ep'. Did you mean 'eps'?",
    'data.augment=[{name="crop",padd=2}]': "augment 'crop': unknown argument 'padd'",
    'phase.0.loss={name="tet",lamb=1}': "loss 'tet': unknown argument 'lamb'",
    "phase.0.optimizer.momentun=1": "optimizer 'adamw': unknown argument 'momentun'",
    "phase.0.optimizer.params=3": "optimizer 'adamw': unknown argument 'params'",
    "phase.0.schedule.warm=0.1": "schedule 'cosine': unknown argument 'warm'",
    'model.neuron.surrogate={name="arctan",a=1}': "surrogate 'arctan': unknown argument 'a'",
}
UNKNOWN_NAMES = {
    "model.name=spiking_vgg7": "unknown model 'spiking_vgg7'. Did you mean 'spiking_vgg",
    "model.neuron=lfi": "unknown neuron 'lfi'. Did you mean 'lif'?",
    "model.norm=tdn": "unknown norm 'tdn'. Did you mean 'tdbn'?",
    "model.encoder=poison": "unknown encoder 'poison'. Did you mean 'poisson'?",
    "model.neuron.surrogate=arctann": "unknown surrogate 'arctann'. Did you mean 'arctan'?",
    "model.neuron.decay=eulr": "unknown decay 'eulr'. Did you mean 'euler'?",
    "data.name=digit": "unknown dataset 'digit'. Did you mean 'digits'?",
    'data.augment=["flipp"]': "unknown augment 'flipp'. Did you mean 'flip'?",
    "phase.0.learner=bpttt": "unknown learner 'bpttt'. Did you mean 'bptt'?",
    "phase.0.loss=rate_cee": "unknown loss 'rate_cee'. Did you mean 'rate_ce'?",
    "phase.0.optimizer=sdg": "unknown optimizer 'sdg'. Did you mean 'sgd'?",
    "phase.0.schedule=cosin": "unknown schedule 'cosin'. Did you mean 'cosine'?",
}
TYPES = {
    "model.T=four": "model.T = 'four': Input should be a valid integer",
    "model.T=2.5": "model.T = 2.5: Input should be a valid integer",
    'phase.0.group=[{match=["*"],lr_scale=true}]': (
        "phase.0.group.0.lr_scale = True: Input should be a valid number"
    ),
    'phase.0.ema="0.9"': "phase.0.ema = '0.9': Input should be a valid number",
    'phase.0.clip_norm="1"': "phase.0.clip_norm = '1': Input should be a valid number",
    "run.checkpoint_minutes=true": "run.checkpoint_minutes = True: Input should be a valid number",
    "run.twin=1": "run.twin = 1: Input should be a valid boolean",
    'run.tensorboard="yes"': "run.tensorboard = 'yes': Input should be a valid boolean",
    "phase.0.optimizer.lr=fast": "optimizer 'adamw': lr = 'fast': Input should be a valid number",
    "model.neuron.detach_reset=maybe": "detach_reset = 'maybe': Input should be a valid boolean",
    "model.neuron=3": "model.neuron = 3: Input should be a valid dictionary",
    "model.neuron.learn=decay": "learn = 'decay'",
    "data.augment=flip": "data.augment = 'flip': expected a list",
    "run.precision=fp8": "run.precision = 'fp8': Input should be 'fp32', 'bf16', 'fp16' or 'fp64'",
    "run.select=first": "run.select = 'first': Input should be 'last' or 'best'",
    "data.val_from=middle": "data.val_from = 'middle': Input should be 'last' or 'random'",
    "model.neuron.reset=firm": "reset = 'firm': Input should be 'hard', 'soft' or 'none'",
    "model.pool=min": "pool = 'min': Input should be 'average', 'max' or 'strided'",
    "model.neuron.surrogate={alpha=2}": 'no name; write surrogate = { name = "...", ... }',
    "phase.0.loss.lam=0.5": 'phase.0.loss.name is missing; write phase.0.loss = { name = "...',
}
RANGES = {
    "model.T=0": "model.T = 0: Input should be greater than or equal to 1",
    "data.batch=0": "data.batch = 0: Input should be greater than or equal to 1",
    "phase.0.epochs=0": "phase.0.epochs = 0: Input should be greater than or equal to 1",
    "phase.0.accumulate=0": "phase.0.accumulate = 0: Input should be greater than or equal to 1",
    "phase.0.ema=1": "phase.0.ema = 1: Input should be less than 1",
    "phase.0.clip_norm=0": "phase.0.clip_norm = 0: Input should be greater than 0",
    "run.seed=9223372036854775808": "run.seed = 9223372036854775808: Input should be less than",
    "run.seed=-1": "run.seed = -1: Input should be greater than or equal to 0",
    "run.threads=0": "run.threads = 0: Input should be greater than or equal to 1",
    "phase=[]": "phase = []: Tuple should have at least 1 item",
    "model.neuron.tau=1": "tau must be > 1 and finite, got 1.0",
    "model.neuron.tau=0.5": "tau must be > 1 and finite, got 0.5",
    "model.neuron.v_threshold=0": "v_threshold must lie above the reset, got 0.0",
    'model.neuron.decay={name="factor",beta=2}': "decay 'factor': beta must be in [0, 1]",
    'model.neuron.surrogate={name="arctan",alpha=0}': "alpha and scale must be > 0, got alpha=0",
    'model.neuron.learn=["tau"]': "learn may hold 'decay', 'v_threshold'; got 'tau'",
    "model.width=0": "width must be > 0, got 0.0",
    "model.width=1e9": "spiking_vgg5 cannot be built",
    "model.dropout=1.5": "must be in [0, 1), got 1.5",
    "phase.0.optimizer.lr=-1": "optimizer 'adamw': Invalid learning rate: -1.0",
    "phase.0.optimizer.lr=inf": "phase.0.optimizer.lr = inf: expected a finite number",
    "phase.0.optimizer.weight_decay=-1": "optimizer 'adamw': Invalid weight_decay value: -1.0",
    "phase.0.optimizer.betas=[0.9,2.0]": "optimizer 'adamw': Invalid beta parameter at index 1",
    'phase.0.loss={name="rate_ce",label_smoothing=1}': "label_smoothing must be in [0, 1), got 1",
    'phase.0.schedule={name="cosine",warmup=2}': "at most 1, got 1.0 and 1.0, warmup 2.0",
    'phase.0.no_decay=["nothing*"]': "the pattern 'nothing*' matches no parameter",
    "data.val=1437": "val = 1437, but digits has 1437 training samples",
    "data.train=1406": "train = 1406, but there are 1405 samples after val = 32 are taken off",
    "data.test=361": "test = 361, but there are 360 samples in the test set of digits",
    'data.augment=[{name="flip",p=2}]': "p is a probability, 0..1, got 2.0",
}
OVERRIDES = {
    "malformed": "override 'malformed' is not of the form key=value",
    "=3": "override '=3' is not of the form key=value",
    "phase.3.epochs=1": "there is no 'phase.3.epochs' to set",
    "phase.x.epochs=1": "there is no 'phase.x.epochs' to set",
    "model.name.T=1": "'name' is a name, not a table; write it as name={ name =",
}
MISFITS = {
    "model.name=spiking_vgg16": "an image of 8 x 8 is too small for the poolings",
    "model.in_shape=[3,8,8]": "built for in_shape = (3, 8, 8) and expects",
    "model.num_classes=3": "expected logits [T, N, classes] = (2, 2, 10)",
    'data.augment=[{name="cutout",fill=[0,0,0]}]': "digits samples (1, 8, 8) do not go through",
    "run.device=cuda:99": "run.device = 'cuda:99' is not available here; use 'auto' or one of cpu",
    "run.device=gpu": "run.device = 'gpu' is not available here; use 'auto' or one of cpu",
    "run.device=meta": "run.device = 'meta' is not available here",
}
TABLE = UNKNOWN_KEYS | UNKNOWN_NAMES | TYPES | RANGES | OVERRIDES | MISFITS


@pytest.mark.parametrize(("override", "message"), TABLE.items(), ids=TABLE)
def test_bad_setting_is_refused(override: str, message: str, tmp_path: Path) -> None:
    assert message in refusal(tmp_path / "run", override)


def test_bad_setting_of_a_later_phase_is_refused_before_the_first(tmp_path: Path) -> None:
    phases = 'phase=[{epochs=1},{epochs=1,loss={name="tet",lam=2}}]'
    assert "lam must be in [0, 1], got 2.0" in refusal(tmp_path / "run", phases)


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    said = refusal(tmp_path / "run", "model.T=0", "run.sede=1", "phase.0.epochs=0")
    assert said.startswith("recipe bptt/digits_vgg:\n")
    assert len(said.splitlines()) == 4


def test_unknown_recipe_is_refused_with_the_nearest(tmp_path: Path) -> None:
    said = refusal(tmp_path / "run", recipe="digit_vgg")
    assert "unknown recipe 'digit_vgg'. Did you mean 'digits_vgg'?" in said
    assert "path ending in .toml" in said


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[model\nT = 1", "is not valid TOML"),
        (b"title = '\xff'", "is not a text file in UTF-8"),
        (b"title = 'no model'", "model is missing"),
        (None, "no recipe file"),
    ],
)
def test_broken_recipe_file_is_refused(content: bytes | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as refused:
        load(path)
    assert message in str(refused.value)
    assert "mine.toml" in str(refused.value)


def test_batch_that_processes_cannot_share_is_refused() -> None:
    config = load("digits_vgg", [*TINY, "data.batch=33"])
    with pytest.raises(ConfigError, match=r"data\.batch = 33 .* 2 processes; use a multiple"):
        prepare(config, Processes(rank=0, world=2), CPU, None)


def test_largest_seed_runs(tmp_path: Path) -> None:
    assert train(tmp_path / "run", f"run.seed={2**63 - 1}", "data.val_from=random")["seed"] > 2**62


# ---- data files


def write_mnist(root: Path) -> Path:
    """Forty training and twenty test images as MNIST lies on disk; returns their folder."""
    folder = root / "mnist"
    folder.mkdir(parents=True)
    for name, count in zip(FILES, (40, 40, 20, 20), strict=True):
        shape = (count, 28, 28) if "images" in name else (count,)
        values = torch.randint(0, 10, shape, dtype=torch.uint8).numpy().tobytes()
        head = bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape)
        (folder / name).write_bytes(head + values)
    return folder


MNIST = ("data.name=mnist", "data.train=16", "data.val=8", "data.test=8", "data.batch=8")


def test_missing_data_root_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ROOT_VARIABLE, raising=False)
    said = refusal(tmp_path / "run", *MNIST)
    assert "where are the datasets?" in said
    assert ROOT_VARIABLE in said
    absent = tmp_path / "absent"
    assert f"{absent} is not a folder" in refusal(tmp_path / "run", *MNIST, root=absent)


def test_missing_data_files_are_refused_by_name(tmp_path: Path) -> None:
    folder = write_mnist(tmp_path / "data")
    (folder / FILES[1]).unlink()
    said = refusal(tmp_path / "run", *MNIST, root=tmp_path / "data")
    assert f"mnist is not whole under {tmp_path / 'data'}" in said
    assert f"mnist/: missing {FILES[1]}" in said
    assert "download = true" in said


def cut(content: bytes) -> bytes:
    return content[:-5]


def other_magic(content: bytes) -> bytes:
    return b"PK" + content[2:]


def high_labels(content: bytes) -> bytes:
    return content[:-1] + b"\x0b"


SPOILT: list[tuple[str, Callable[[bytes], bytes], str]] = [
    (FILES[0], cut, "it is cut off or damaged, fetch it anew"),
    (FILES[2], other_magic, "is not an IDX file"),
    (FILES[3], high_labels, "label 11, but mnist has labels 0..9"),
    (FILES[1], lambda content: b"", "is not an IDX file"),
]


@pytest.mark.parametrize(("name", "spoil", "message"), SPOILT)
def test_damaged_data_file_is_refused(
    name: str, spoil: Callable[[bytes], bytes], message: str, tmp_path: Path
) -> None:
    path = write_mnist(tmp_path / "data") / name
    path.write_bytes(spoil(path.read_bytes()))
    said = refusal(tmp_path / "run", *MNIST, root=tmp_path / "data")
    assert message in said
    assert str(path.parent) in said


def test_damaged_gzip_is_refused(tmp_path: Path) -> None:
    path = write_mnist(tmp_path / "data") / FILES[0]
    path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes())[:-20])
    path.unlink()
    said = refusal(tmp_path / "run", *MNIST, root=tmp_path / "data")
    assert f"{path}.gz is not a whole gzip file" in said
    assert "fetch it anew" in said


# ---- the run folder


def test_folder_that_holds_a_run_is_refused(run: Path) -> None:
    said = refusal(run)
    assert "already holds a run; resume it, or choose another --out" in said


def test_folder_in_use_is_refused(run: Path) -> None:
    code = (
        "import sys, time; from filelock import FileLock; lock = FileLock(sys.argv[1]); "
        "lock.acquire(); print('held', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(run / ".lock")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout
        assert other.stdout.readline() == "held\n"
        try:
            for resume in (False, True):
                said = refusal(run, resume=resume)
                assert "is in use by another process; wait for it or choose another" in said
        finally:
            other.kill()


def test_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot write to run folder" in refusal(tmp_path / "file" / "run")


def test_full_disk_is_refused_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, 10**6))
    said = refusal(tmp_path / "run")
    assert "no disk space" in said
    assert "has 1 MB free" in said
    assert "free some or choose another --out" in said


def test_disk_that_fills_up_keeps_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Filling(session.Silent):
        def epoch(self, line: dict[str, Any]) -> None:
            def full(_: int) -> None:
                raise OSError(errno.ENOSPC, "No space left on device")

            monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(OSError, match="what was saved before is kept") as stopped:
        train(tmp_path / "run", "phase.0.epochs=3", watch=lambda task: Filling())
    monkeypatch.undo()
    assert stopped.value.errno == errno.ENOSPC
    _, facts = checkpoint.load_state(tmp_path / "run" / LAST)
    assert facts["state"]["epoch"] == 1
    assert session.resume_folder(tmp_path / "run")["epochs"] == 3


def test_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    for verb in (session.resume_folder, session.score):
        with pytest.raises(ConfigError, match=r"is not a run folder: it has no config\.toml"):
            verb(tmp_path)
    assert contents(tmp_path) == {}


# ---- checkpoints


def spoilt(run: Path, message: str) -> None:
    """Neither resume nor eval takes the checkpoint, and both leave the folder as it is."""
    before = contents(run)
    for verb in (session.resume_folder, session.score):
        with pytest.raises(CheckpointError) as refused:
            verb(run)
        assert re.search(message, str(refused.value))
        assert LAST in str(refused.value)
    assert contents(run) == before


def test_checkpoint_of_another_model_is_refused_by_what_differs(run: Path, tmp_path: Path) -> None:
    train(tmp_path / "wider", "model.width=0.1")
    shutil.copy(tmp_path / "wider" / LAST, run / LAST)
    spoilt(run, r"another configuration: model\.width was 0\.1 and is 0\.05")


def test_truncated_checkpoint_is_refused(run: Path) -> None:
    path = run / LAST
    path.write_bytes(path.read_bytes()[:-100])
    spoilt(run, "it is truncated or altered")


@pytest.mark.parametrize("at", [2, 40, -3], ids=["length", "header", "weights"])
def test_altered_checkpoint_is_refused(run: Path, at: int) -> None:
    content = bytearray((run / LAST).read_bytes())
    content[at] ^= 0x40
    (run / LAST).write_bytes(content)
    spoilt(run, "truncated or altered|not a checkpoint of this version")


def test_file_of_another_program_is_refused(run: Path) -> None:
    tensors = load_file(run / LAST)
    save_file(tensors, run / LAST)
    spoilt(run, "is not a checkpoint of this version")
    torch.save(tensors, run / LAST)
    spoilt(run, "cannot be read as a checkpoint")


def test_missing_best_weights_are_refused(run: Path) -> None:
    (run / "best.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"there is no checkpoint .*best\.safetensors"):
        session.score(run, weights="best")


def test_altered_config_of_a_run_is_refused(run: Path) -> None:
    (run / CONFIG).write_text((run / CONFIG).read_text().replace("width", "wdith"))
    before = contents(run)
    with pytest.raises(ConfigError, match="Did you mean 'width'"):
        session.resume_folder(run)
    assert contents(run) == before


# ---- divergence


@pytest.mark.parametrize(
    ("batch", "decay", "where"),
    [
        (8, 0, r"the loss is not finite at phase 1, epoch 1, update \d: (layer|parameter) \S+ "),
        (64, 1e38, r"parameter \S+ holds NaN or infinity after phase 1, epoch 1, update 1\. "),
    ],
    ids=["within an epoch", "by the last update of an epoch"],
)
def test_diverging_run_says_where_and_its_last_checkpoint_loads(
    batch: int, decay: float, where: str, tmp_path: Path
) -> None:
    optimizer = f'{{name="sgd",lr=1e38,weight_decay={decay}}}'
    wild = f'{{epochs=2,schedule="constant",optimizer={optimizer}}}'
    changes = f"phase=[{{epochs=1}},{wild}]", "model.norm=none", f"data.batch={batch}"
    with pytest.raises(NonFiniteLossError, match=where) as stopped:
        train(tmp_path / "run", *changes)
    said = str(stopped.value)
    assert "Lower the learning rate, set clip_norm, or use fp32" in said
    assert f"the last good checkpoint is {tmp_path / 'run' / LAST}" in said
    _, facts = checkpoint.load_state(tmp_path / "run" / LAST)
    assert facts["state"]["phase"] == 0
    assert 0 <= session.score(tmp_path / "run")["accuracy"] <= 1
