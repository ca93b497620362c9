"""From names and arguments to objects, checked against the builder's own signature."""

import inspect
import types
import typing
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, Union

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError, PydanticUndefinedAnnotation
from pydantic_core import to_json

from spikeloom import callbacks, data, functional, layers, learning, losses, models  # noqa: F401 they register
from spikeloom.registry import UnknownNameError, find, kinds, unknown
from spikeloom.run import nir_model, optimize  # noqa: F401 they register, too
from spikeloom.run.config import ConfigError, Part

# Parts that are made many times over: their users get a function that makes one.
MADE_ANEW = ("neuron", "norm", "readout", "head", "weight")

# Arguments of these types name a part of that kind, whatever the argument is called.
KIND_OF: dict[type, str] = {functional.Decay: "decay", functional.Surrogate: "surrogate"}

# What builders are handed when they are called; a recipe cannot set it.
HANDED = (
    "self", "shape", "channels", "features", "place", "params", "x", "generator", "teacher", "nth"
)  # fmt: skip


def build(part: Part, kind: str, *given: Any, **context: Any) -> Any:
    """Build the registered thing a part names.

    Args:
        part: name and arguments from the recipe.
        kind: where to look the name up.
        given: positional arguments the recipe does not know of (parameters to optimise).
        context: what the run knows (``T``, ``num_classes``); passed on where the builder asks for
            it and the recipe is silent.

    Raises:
        ConfigError: unknown name, unknown argument, wrong type, or a value the builder refuses.
    """
    maker = bind(part, kind, **context)
    try:
        return maker(*given)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{kind} {part.name!r}: {error}") from error


def bind(part: Part, kind: str, **context: Any) -> Callable[..., Any]:
    """The builder with its arguments checked and filled in, not yet called."""
    try:
        entry = find(kind, part.name)
    except UnknownNameError as error:
        raise ConfigError(str(error)) from error
    if kind == "model":
        context = _with_one_threshold(context)
    accepted = inspect.signature(entry.build).parameters
    hints = hints_of(entry.build)
    arguments = {key: value for key, value in context.items() if key in accepted}
    for key, value in part.arguments.items():
        if key not in accepted or key in HANDED:
            names = ({*accepted} - {*context}) | {*type(part).model_fields}
            names -= {*HANDED, "name"}
            raise ConfigError(f"{kind} {part.name!r}: " + unknown("argument", key, names))
        arguments[key] = _argument(f"{kind} {part.name!r}", key, value, hints.get(key), context)
    return partial(entry.build, **arguments)


def kind_of(key: str, hint: Any) -> str | None:
    """The kind of part that an argument names, by its type or else its name; None if it is plain.

    Args:
        key: the name of the argument.
        hint: its type as annotated, None if it has none.
    """
    members = _members(hint)
    for member in filter(inspect.isclass, members):
        for parent, kind in KIND_OF.items():
            if issubclass(member, parent):
                return kind
    plain = any(
        member in (str, int, float, bool) or typing.get_origin(member) is Literal
        for member in members
    )
    return key if key in kinds() and not plain else None


def _argument(owner: str, key: str, value: Any, hint: Any, context: dict[str, Any]) -> Any:
    if kind := kind_of(key, hint):
        part = _inner(owner, key, value)
        return bind(part, kind, **context) if kind in MADE_ANEW else build(part, kind, **context)
    if hint is None:
        return value
    try:
        # As JSON: a list may be a tuple and a word a path, but no word is a number.
        return _adapter(hint).validate_json(to_json(value), strict=True)
    except ValidationError as error:
        problem = error.errors()[0]
        raise ConfigError(f"{owner}: {key} = {value!r}: {problem['msg']}") from error
    except (PydanticSchemaGenerationError, PydanticUndefinedAnnotation):
        return value


def _inner(owner: str, key: str, value: Any) -> Part:
    if not isinstance(value, str | dict):
        raise ConfigError(
            f"{owner}: {key} = {value!r}: expected a name, or a table with a name and arguments"
        )
    try:
        return Part.model_validate({"name": value} if isinstance(value, str) else value)
    except ValidationError as error:
        raise ConfigError(
            f'{owner}: {key} = {value!r} has no name; write {key} = {{ name = "...", ... }}'
        ) from error


def _with_one_threshold(context: dict[str, Any]) -> dict[str, Any]:
    """The context of a model, its norms scaled to the threshold of its neurons."""
    of_neuron, of_norm = (
        inspect.signature(context[kind]).parameters.get("v_threshold") if kind in context else None
        for kind in ("neuron", "norm")
    )
    if of_neuron is None or of_norm is None:
        return context
    norm, threshold = context["norm"], of_neuron.default
    if threshold is None:
        if "v_threshold" in norm.keywords:
            return context
        raise ConfigError(
            "the norm is scaled to the threshold of the neurons, which is not given as "
            "v_threshold; give it to the neuron or to the norm"
        )
    if norm.keywords.get("v_threshold", threshold) != threshold:
        raise ConfigError(
            f"the norm has v_threshold = {of_norm.default}, but the neurons fire at {threshold}; "
            "leave it out of the norm, which then follows the neurons"
        )
    return context | {"norm": partial(norm, v_threshold=threshold)}


def _members(hint: Any) -> tuple[Any, ...]:
    """The types of a union, or the one type."""
    union = typing.get_origin(hint) in (Union, types.UnionType)
    return typing.get_args(hint) if union else (hint,)


def _adapter(hint: Any) -> TypeAdapter[Any]:
    return TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True))


def hints_of(builder: Callable[..., Any]) -> dict[str, Any]:
    while isinstance(builder, partial):
        builder = builder.func
    target = builder.__init__ if inspect.isclass(builder) else builder
    try:
        hints = typing.get_type_hints(target)
    except (NameError, TypeError):
        return {}
    for hint in list(hints.values()):
        if typing.get_origin(hint) is typing.Unpack:  # of **options: what each of them is
            hints |= typing.get_type_hints(typing.get_args(hint)[0])
    return hints


__all__ = ["HANDED", "KIND_OF", "MADE_ANEW", "bind", "build", "hints_of", "kind_of"]
