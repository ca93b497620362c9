"""The command line: verbs, each one call into the library, and how their answers are printed."""

from spikeloom.cli.verbs import app, main

__all__ = ["app", "main"]
