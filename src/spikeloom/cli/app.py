"""The command, its arguments that several verbs share, and its entry point.

Libraries are imported by the verb that needs them, so that ``--help`` does not wait for torch.
"""

import sys
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated

import typer

from spikeloom import __version__

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
    help="Train, understand and deploy deep spiking neural networks.",
)
INTERRUPTED = 130
Root = Annotated[
    Path | None, typer.Option(help="Folder with the data sets; else SPIKELOOM_DATA says.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
Recipe = Annotated[
    str, typer.Argument(metavar="RECIPE", help="Name of a recipe, or path of a .toml file.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY=VALUE", help="Changes, as model.T=2 or phase.0.epochs=3."),
]
Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of a run.")]
Watch = Annotated[bool, typer.Option("--watch/--quiet", help="Show progress.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"spikeloom {__version__}")
        raise typer.Exit


@app.callback()
def spikeloom(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print it and exit."
        ),
    ] = False,
) -> None:
    """Train, understand and deploy deep spiking neural networks."""


def main() -> None:
    """Entry point."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # Greek letters must not stop a plain terminal
            stream.reconfigure(errors="replace")
    app(prog_name="spikeloom")
