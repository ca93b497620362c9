"""The verbs on what is trained: scores, costs, faults, other forms and files."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from spikeloom.cli.app import Folder, Json, Root, app
from spikeloom.cli.output import answer, refusals


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


@app.command("render")
@refusals()
def render_run(
    folder: Folder,
    views: Annotated[
        int | None, typer.Option(help="First so many test views; else all of them.")
    ] = None,
    film: Annotated[
        int, typer.Option(metavar="FRAMES", help="Also a film along a path around the scene.")
    ] = 0,
    form: Annotated[Literal["webp", "gif"], typer.Option(help="Of the film.")] = "webp",
    depth: Annotated[
        bool, typer.Option("--depth/--no-depth", help="Also how far away things are.")
    ] = True,
    lpips: Annotated[
        bool,
        typer.Option("--lpips", help="Also the perceptual distance (spikeloom[torchmetrics])."),
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the pictures; else FOLDER/render.")
    ] = None,
    weights: Annotated[
        Literal["last", "best"] | None, typer.Option(help="Which; else as the recipe says.")
    ] = None,
    data_root: Root = None,
    as_json: Json = False,
) -> None:
    """Render the test views of a scene, compare them with the pictures, and film it."""
    from spikeloom.cli.rendering import render_table, render_with_bar
    from spikeloom.run.render import Wanted

    wanted = Wanted(views, film, form, depth, lpips)
    found = render_with_bar(folder, wanted, out, weights, data_root)
    answer(as_json, found, lambda: render_table(found))
    typer.echo(f"pictures: {found['folder']}", err=True)


@app.command()
@refusals()
def faults(
    folder: Folder,
    threshold: Annotated[
        list[float] | None, typer.Option(help="Spread of the neurons' thresholds [share].")
    ] = None,
    decay: Annotated[list[float] | None, typer.Option(help="That of decays [share].")] = None,
    noise: Annotated[
        list[float] | None,
        typer.Option(help="Noise on membranes at every step [potential]."),
    ] = None,
    bits: Annotated[list[int] | None, typer.Option(help="Bits of every weight, 2 to 16.")] = None,
    dead: Annotated[list[float] | None, typer.Option(help="Share of dead neurons, 0 to 1.")] = None,
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
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A NIR file, or weights.")],
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
    recipe: Annotated[
        str | None, typer.Option(help="FILE is a state dict of this recipe's network.")
    ] = None,
    data_root: Root = None,
    as_json: Json = False,
) -> None:
    """Read a NIR file as the named library does, print it, and run what was recorded with it.

    With --recipe: put weights of SpikingJelly, snnTorch, PyTorch or Spikeloom into its network.
    """
    from spikeloom.cli.scores import import_table
    from spikeloom.run.imported import import_nir, import_weights

    if recipe is not None:
        if out is None or convention or dt or data:
            raise ValueError("--recipe goes with --out FOLDER, and without --as, --dt and --data")
        found = import_weights(file, recipe, out=out, overrides=overrides or [], root=data_root)
        answer(as_json, found, lambda: f"{found['parameters']:,} parameters fit {recipe}")
    else:
        found = import_nir(
            file, convention=convention, dt=dt, data=data, out=out,
            overrides=overrides or [], root=data_root,
        )  # fmt: skip
        answer(as_json, found, lambda: import_table(found))
    if out is not None:
        typer.echo(f"run folder: {out}\ntest it with: spikeloom eval {out}", err=True)
