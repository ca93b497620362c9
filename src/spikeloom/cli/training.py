"""The verbs that train: run, resume, sweep."""

import json
import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spikeloom.cli.app import INTERRUPTED, Folder, Json, Overrides, Recipe, Root, Watch, app
from spikeloom.cli.output import answer, console_for, refusals

if TYPE_CHECKING:
    from spikeloom.run.progress import Display


@app.command()
@refusals()
def run(
    recipe: Recipe,
    overrides: Overrides = None,
    out: Annotated[Path, typer.Option(help="Where run folders go.")] = Path("runs"),
    name: Annotated[
        str | None,
        typer.Option(help="Folder under --out and name in comparisons, instead of the recipe's."),
    ] = None,
    data_root: Root = None,
    watch: Watch = True,
    as_json: Json = False,
) -> None:
    """Train a recipe; ends with the test score and an HTML report."""
    from spikeloom.run.config import full_name, load
    from spikeloom.run.record import check_name
    from spikeloom.run.session import new_folder, train

    if name is not None:
        check_name(name)
    arm = [f"run.arm={json.dumps(name, ensure_ascii=False)}"] if name else []
    config = load(recipe, [*(overrides or []), *arm])
    folder = new_folder(out, name or recipe, config.run.seed)
    _train(
        folder, data_root, watch, as_json,
        lambda display: train(
            config, folder, root=data_root, recipe=full_name(recipe), watch=display
        ),
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


@app.command()
@refusals(ValueError)
def sweep(
    study: Annotated[
        str, typer.Argument(metavar="STUDY", help="Name of a study, or path of a .toml file.")
    ],
    overrides: Overrides = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the study. [default: sweeps/STUDY]")
    ] = None,
    jobs: Annotated[int, typer.Option(min=0, help="Runs at a time; 0: without processes.")] = 1,
    data_root: Root = None,
) -> None:
    """Run a study: arms × seeds, paired, resumable; ends with a table and a page."""
    from spikeloom.cli.sweeping import sweep_with_bar
    from spikeloom.run.study import load_study

    name = Path(study).name.removesuffix(".toml")
    place = out or Path("sweeps") / name
    try:
        sweep_with_bar(load_study(study, overrides or []), name, place, data_root, jobs)
    except KeyboardInterrupt:
        words = ["sweep", study, *(overrides or []), "--out", str(place), "--jobs", str(jobs)]
        where = ["--data-root", str(data_root)] if data_root else []
        again = shlex.join(["spikeloom", *words, *where])
        typer.echo(f"interrupted; what was saved is kept\ngo on with: {again}", err=True)
        raise typer.Exit(INTERRUPTED) from None


def _train(
    folder: Path,
    data_root: Path | None,
    watch: bool,
    as_json: bool,
    work: Callable[["Display"], dict[str, Any]],
) -> None:
    """Do the work, then print its result and write the report; say how to go on after Ctrl-C."""
    from spikeloom.cli.scores import result_table
    from spikeloom.report import write_report
    from spikeloom.run.memory import keep_pages
    from spikeloom.run.progress import Display

    keep_pages()
    first = os.environ.get("RANK", "0") == "0"
    try:
        title = f"run folder: {folder}"
        with Display(console_for(err=as_json), title=title, quiet=not watch) as display:
            result = work(display)
    except KeyboardInterrupt:
        if first:
            _say_interrupted(folder, data_root)
        raise typer.Exit(INTERRUPTED) from None
    if first:
        page = write_report(folder)
        typer.echo(err=as_json)
        answer(as_json, result, lambda: result_table(result))
        typer.echo(f"\nreport: {page}\n        {page.as_uri()}", err=as_json)


def _say_interrupted(folder: Path, data_root: Path | None) -> None:
    from spikeloom.run.record import CONFIG, LAST

    saved = folder / LAST
    lines = ["interrupted; " + (f"saved in {saved}" if saved.exists() else "nothing was saved yet")]
    if (folder / CONFIG).exists():
        where = ["--data-root", str(data_root)] if data_root else []
        lines.append("go on with: " + shlex.join(["spikeloom", "resume", str(folder), *where]))
    typer.echo("\n".join(lines), err=True)
