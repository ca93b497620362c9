"""Names for things a recipe can ask for: kind and name -> entry.

A room registers its parts with :func:`register`; nothing is found by scanning folders.
"""

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from spikeloom.papers import Paper

Builder = TypeVar("Builder", bound=Callable[..., Any])

STATUSES = ("reconstruction", "exact", "small", "full")


@dataclass(frozen=True)
class Entry:
    """One registered thing.

    ``status`` says how far a paper's method has been checked: ``reconstruction`` (its
    identities pass, but most of it is inferred), ``exact`` (its identities pass),
    ``small`` (trained at reduced scale), ``full`` (near the published number); empty otherwise.
    ``summary`` is one line, by default the first of the builder's docstring.
    """

    kind: str
    name: str
    build: Callable[..., Any]
    summary: str
    paper: Paper | None = None
    status: str = ""


_entries: dict[str, dict[str, Entry]] = {}


class UnknownNameError(LookupError):
    """A name that is not registered; the message gives the nearest one."""

    def __str__(self) -> str:
        return str(self.args[0])


class Unsupported(ValueError):  # noqa: N818 the name says what it is
    """Registered things that do not go together, as a learner and a model; the message says why."""


def register(
    kind: str, name: str, *, summary: str = "", paper: Paper | None = None, status: str = ""
) -> Callable[[Builder], Builder]:
    """Decorator that files a class or function under ``kind`` and ``name``.

    Raises:
        ValueError: the name is taken, or the status is not one of ``STATUSES``.
    """
    if status and status not in STATUSES:
        raise ValueError(f"status of {kind} {name!r} is {status!r}; use one of {STATUSES}")

    def file(build: Builder) -> Builder:
        shelf = _entries.setdefault(kind, {})
        if name in shelf:
            raise ValueError(f"{kind} {name!r} is already registered by {shelf[name].build!r}")
        line = summary or (build.__doc__ or "").strip().partition("\n")[0]
        shelf[name] = Entry(kind, name, build, line, paper, status)
        return build

    return file


def find(kind: str, name: str) -> Entry:
    """The entry of that kind and name.

    Raises:
        UnknownNameError: nothing is registered so; names the nearest and lists the rest.
    """
    shelf = _entries.get(kind, {})
    if name not in shelf:
        raise UnknownNameError(unknown(kind, name, shelf))
    return shelf[name]


def entries(kind: str) -> list[Entry]:
    """All entries of a kind, by name."""
    return [entry for _, entry in sorted(_entries.get(kind, {}).items())]


def kinds() -> list[str]:
    """The kinds that have entries."""
    return sorted(_entries)


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """The sentence for a name that is not there: what came, the nearest, the choices."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"unknown {kind} {name!r}.{hint} Known: {', '.join(known) or 'none'}."
