"""The verbs on sequences in time: streams of events, and what happens to events on their way."""

from typing import Annotated, Literal

import typer

from spikeloom.cli.app import Folder, Json, Root, app
from spikeloom.cli.output import answer, refusals


@app.command("stream")
@refusals()
def stream_run(
    folder: Folder,
    live: Annotated[
        str | None,
        typer.Option(metavar="FILE|-", help="Decide on events as they come, from a file or stdin."),
    ] = None,
    width: Annotated[
        float | None,
        typer.Option(help="With --live: length of a step, as of the times. [default: the data's]"),
    ] = None,
    start: Annotated[
        str, typer.Option(metavar="TIME|first", help="With --live: when the first step begins.")
    ] = "0",
    steps: Annotated[
        int | None,
        typer.Option(min=0, help="With --live: stop after so many; 0: never. [default: T]"),
    ] = None,
    every: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="With --live: also say every N steps what it is."),
    ] = None,
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
    """Test a run one event at a time, beside the clocked network; --live: decide as events come.

    Lines of --live are time,unit or time,polarity,y,x; its JSON is a line for each decision.
    """
    from spikeloom.cli.streaming import listen, stream_table, stream_with_bar
    from spikeloom.run.config import ConfigError
    from spikeloom.run.live import Listening
    from spikeloom.run.stream import How

    how = How(constants, late, most, order, single, test)
    asked = [width, None if start == "0" else start, steps, every]
    if live is None:
        if any(value is not None for value in asked):
            raise ConfigError("--width, --start, --steps and --every go with --live FILE")
        found = stream_with_bar(folder, how, weights, data_root)
        answer(as_json, found, lambda: stream_table(found))
        return
    if how != How():
        raise ConfigError(
            "--live reads events step by step; --constants, --late, --most, --order, --float32 and "
            "--test are about the test one event at a time"
        )
    try:
        begin: float | Literal["first"] = "first" if start == "first" else float(start)
    except ValueError as error:
        raise ConfigError(f"--start is a time or the word first, got {start!r}") from error
    listen(folder, live, Listening(width, begin, steps), every, weights, data_root, as_json)


@app.command()
@refusals()
def robust(
    folder: Folder,
    delete: Annotated[
        list[str] | None, typer.Option(metavar="P,P,...", help="Shares of events that are lost.")
    ] = None,
    noise: Annotated[
        list[str] | None,
        typer.Option(metavar="R,R,...", help="Events added per place and step."),
    ] = None,
    jitter: Annotated[
        list[str] | None,
        typer.Option(metavar="S,S,...", help="Deviations of the events' shifts [steps]."),
    ] = None,
    warp: Annotated[
        list[str] | None,
        typer.Option(metavar="L,L,...", help="log2 of the factors that time is warped by."),
    ] = None,
    draws: Annotated[int, typer.Option(min=1, help="Draws at every strength.")] = 3,
    test: Annotated[int | None, typer.Option(min=1, help="First so many test samples.")] = None,
    weights: Annotated[
        Literal["last", "best"] | None, typer.Option(help="Which; else as the recipe says.")
    ] = None,
    data_root: Root = None,
    as_json: Json = False,
) -> None:
    """Score a run on perturbed recordings: events lost, added or moved, time warped.

    Each strength of each perturbation alone. Without any, deletion and warp as published with
    HetSyn. Writes robustness.json and a figure for each perturbation into the folder of the run.
    """
    from spikeloom.cli.scores import robustness_table
    from spikeloom.cli.streaming import numbers
    from spikeloom.run.robust import PUBLISHED, Trials, study

    given = {"delete": delete, "noise": noise, "jitter": jitter, "warp": warp}
    strengths = {name: numbers(name, words) for name, words in given.items() if words}
    trials = Trials(strengths or PUBLISHED, draws, test)
    found = study(folder, trials, weights=weights, root=data_root)
    answer(as_json, found, lambda: robustness_table(found))
    for name in trials.strengths:
        typer.echo(folder / f"robustness-{name}.svg", err=True)
