"""Metrics of a run for TensorBoard."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spikeloom.learning import Progress
from spikeloom.run.config import ConfigError


class Board:
    """A watcher that writes TensorBoard events into a run folder, at epochs counted from the start.

    Args:
        folder: the run folder.
        epochs: of every phase, so that those of a phase go on where the one before ended.

    Raises:
        ConfigError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path, epochs: Sequence[int] = ()) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ConfigError(
                "run.tensorboard needs TensorBoard: pip install 'spikeloom[tensorboard]'"
            ) from error
        self.make: Any = SummaryWriter
        self.folder, self.epochs = str(folder / "tensorboard"), tuple(epochs)
        self.writer: Any = None  # made at the first epoch, when the folder is ours

    def update(self, progress: Progress, loss: float) -> None:
        """Nothing: one point an epoch."""

    def epoch(self, line: dict[str, Any]) -> None:
        """Write every number of the line at its epoch."""
        self.writer = self.writer or self.make(self.folder)
        at = sum(self.epochs[: line["phase"]]) + line["epoch"]
        for part in ("train", "val"):
            for name, value in line.get(part, {}).items():
                self.writer.add_scalar(f"{name}/{part}", value, at)
        self.writer.add_scalar("lr", line["lr"], at)
        self.writer.flush()


class Both:
    """Two watchers as one."""

    def __init__(self, one: Any, other: Any) -> None:
        self.watchers = (one, other)

    def update(self, progress: Progress, loss: float) -> None:
        """Tell both."""
        for watcher in self.watchers:
            watcher.update(progress, loss)

    def epoch(self, line: dict[str, Any]) -> None:
        """Tell both."""
        for watcher in self.watchers:
            watcher.epoch(line)
