"""From names and arguments to objects, checked against the builder's own signature."""

import inspect
import typing
from collections.abc import Callable
from functools import partial
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError, PydanticUndefinedAnnotation

from spikeloom import data, functional, layers, learning, losses, models  # noqa: F401 they register
from spikeloom.registry import UnknownNameError, find, kinds, unknown
from spikeloom.run import optimize  # noqa: F401 registers optimizers and schedules
from spikeloom.run.config import ConfigError, Part

# Parts that are made many times over: their users get a function that makes one.
MADE_ANEW = ("neuron", "norm")

# What builders are handed when they are called; a recipe cannot set it.
HANDED = ("self", "shape", "channels", "params", "x", "generator")


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
    accepted = inspect.signature(entry.build).parameters
    hints = _hints(entry.build)
    arguments = {key: value for key, value in context.items() if key in accepted}
    for key, value in part.arguments.items():
        if key not in accepted or key in HANDED:
            names = ({*accepted} - {*context}) | {*type(part).model_fields}
            names -= {*HANDED, "name"}
            raise ConfigError(f"{kind} {part.name!r}: " + unknown("argument", key, names))
        arguments[key] = _argument(f"{kind} {part.name!r}", key, value, hints.get(key), context)
    return partial(entry.build, **arguments)


def _argument(owner: str, key: str, value: Any, hint: Any, context: dict[str, Any]) -> Any:
    if key in kinds() and isinstance(value, str | dict):
        part = _inner(owner, key, value)
        return bind(part, key, **context) if key in MADE_ANEW else build(part, key, **context)
    if hint is None:
        return value
    try:
        return _adapter(hint).validate_python(value)
    except ValidationError as error:
        problem = error.errors()[0]
        raise ConfigError(f"{owner}: {key} = {value!r}: {problem['msg']}") from error
    except (PydanticSchemaGenerationError, PydanticUndefinedAnnotation):
        return value


def _inner(owner: str, key: str, value: str | dict[str, Any]) -> Part:
    try:
        return Part.model_validate({"name": value} if isinstance(value, str) else value)
    except ValidationError as error:
        raise ConfigError(
            f'{owner}: {key} = {value!r} has no name; write {key} = {{ name = "...", ... }}'
        ) from error


def _adapter(hint: Any) -> TypeAdapter[Any]:
    return TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True))


def _hints(builder: Callable[..., Any]) -> dict[str, Any]:
    while isinstance(builder, partial):
        builder = builder.func
    target = builder.__init__ if inspect.isclass(builder) else builder
    try:
        return typing.get_type_hints(target)
    except (NameError, TypeError):
        return {}


__all__ = ["MADE_ANEW", "bind", "build"]
