"""The verbs.

Libraries are imported by the verb that needs them, so that ``--help`` does not wait for torch.
"""

import json
import os
import shlex
import sys
from collections.abc import Callable
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from spikeloom import __version__
from spikeloom.cli.output import answer, console_for, refusals

if TYPE_CHECKING:
    from spikeloom.run.progress import Display

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


@app.command("eval")
@refusals()
def evaluate(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER|FILE", help="Folder of a run, or a packed file.")
    ],
    weights: Annotated[
        Literal["last", "best"] | None, typer.Option(help="Which; else as the recipe says.")
    ] = None,
    packed: Annotated[bool, typer.Option("--packed", help="Run the network on bits.")] = False,
    energy: Annotated[
        bool, typer.Option("--energy", help="Also count operations; writes energy.json.")
    ] = False,
    samples: Annotated[
        int | None, typer.Option(min=1, help="With --energy: count on so many. [default: 256]")
    ] = None,
    constants: Annotated[
        Path | None, typer.Option(metavar="FILE", help="With --energy: costs, as TOML.")
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="Count where a packed file predicts what this run does."),
    ] = None,
    data_root: Root = None,
    as_json: Json = False,
) -> None:
    """Test the weights of a run, or a packed file; --energy: and what a sample costs."""
    from spikeloom.cli.energy import scores_with_energy
    from spikeloom.cli.scores import score_table
    from spikeloom.run.config import ConfigError
    from spikeloom.run.energy import SAMPLES, account, check_asked
    from spikeloom.run.packed import score_packed
    from spikeloom.run.session import score

    check_asked(energy, packed, samples, constants)
    if folder.is_file():
        if weights or packed or energy:
            raise ConfigError(
                f"{folder} is a packed file, which has its weights and runs on bits; leave out "
                "--weights, --packed and --energy"
            )
        scores = score_packed(folder, root=data_root, against=against)
    elif against is not None:
        raise ConfigError(f"--against compares a packed file with a run, and {folder} is no file")
    else:
        scores = score(folder, weights=weights, root=data_root, packed=packed)
    if energy:
        scores["energy"] = account(
            folder, weights=weights, samples=samples or SAMPLES, constants=constants, root=data_root
        )
    answer(as_json, scores, lambda: (scores_with_energy if energy else score_table)(scores))


@app.command("export")
@refusals(ValueError)
def export_run(
    folder: Folder,
    nir: Annotated[Path | None, typer.Option(help="Write a NIR file there.")] = None,
    onnx: Annotated[Path | None, typer.Option(help="Write an ONNX file there.")] = None,
    packed: Annotated[Path | None, typer.Option(help="Write a packed file there.")] = None,
    weights: Annotated[
        Literal["last", "best"] | None, typer.Option(help="Which; else as the recipe says.")
    ] = None,
    data_root: Root = None,
    as_json: Json = False,
) -> None:
    """Write a run's network for other libraries or packed; read it back and compare."""
    from spikeloom.cli.scores import export_table
    from spikeloom.run.export import export

    found = export(folder, nir=nir, onnx=onnx, packed=packed, weights=weights, root=data_root)
    answer(as_json, found, lambda: export_table(found))


@app.command("import")
@refusals(ValueError)
def import_network(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A NIR file.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="With --out: data.name=mnist, model.T=20, ..."),
    ] = None,
    convention: Annotated[
        str | None,
        typer.Option("--as", metavar="NAME", help="Whose steps: norse, sinabs, snntorch, ..."),
    ] = None,
    dt: Annotated[float | None, typer.Option(help="Length of a step [s].")] = None,
    data: Annotated[
        Path | None, typer.Option(help="Recorded data; else FILE's name with .data.nir.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Make a run folder there, for eval, export and faults.")
    ] = None,
    data_root: Root = None,
    as_json: Json = False,
) -> None:
    """Read a NIR file as the named library does, print it, and run what was recorded with it."""
    from spikeloom.cli.scores import import_table
    from spikeloom.run.imported import import_nir

    found = import_nir(
        file, convention=convention, dt=dt, data=data, out=out,
        overrides=overrides or [], root=data_root,
    )  # fmt: skip
    answer(as_json, found, lambda: import_table(found))
    if out is not None:
        typer.echo(f"run folder: {out}\ntest it with: spikeloom eval {out}", err=True)


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
    metric: Annotated[str, typer.Option(help="A number in result.json.")] = "test.accuracy",
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


