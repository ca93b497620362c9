"""Public functions and layers say what they compute, and on which shapes."""

import inspect
from types import ModuleType
from typing import Any

import pytest

from spikeloom import data, deploy, functional, layers, learning, losses, models, report
from spikeloom.functional import encode
from spikeloom.registry import STATUSES, entries, kinds
from spikeloom.run import build  # noqa: F401 makes every room register its names

ROOMS = [functional, layers, models, losses, learning, data, deploy, report, encode]


def public(room: ModuleType) -> list[tuple[str, Any]]:
    return [(name, getattr(room, name)) for name in getattr(room, "__all__", [])]


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.__name__)
def test_every_public_name_is_documented(room: ModuleType) -> None:
    silent = [
        name
        for name, thing in public(room)
        if (inspect.isclass(thing) or inspect.isfunction(thing)) and not inspect.getdoc(thing)
    ]
    assert silent == []


def described(thing: Any) -> str:
    """The docstring, with those of the classes it refines."""
    kin = thing.__mro__ if inspect.isclass(thing) else [thing]
    return "".join(relative.__doc__ or "" for relative in kin)


@pytest.mark.parametrize(
    "room", [functional, layers, models, losses, deploy], ids=lambda r: r.__name__
)
def test_what_takes_a_sequence_states_its_shape(room: ModuleType) -> None:
    def takes_sequence(thing: Any) -> bool:
        call = thing.forward if inspect.isclass(thing) and hasattr(thing, "forward") else thing
        if not inspect.isfunction(call):
            return False
        return any(name.endswith("_seq") for name in inspect.signature(call).parameters)

    vague = [
        name
        for name, thing in public(room)
        if takes_sequence(thing) and "Shape" not in described(thing)
    ]
    assert vague == []


def test_every_registered_name_has_a_summary() -> None:
    bare = [(e.kind, e.name) for kind in kinds() for e in entries(kind) if not e.summary]
    assert bare == []


def test_methods_with_a_paper_have_a_status() -> None:
    papers = [entry for kind in kinds() for entry in entries(kind) if entry.paper]
    assert papers
    assert all(entry.paper and entry.paper.url.startswith("https://") for entry in papers)
    # What shapes the data is no training method: status speaks of what a network computes.
    methods = [entry for entry in papers if entry.kind not in ("dataset", "augment")]
    unsaid = [entry.name for entry in methods if entry.status not in STATUSES]
    assert unsaid == []


@pytest.mark.parametrize("kind", ["surrogate", "residual"])
def test_every_one_of_these_kinds_comes_from_a_paper(kind: str) -> None:
    assert [entry.name for entry in entries(kind) if not entry.paper] == []


@pytest.mark.parametrize("kind", ["surrogate", "decay", "neuron", "norm", "residual"])
def test_what_computes_an_equation_states_its_source(kind: str) -> None:
    plain = {"relu", "bn", "none"}
    assert [e.name for e in entries(kind) if "Source" not in described(e.build)] == sorted(
        plain & {e.name for e in entries(kind)}
    )
