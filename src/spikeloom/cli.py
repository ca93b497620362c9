"""The command line: verbs, each one call into the library, and how their answers are printed.

Libraries are imported by the verb that needs them, so that ``--help`` does not wait for torch.
"""

import json
import os
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from spikeloom import __version__

if TYPE_CHECKING:
    from spikeloom.run.progress import Display

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
    help="Train, understand and deploy deep spiking neural networks.",
)
REFUSED, DIVERGED, INTERRUPTED = 2, 3, 130
Root = Annotated[
    Path | None, typer.Option(help="Folder with the data sets.", envvar="SPIKELOOM_DATA")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
Recipe = Annotated[str, typer.Argument(help="Name of a recipe, or path of a .toml file.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="Changes, as model.T=2 or phase.0.epochs=3."),
]
Folder = Annotated[Path, typer.Argument(help="Folder of a run.")]
Watch = Annotated[bool, typer.Option("--watch/--quiet", help="Show progress.")]


@contextmanager
def refusals(*also: type[Exception]) -> Iterator[None]:
    """Turn the errors that a user can mend into one message and an exit code."""
    try:
        yield
    except Exception as error:
        code = _exit_code(error, also)
        if code is None:
            raise
        if os.environ.get("LOCAL_RANK", "0") == "0":
            _say_error(error)
        raise typer.Exit(code) from error


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


@app.command()
@refusals()
def run(
    recipe: Recipe,
    overrides: Overrides = None,
    out: Annotated[Path, typer.Option(help="Where run folders go.")] = Path("runs"),
    name: Annotated[
        str | None, typer.Option(help="Folder under --out, instead of the recipe's name.")
    ] = None,
    data_root: Root = None,
    watch: Watch = True,
    as_json: Json = False,
) -> None:
    """Train a recipe; ends with the test score and an HTML report."""
    from spikeloom.run.config import load
    from spikeloom.run.session import new_folder, train

    config = load(recipe, overrides or [])
    folder = new_folder(out, name or recipe, config.run.seed)
    _train(
        folder, data_root, watch, as_json,
        lambda display: train(config, folder, root=data_root, recipe=recipe, watch=display),
    )  # fmt: skip


@app.command()
@refusals()
def resume(
    folder: Folder, data_root: Root = None, watch: Watch = True, as_json: Json = False
) -> None:
    """Go on with a run that was interrupted, to the same end."""
    from spikeloom.run.session import resume_folder

    _train(
        folder, data_root, watch, as_json,
        lambda display: resume_folder(folder, root=data_root, watch=display),
    )  # fmt: skip


@app.command("eval")
@refusals()
def evaluate(
    folder: Folder,
    weights: Annotated[
        Literal["last", "best"] | None, typer.Option(help="Which; else as the recipe says.")
    ] = None,
    data_root: Root = None,
    as_json: Json = False,
) -> None:
    """Test the weights of a run."""
    from spikeloom.run.session import score
    from spikeloom.run.tables import score_table

    scores = score(folder, weights=weights, root=data_root)
    _answer(as_json, scores, lambda: score_table(scores))


@app.command("list")
@refusals()
def catalogue_of(
    shelf: Annotated[
        str | None, typer.Argument(metavar="[WHAT]", help="recipes, methods, models, neurons, ...")
    ] = None,
    as_json: Json = False,
) -> None:
    """List recipes, methods with their papers, or every name a recipe can use."""
    from spikeloom.run.catalogue import catalogue, shelves
    from spikeloom.run.tables import shelf_table, shelves_table

    if shelf is None:
        names = {shelf: [row["name"] for row in catalogue(shelf)] for shelf in shelves()}
        _answer(as_json, names, lambda: shelves_table(names))
        return
    rows = catalogue(shelf)
    _answer(as_json, rows, lambda: shelf_table(shelf, rows))


@app.command()
@refusals()
def show(
    recipe: Recipe, overrides: Overrides = None, data_root: Root = None, as_json: Json = False
) -> None:
    """Print a recipe with everything filled in, and the layers it builds."""
    import tomli_w

    from spikeloom.run.config import load
    from spikeloom.run.inspect import describe
    from spikeloom.run.tables import layer_table

    description = describe(load(recipe, overrides or []), data_root)
    if not as_json:
        typer.echo(tomli_w.dumps(description.config).strip())
    _answer(as_json, description.as_dict(), lambda: layer_table(description))


@app.command()
@refusals()
def check(data_root: Root = None, as_json: Json = False) -> None:
    """Say what works on this machine, and how to mend what does not."""
    from spikeloom.run.machine import survey
    from spikeloom.run.tables import finding_table

    findings = survey(data_root)
    _answer(as_json, [finding.as_dict() for finding in findings], lambda: finding_table(findings))


@app.command()
@refusals()
def report(folder: Folder) -> None:
    """Write the HTML report of a run and print its path."""
    from spikeloom.report import write_report

    typer.echo(write_report(folder))


@app.command()
@refusals(ValueError)
def compare(
    folders: Annotated[list[Path], typer.Argument(help="Folders of finished runs.")],
    metric: Annotated[str, typer.Option(help="A number in result.json.")] = "test.accuracy",
    baseline: Annotated[
        str | None, typer.Option(metavar="ARM", help="Arm that the others are paired with.")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Also write a page there.")] = None,
    as_json: Json = False,
) -> None:
    """Compare runs: mean and spread over seeds, paired differences."""
    from spikeloom.report import compare as compare_runs
    from spikeloom.report import write_compare
    from spikeloom.run.tables import comparison_table

    found = compare_runs(folders, metric=metric, baseline=baseline)
    for path, reason in found.left_out:
        typer.echo(f"left out {path}: {reason}", err=True)
    _answer(as_json, json.loads(found.to_json()), lambda: comparison_table(found))
    if html is not None:
        typer.echo(write_compare(found, html), err=as_json)


@app.command()
@refusals()
def cite(
    target: Annotated[str, typer.Argument(metavar="FOLDER|RECIPE", help="A run or a recipe.")],
) -> None:
    """Print the BibTeX of every method that a run or a recipe uses."""
    from spikeloom.run.config import load
    from spikeloom.run.session import cited, stored_config

    config = stored_config(Path(target)) if Path(target).is_dir() else load(target)
    for bibtex in dict.fromkeys(entry["bibtex"] for entry in cited(config)):
        typer.echo(bibtex + "\n")


def main() -> None:
    """Entry point."""
    app()


def _train(
    folder: Path,
    data_root: Path | None,
    watch: bool,
    as_json: bool,
    work: Callable[["Display"], dict[str, Any]],
) -> None:
    """Do the work, then print its result and write the report; say how to go on after Ctrl-C."""
    from spikeloom.report import write_report
    from spikeloom.run.memory import keep_pages
    from spikeloom.run.progress import Display
    from spikeloom.run.tables import result_table

    keep_pages()
    first = os.environ.get("RANK", "0") == "0"
    try:
        title = f"run folder: {folder}"
        with Display(_console(err=as_json), title=title, quiet=not watch) as display:
            result = work(display)
    except KeyboardInterrupt:
        if first:
            _say_interrupted(folder, data_root)
        raise typer.Exit(INTERRUPTED) from None
    if first:
        page = write_report(folder)
        _answer(as_json, result, lambda: result_table(result))
        typer.echo(f"report: {page}\n        {page.as_uri()}", err=as_json)


def _say_interrupted(folder: Path, data_root: Path | None) -> None:
    from spikeloom.run.record import CONFIG, LAST

    saved = folder / LAST
    lines = ["interrupted; " + (f"saved in {saved}" if saved.exists() else "nothing was saved yet")]
    if (folder / CONFIG).exists():
        where = ["--data-root", str(data_root)] if data_root else []
        lines.append("go on with: " + shlex.join(["spikeloom", "resume", str(folder), *where]))
    typer.echo("\n".join(lines), err=True)


def _exit_code(error: Exception, also: tuple[type[Exception], ...]) -> int | None:
    """2 for what a user can mend, 3 for a run that diverged, None for a mistake of ours."""
    from spikeloom.learning import Unsupported
    from spikeloom.registry import UnknownNameError
    from spikeloom.report import RunFolderError
    from spikeloom.run.checkpoint import CheckpointError
    from spikeloom.run.config import ConfigError
    from spikeloom.run.loop import NonFiniteLossError

    if isinstance(error, NonFiniteLossError):
        return DIVERGED
    mendable = (ConfigError, CheckpointError, UnknownNameError, RunFolderError, Unsupported)
    if isinstance(error, (*mendable, *also)):
        return REFUSED
    if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
        return REFUSED
    return None


def _say_error(error: Exception) -> None:
    text = str(error)
    if isinstance(error, OSError) and error.strerror:
        text = error.strerror + (f": {error.filename}" if error.filename else "")
    message = Text.assemble(("error: ", "bold red"), text)
    _console(err=True).print(message, soft_wrap=True)


def _answer(as_json: bool, value: Any, table: Callable[[], Table]) -> None:
    """Print a value as JSON, or as a table for people."""
    if as_json:
        # JSON has no NaN: what is not finite becomes null.
        finite = json.loads(json.dumps(value), parse_constant=lambda name: None)
        typer.echo(json.dumps(finite, indent=1, ensure_ascii=False))
    else:
        _console().print(table())


def _console(*, err: bool = False) -> Console:
    console = Console(stderr=err, highlight=False)
    # A file or a pipe has no width to fit: lines stay whole.
    return console if console.is_terminal else Console(stderr=err, highlight=False, width=1000)
