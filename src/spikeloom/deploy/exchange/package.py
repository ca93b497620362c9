"""Packages that only this room needs, and how to get them."""

from importlib import import_module
from typing import Any

from spikeloom.registry import Unsupported


def package(name: str, extra: str) -> Any:
    """The module, imported when it is needed.

    Raises:
        Unsupported: it is not installed; says how to get it.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise Unsupported(
            f"{name} is not installed ({error}); get it with: pip install 'spikeloom[{extra}]'"
        ) from error


class DamagedFileError(ValueError):
    """A file that cannot be read, or whose parts contradict each other; the message says which."""
