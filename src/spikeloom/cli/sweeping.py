"""A study on the terminal: one bar over its runs, then its table."""

from pathlib import Path

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from spikeloom.cli.output import console_for
from spikeloom.report import compare, write_compare, write_record
from spikeloom.run.record import write_json
from spikeloom.run.study import PAGE, RECORD, Study
from spikeloom.run.sweep import Job, Score, sweep

FAILED = 3  # the table is there, but not of all runs


def sweep_with_bar(study: Study, name: str, out: Path, root: Path | None, jobs: int) -> None:
    """Run the study under a bar; print its table, and leave record and page in ``out``.

    Without a run of the baseline there is nothing to pair with: only ``study.json`` is left.

    Raises:
        ConfigError, ValueError: as ``sweep`` and ``write_record``.
        Exit: runs are missing from the table.
    """
    console = console_for(err=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console) as bar:
        task = bar.add_task(name, total=study.runs)

        def told(job: Job, outcome: Score | str) -> None:
            words = (
                f"validation {outcome.text}" if isinstance(outcome, Score) else f"failed: {outcome}"
            )
            bar.console.print(f"{job.title}: {words}")
            bar.update(task, advance=1)

        done = sweep(study, out, root=root, jobs=jobs, tell=told)
    for title, problem in done.failed.items():
        console.print(f"failed: {title}: {problem}")
    about = {
        "study": study.model_dump(mode="json", exclude_none=True),
        "tried": done.tried, "chosen": done.chosen, "failed": done.failed,
    }  # fmt: skip
    if any(job.arm == study.baseline for job in done.runs):
        table = write_record(out / RECORD, done.folders, study.baseline, about)
        write_compare(compare(done.folders, baseline=study.baseline), out / PAGE)
        typer.echo(table)
        typer.echo(f"{out / RECORD}\n{out / PAGE}", err=True)
    else:
        (out / RECORD).mkdir(parents=True, exist_ok=True)
        write_json(out / RECORD / "study.json", about)
        console.print(f"no table: the baseline {study.baseline!r} has no finished run")
        typer.echo(out / RECORD, err=True)
    if len(done.runs) < len(study.arm) * len(study.seeds):
        raise typer.Exit(FAILED)
