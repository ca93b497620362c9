"""How answers and errors reach the terminal, a file or another program."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import typer
from rich.console import Console, RenderableType
from rich.text import Text

REFUSED, DIVERGED = 2, 3
# What a user can mend; by name, so that a verb need not import what it does not use.
CODES = {
    "spikeloom.run.config.ConfigError": REFUSED,
    "spikeloom.run.checkpoint.CheckpointError": REFUSED,
    "spikeloom.registry.UnknownNameError": REFUSED,
    "spikeloom.report.error.RunFolderError": REFUSED,
    "spikeloom.registry.Unsupported": REFUSED,
    "spikeloom.deploy.exchange.package.DamagedFileError": REFUSED,
    "builtins.OSError": REFUSED,
    "spikeloom.run.loop.NonFiniteLossError": DIVERGED,
}


@contextmanager
def refusals(*also: type[Exception]) -> Iterator[None]:
    """Turn the errors that a user can mend into one message and an exit code."""
    try:
        yield
    except Exception as error:
        code = _exit_code(error) or (REFUSED if isinstance(error, also) else None)
        if code is None or isinstance(error, BrokenPipeError):
            raise
        if os.environ.get("LOCAL_RANK", "0") == "0":
            _say(error)
        raise typer.Exit(code) from error


def _exit_code(error: Exception) -> int | None:
    names = (f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__)
    return next((CODES[name] for name in names if name in CODES), None)


def _say(error: Exception) -> None:
    text = str(error)
    if isinstance(error, OSError) and error.strerror:
        text = error.strerror + (f": {error.filename}" if error.filename else "")
    message = Text.assemble(("error: ", "bold red"), text)
    console_for(err=True).print(message, soft_wrap=True)


def answer(as_json: bool, value: Any, table: Callable[[], RenderableType]) -> None:
    """Print a value as JSON, or as a table for people."""
    if as_json:
        # JSON has no NaN: what is not finite becomes null.
        finite = json.loads(json.dumps(value), parse_constant=lambda name: None)
        typer.echo(json.dumps(finite, indent=1, ensure_ascii=False))
    else:
        console_for().print(table())


def console_for(*, err: bool = False) -> Console:
    """Where to print; what is printed is text, brackets and all."""
    make = partial(Console, stderr=err, highlight=False, markup=False)
    console = make()
    # A file or a pipe has no width to fit: lines stay whole.
    return console if console.is_terminal else make(width=1000)


__all__ = ["answer", "console_for", "refusals"]
