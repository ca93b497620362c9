"""Shows a run in the terminal: a bar where there is one, plain lines where there is not."""

from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from spikeloom.learning import Progress as Standing
from spikeloom.report.wording import NARROW, duration, quantity
from spikeloom.run.loop import Watcher
from spikeloom.run.session import Silent
from spikeloom.run.task import Task


class Display:
    """Makes the watchers of a run, of which only the first process's show anything.

    A context, so that the terminal is left clean however the run ends. Bars are for interactive
    terminals; a file or a pipe gets a line an epoch.

    Args:
        console: where to print.
        title: printed once, as soon as there is something to show.
        quiet: print nothing.
    """

    def __init__(self, console: Console, *, title: str = "", quiet: bool = False) -> None:
        self.console, self.title, self.quiet = console, title, quiet
        self.bars = Progress(
            TextColumn("{task.description}"),
            # Short of the margin: there a terminal writes ^C, which must not start a new line.
            BarColumn(max(10, min(40, console.width - 54))),
            MofNCompleteColumn(),
            TextColumn("{task.fields[loss]}"),
            TimeRemainingColumn(),
            console=console,
            refresh_per_second=4,
            transient=True,
        )

    def __enter__(self) -> Self:
        if self.console.is_interactive and not self.quiet:
            self.bars.add_task("building", total=None, loss="")
            self.bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.bars.live.is_started:
            self.bars.stop()

    def __call__(self, task: Task) -> Watcher:
        """The watcher of one training: of the run itself, then of its twin."""
        if self.quiet or not task.procs.first:
            return Silent()
        return Shown(self, task)

    def open(self, heading: str) -> None:
        """Make room for the next training and say which it is."""
        if self.title:
            self.say(self.title)
        self.title = ""
        self.say(heading)
        for bar in self.bars.task_ids:
            self.bars.remove_task(bar)

    def say(self, line: str) -> None:
        """Print one line, above the bars if there are any, never broken into several."""
        self.console.print(line, soft_wrap=True, highlight=False, markup=False)


class Shown:
    """Two bars, of the epoch and of the phase, and a line an epoch."""

    def __init__(self, display: Display, task: Task) -> None:
        self.display, self.task = display, task
        self.epochs = 1
        self.started: tuple[TaskID, TaskID] | None = None

    def update(self, progress: Standing, loss: float) -> None:
        """Move the bars; the first time, say what is being trained."""
        self.epochs = progress.epochs
        bars = self.display.bars
        per_epoch = max(1, progress.updates // progress.epochs)
        if self.started is None:
            self.display.open(heading(self.task))
            self.started = (
                bars.add_task("epoch", total=per_epoch, loss=""),
                bars.add_task("all", total=progress.updates, loss=""),
            )
        epoch, whole = self.started
        done = progress.update + 1
        name = f"epoch {progress.epoch + 1}/{progress.epochs}"
        within = done - progress.epoch * per_epoch
        # A new epoch has a time of its own.
        move = bars.reset if within == 1 else bars.update
        move(
            epoch,
            completed=within,
            description=name,
            loss=f"loss {loss:.3f}" if loss >= 0.01 else f"loss {loss:.1e}",
        )
        bars.update(whole, completed=done, total=progress.updates)

    def epoch(self, line: dict[str, Any]) -> None:
        """Print the line of an epoch."""
        self.display.say(sentence(line, self.epochs, len(self.task.config.phase)))


def heading(task: Task) -> str:
    """What is about to be trained, on what, in a line each."""
    config, splits = task.config, task.splits
    counts = {name: len(getattr(splits, name)) for name in ("train", "val", "test")}
    samples = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
    kind = "images" if len(task.source.shape) == 3 else "samples"
    size = sum(p.numel() for p in task.model.parameters())
    return (
        f"{config.title or config.model.name}\n"
        f"  {config.model.name}, {config.model.neuron.name}, T = {config.model.T}, "
        f"{size:,} parameters, on {task.device}\n"
        f"  {task.source.name}: {samples} {kind}"
    )


def sentence(line: dict[str, Any], epochs: int, phases: int = 1) -> str:
    """The metrics of an epoch in one line of text."""
    width = len(str(epochs))
    words = [f"epoch {line['epoch']:>{width}}/{epochs}"]
    if phases > 1:
        words.insert(0, f"phase {line['phase'] + 1}/{phases}")
    for part in ("train", "val"):
        scores = {k: v for k, v in (line.get(part) or {}).items() if isinstance(v, int | float)}
        if scores:
            said = " ".join(f"{_short(k)} {_score(k, v)}" for k, v in scores.items())
            words.append(f"{part} {said}")
    return "  ".join([*words, duration(line.get("seconds", 0.0)).replace(NARROW, " ")])


def _short(metric: str) -> str:
    return "acc" if metric == "accuracy" else metric


def _score(metric: str, value: float) -> str:
    return loss_text(value) if metric == "loss" else quantity(metric, value).replace(NARROW, " ")


def loss_text(value: float) -> str:
    """Four decimals; of a small loss, as in regression, three figures."""
    return f"{value:.4f}" if abs(value) >= 0.01 else f"{value:.2e}"


__all__ = ["Display", "heading", "sentence"]
