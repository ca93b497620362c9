"""Calls the command line in this process, and makes one finished run for all tests."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from spikeloom.cli import app

TINY = (
    "model.width=0.05", "model.T=2", "data.batch=32", "data.train=64", "data.val=32",
    "data.test=32", "phase.0.epochs=2", "run.twin=false", "run.threads=1",
)  # fmt: skip
Spikeloom = Callable[..., Result]


def call(*words: object, code: int = 0) -> Result:
    """The answer to a command; its exit code must be the expected one."""
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


def answer(*words: object) -> Any:
    """What a command prints as JSON, which must be all of its standard output."""
    return json.loads(call(*words, "--json").stdout)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with its twin; not to be changed."""
    out = tmp_path_factory.mktemp("finished")
    call("run", "digits_vgg", *TINY, "run.twin=true", "--out", out, "--quiet")
    return out / "digits_vgg" / "seed0"
