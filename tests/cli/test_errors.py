"""What a user can mend is one message and an exit code; what is our mistake is a traceback."""

import errno
from pathlib import Path

import pytest
from typer.testing import CliRunner

from spikeloom.cli import app
from spikeloom.learning import Unsupported
from spikeloom.run import session
from spikeloom.run.record import LAST
from tests.cli.conftest import TINY, call


def refused(*words: object, code: int = 2) -> str:
    """The message, alone on stderr."""
    done = call(*words, code=code)
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
    return done.stderr


def test_bad_setting_names_key_and_nearest_and_leaves_no_folder(tmp_path: Path) -> None:
    said = refused("run", "digits_vgg", "model.wdith=1", "--out", tmp_path)
    assert "unknown argument 'wdith'. Did you mean 'width'?" in said
    assert list(tmp_path.iterdir()) == []


def test_unknown_recipe_suggests_the_nearest(tmp_path: Path) -> None:
    for verb in ("run", "show", "cite"):
        assert "unknown recipe 'digit_vgg'. Did you mean 'digits_vgg'?" in refused(
            verb, "digit_vgg"
        )


@pytest.mark.parametrize(
    "name",
    ["a/b", "..", ".hidden", "-q", "", "a\nb", "\x1b[31m", "\x7f", "🦀", "a\\b", "x. ", "a" * 101],
)
def test_name_that_is_no_folder_name_is_refused(name: str, tmp_path: Path) -> None:
    said = refused("run", "digits_vgg", *TINY, "--out", tmp_path / "out", f"--name={name}")
    assert "cannot name a folder: use up to 100 letters, digits" in said
    assert not (tmp_path / "out").exists()


def test_name_in_any_script_is_taken(tmp_path: Path) -> None:
    for name in ("größe 2.5", "実験-1", "𠮷_x=3,y+1"):
        said = call("run", "digits_vgg", *TINY, "--out", tmp_path, "--quiet", "--name", name).stdout
        assert str(tmp_path / name / "seed0") in said


@pytest.mark.parametrize("verb", ["resume", "eval", "report", "cite", "compare"])
def test_folder_without_a_run_is_refused(verb: str, tmp_path: Path) -> None:
    assert "config.toml" in refused(verb, tmp_path)


def test_altered_checkpoint_is_refused(finished: Path, tmp_path: Path) -> None:
    for name in ("config.toml", "environment.json"):
        (tmp_path / name).write_bytes((finished / name).read_bytes())
    (tmp_path / LAST).write_bytes((finished / LAST).read_bytes()[:-9])
    for verb in ("resume", "eval"):
        assert "truncated or altered" in refused(verb, tmp_path)


def test_unknown_metric_and_arm_are_refused(finished: Path) -> None:
    assert "Did you mean 'test.accuracy'?" in refused(
        "compare", finished, "--metric", "test.acuracy"
    )
    assert "unknown arm 'digits'" in refused("compare", finished, "--baseline", "digits")


def test_diverged_run_has_an_exit_code_of_its_own(tmp_path: Path) -> None:
    wild = ("model.norm=none", 'phase.0.optimizer={name="sgd",lr=1e38}', "data.batch=8")
    words = ("run", "digits_vgg", *TINY, *wild, "phase.0.schedule=constant", "--out", tmp_path)
    said = call(*words, code=3).stderr
    assert "error: the loss is not finite at phase 0" in said


def test_full_disk_is_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "could not write it; what was saved before is kept")

    monkeypatch.setattr(session, "train", full)
    said = refused("run", "digits_vgg", "--out", tmp_path)
    assert said == "error: could not write it; what was saved before is kept\n"


def test_folder_that_cannot_be_written_is_one_message(finished: Path, tmp_path: Path) -> None:
    said = refused("compare", finished, "--html", tmp_path / "absent" / "page.html")
    assert "No such file or directory" in said
    assert "absent" in said


def test_unsupported_pair_is_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(*_: object, **__: object) -> None:
        raise Unsupported("sleep needs binary spikes")

    monkeypatch.setattr(session, "train", unsupported)
    assert "sleep needs binary spikes" in refused("run", "digits_vgg", "--out", tmp_path)


def test_mistake_of_ours_is_not_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise AttributeError("no such thing")

    monkeypatch.setattr(session, "train", broken)
    with pytest.raises(AttributeError, match="no such thing"):
        call("run", "digits_vgg", "--out", tmp_path)


def test_only_the_first_process_of_a_machine_complains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert call("show", "digit_vgg", code=2).output == ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["rnu"], "Did you mean 'run'"),
        (["run"], "Missing argument"),
        (["run", "digits_vgg", "--otu", "x"], "No such option"),
        (["eval", "x", "--weights", "first"], "first"),
    ],
)
def test_wrong_usage_is_explained(words: list[str], message: str) -> None:
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 2
    assert message in done.stderr
