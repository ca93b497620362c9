"""The verbs that show what there is, and what came out."""

import json
from pathlib import Path
from typing import Annotated

import typer

from spikeloom.cli.app import Folder, Json, Overrides, Recipe, Root, app
from spikeloom.cli.output import answer, refusals


@app.command("list")
@refusals()
def catalogue_of(
    shelf: Annotated[
        str | None,
        typer.Argument(metavar="WHAT", help="recipes, studies, methods, models, neurons, ..."),
    ] = None,
    as_json: Json = False,
) -> None:
    """List recipes, methods with their papers, or every name a recipe can use."""
    from spikeloom.cli.tables import shelf_table, shelves_table
    from spikeloom.run.catalogue import catalogue, shelves

    if shelf is None:
        names = {shelf: [row["name"] for row in catalogue(shelf)] for shelf in shelves()}
        answer(as_json, names, lambda: shelves_table(names))
        return
    rows = catalogue(shelf)
    answer(as_json, rows, lambda: shelf_table(shelf, rows))


@app.command()
@refusals()
def show(
    recipe: Recipe, overrides: Overrides = None, data_root: Root = None, as_json: Json = False
) -> None:
    """Print a recipe with everything filled in, and the layers it builds."""
    import tomli_w

    from spikeloom.cli.tables import layer_table
    from spikeloom.run.config import load
    from spikeloom.run.inspect import describe

    description = describe(load(recipe, overrides or []), data_root)
    if not as_json:
        typer.echo(tomli_w.dumps(description.config).strip())
    answer(as_json, description.as_dict(), lambda: layer_table(description))


@app.command()
@refusals()
def check(data_root: Root = None, as_json: Json = False) -> None:
    """Say what works on this machine, and how to mend what does not."""
    from spikeloom.cli.tables import finding_table
    from spikeloom.run.machine import survey

    findings = survey(data_root)
    answer(as_json, [finding.as_dict() for finding in findings], lambda: finding_table(findings))


@app.command()
@refusals()
def report(folder: Folder) -> None:
    """Write the HTML report of a run and print its path."""
    from spikeloom.report import write_report

    typer.echo(write_report(folder))


@app.command()
@refusals(ValueError)
def compare(
    folders: Annotated[
        list[Path], typer.Argument(metavar="FOLDER", help="Folders of finished runs.")
    ],
    metric: Annotated[
        str | None, typer.Option(help="A number in result.json. [default: the test score]")
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(metavar="ARM", help="Arm that the others are paired with.")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Also write a page there.")] = None,
    as_json: Json = False,
) -> None:
    """Compare runs: mean and spread over seeds, paired differences."""
    from spikeloom.cli.scores import comparison_table
    from spikeloom.report import compare as compare_runs
    from spikeloom.report import write_compare

    found = compare_runs(folders, metric=metric, baseline=baseline)
    for path, reason in found.left_out:
        typer.echo(f"left out {path}: {reason}", err=True)
    page = write_compare(found, html) if html is not None else None
    answer(as_json, json.loads(found.to_json()), lambda: comparison_table(found))
    if page is not None:
        typer.echo(page, err=as_json)


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
