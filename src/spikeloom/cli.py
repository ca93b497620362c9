"""The command line: verbs, each one call into the library."""

from pathlib import Path
from typing import Annotated, Any

import typer

from spikeloom.learning import Progress
from spikeloom.run.config import load
from spikeloom.run.memory import keep_pages
from spikeloom.run.session import new_folder, resume_folder, train

app = typer.Typer(no_args_is_help=True, add_completion=False)


class Lines:
    """Prints a line an epoch."""

    def update(self, progress: Progress, loss: float) -> None:
        if progress.update % 50 == 0:
            print(f"update {progress.update}/{progress.updates} loss {loss:.4f}", flush=True)

    def epoch(self, line: dict[str, Any]) -> None:
        print(line, flush=True)


@app.command()
def run(
    recipe: str,
    overrides: Annotated[list[str] | None, typer.Argument()] = None,
    out: Path = Path("runs"),
    data_root: Path | None = None,
) -> None:
    """Train a recipe."""
    keep_pages()
    config = load(recipe, overrides or [])
    folder = new_folder(out, recipe, config.run.seed)
    train(config, folder, root=data_root, recipe=recipe, watch=lambda task: Lines())  # noqa: ARG005


@app.command()
def resume(folder: Path, data_root: Path | None = None) -> None:
    """Go on with a run."""
    keep_pages()
    resume_folder(folder, root=data_root, watch=lambda task: Lines())  # noqa: ARG005


def main() -> None:
    """Entry point."""
    app()
