"""The command line: verbs, each one call into the library, and how their answers are printed."""

from spikeloom.cli import training, trained, sequences, looking  # isort: skip  # noqa: F401 in the order of --help
from spikeloom.cli.app import app, main

__all__ = ["app", "main"]