@app.command()
@refusals()
def faults(
    folder: Folder,
    threshold: Annotated[
        list[float] | None, typer.Option(help="Spread of the neurons' thresholds.")
    ] = None,
    decay: Annotated[list[float] | None, typer.Option(help="Spread of their decays.")] = None,
    noise: Annotated[
        list[float] | None, typer.Option(help="Noise on membranes at every step.")
    ] = None,
    bits: Annotated[list[int] | None, typer.Option(help="Bits of every weight.")] = None,
    dead: Annotated[list[float] | None, typer.Option(help="Share of dead neurons.")] = None,
    delay: Annotated[
        list[float] | None, typer.Option(help="Probability that a spike is a step late.")
    ] = None,
    calibrate: Annotated[
        int, typer.Option(metavar="N", help="Updates on each chip, by the run's teacher.")
    ] = 0,
    lr: Annotated[float, typer.Option(help="Rate of these updates.")] = 1e-4,
    chips: Annotated[int, typer.Option(min=1, help="Chips at every strength.")] = 3,
    test: Annotated[int | None, typer.Option(min=1, help="First so many test samples.")] = None,
    data_root: Root = None,
    as_json: Json = False,
) -> None:
    """Score a run on faulty chips, each strength of each fault alone; may be given several times.

    Writes faults.json and a figure for each fault into the folder of the run.
    """
    from spikeloom.cli.scores import fault_table
    from spikeloom.run.faults import Chips, study

    given = {"threshold": threshold, "decay": decay, "noise": noise, "bits": bits, "dead": dead}
    given |= {"delay": delay}
    strengths = {name: values for name, values in given.items() if values}
    found = study(folder, Chips(strengths, chips, calibrate, lr, test), root=data_root)
    answer(as_json, found, lambda: fault_table(found))
    for name in strengths:
        typer.echo(folder / f"faults-{name}.svg", err=True)


@app.command("stream")
@refusals()
def stream_run(
    folder: Folder,
    constants: Annotated[
        Literal["refuse", "fold", "drop"],
        typer.Option(help="Currents of every step: fold them into the neurons, or drop them."),
    ] = "refuse",
    late: Annotated[float, typer.Option(help="Share of spikes that are late.")] = 0.0,
    most: Annotated[int, typer.Option(help="Steps that these are late at most.")] = 1,
    order: Annotated[
        int | None, typer.Option(metavar="SEED", help="Let the events of a step come in any order.")
    ] = None,
    single: Annotated[bool, typer.Option("--float32", help="Potentials in float32.")] = False,
    weights: Annotated[
        Literal["last", "best"] | None, typer.Option(help="Which; else as the recipe says.")
    ] = None,
    test: Annotated[int | None, typer.Option(min=1, help="First so many test samples.")] = None,
    data_root: Root = None,
    as_json: Json = False,
) -> None:
    """Test a run one event at a time, and compare its spikes with the clocked network."""
    from spikeloom.cli.streaming import stream_table, stream_with_bar
    from spikeloom.run.stream import How

    how = How(constants, late, most, order, single, test)
    found = stream_with_bar(folder, how, weights, data_root)
    answer(as_json, found, lambda: stream_table(found))


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
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # Greek letters must not stop a plain terminal
            stream.reconfigure(errors="replace")
    app(prog_name="spikeloom")


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
