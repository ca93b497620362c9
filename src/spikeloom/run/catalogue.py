"""What there is to choose from: recipes, methods, and every registered name by kind."""

import inspect
import re
from collections.abc import Iterator
from typing import Any

from spikeloom import callbacks, data, functional, layers, learning, losses, models  # noqa: F401 they register
from spikeloom.registry import Entry, UnknownNameError, entries, find, kinds, unknown
from spikeloom.run import nir_model, optimize  # noqa: F401 they register, too
from spikeloom.run.build import HANDED, hints_of, kind_of
from spikeloom.run.config import AnyPart, Config, Part, load, recipes
from spikeloom.run.study import Study, load_study, studies

# What the run fills in beside what builders are handed: not for a recipe to set there.
GIVEN = {*HANDED, "root", "in_shape", "num_classes", "neuron", "norm", "T"}
MARKUP = re.compile(r"\s*See :func:`\w+`\.|``|:\w+:`~?|`")
Row = dict[str, Any]


def catalogue(shelf: str) -> list[Row]:
    """The rows of a shelf: ``recipes``, ``studies``, ``methods``, or a kind, as ``neurons``.

    Raises:
        UnknownNameError: there is no such shelf.
    """
    if shelf == "recipes":
        return [_recipe(name, load(name)) for name in recipes()]
    if shelf == "methods":
        return methods()
    if shelf == "studies":
        return [_study(name, load_study(name)) for name in studies()]
    if shelf not in _plurals():
        raise UnknownNameError(unknown("list", shelf, shelves()))
    return [_entry(entry) for entry in entries(_plurals()[shelf])]


def shelves() -> list[str]:
    """The names that :func:`catalogue` takes."""
    return ["recipes", "studies", "methods", *_plurals()]


def _plurals() -> dict[str, str]:
    return {kind + ("es" if kind.endswith("s") else "s"): kind for kind in kinds()}


def methods() -> list[Row]:
    """Everything that comes from a paper, with the recipes that use it; data sets aside."""
    used = {name.partition("/")[2]: uses(load(name)) for name in recipes()}
    return [
        {
            "name": entry.name,
            "paper": entry.paper.title,
            "year": entry.paper.year,
            "kind": kind,
            "status": entry.status,
            "recipes": [name for name, parts in used.items() if (kind, entry.name) in parts],
            "summary": _words(entry.summary),
            "bibtex": entry.paper.bibtex(),
        }
        for kind in kinds()
        for entry in entries(kind)
        if entry.paper and kind != "dataset"
    ]


def uses(config: Config) -> set[tuple[str, str]]:
    """Kind and name of everything that a configuration names."""
    return set(_uses(config))


def _uses(config: Config) -> Iterator[tuple[str, str]]:
    model = config.model
    yield from _part("model", model)
    for kind in ("neuron", "norm", "encoder"):
        yield from _part(kind, getattr(model, kind))
    if model.weight is not None:
        yield from _part("weight", model.weight)
    yield from _part("dataset", config.data)
    for part in config.data.augment:
        yield from _part("augment", part)
    for phase in config.phase:
        for kind in ("learner", "loss", "optimizer", "schedule"):
            yield from _part(kind, getattr(phase, kind))
        for part in phase.callback:
            yield from _part("callback", part)


def _part(kind: str, part: AnyPart) -> Iterator[tuple[str, str]]:
    yield kind, part.name
    hints = hints_of(find(kind, part.name).build)
    for key, value in part.arguments.items():
        inner_kind = kind_of(key, hints.get(key))
        if inner_kind and isinstance(value, str | dict):
            inner = Part.model_validate({"name": value} if isinstance(value, str) else value)
            yield from _part(inner_kind, inner)


def _recipe(name: str, config: Config) -> Row:
    room, _, short = name.partition("/")
    return {
        "name": short,
        "room": room,
        "title": config.title,
        "dataset": config.data.name,
        "model": config.model.name,
        "T": config.model.T,
        "epochs": sum(phase.epochs for phase in config.phase),
    }


def _study(name: str, study: Study) -> Row:
    return {
        "name": name,
        "title": study.title,
        "arms": [arm.name for arm in study.arm],
        "seeds": len(study.seeds),
        "recipe": study.recipe,
        "claim": study.claim,
    }


def _entry(entry: Entry) -> Row:
    return {
        "name": entry.name,
        "summary": _words(entry.summary),
        "arguments": arguments(entry.kind, entry.name),
        "paper": entry.paper.title if entry.paper else None,
        "year": entry.paper.year if entry.paper else None,
        "status": entry.status,
    }


def arguments(kind: str, name: str) -> dict[str, Any]:
    """What a recipe may set, with the defaults; ``...`` where there is none.

    Raises:
        UnknownNameError: nothing is registered so.
    """
    accepted = inspect.signature(find(kind, name).build).parameters.values()
    return {
        p.name: "..." if p.default is p.empty else _plain(p.default)
        for p in accepted
        if p.name not in GIVEN and p.kind not in (p.POSITIONAL_ONLY, p.VAR_KEYWORD)
    }


def _words(summary: str) -> str:
    """A line of a docstring without its markup."""
    return MARKUP.sub("", summary)


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, str | int | float) else repr(value)


__all__ = ["arguments", "catalogue", "methods", "shelves", "uses"]
