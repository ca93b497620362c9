"""The one door to fast code: picks an implementation, or says why not.

The table lists, for every operator, its implementations from the fastest to the truth, which serves
every call. The automatic choice goes down the list; a forced one does not. Errors that come out of
an implementation are errors: nothing is tried after them.
"""

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from spikeloom.kernels.setting import current
from spikeloom.kernels.table import TABLE, Implementation


class CannotServeError(ValueError):
    """The implementation that was asked for by name cannot run this call."""


def door(op: str) -> Callable[..., Any]:
    """The function behind a name, whichever implementation serves it.

    Args:
        op: the name of a function in ``spikeloom.functional`` that has fast twins.

    Returns:
        A function with the arguments and results of ``spikeloom.functional.<op>``.

    Raises:
        ValueError: no such operator.
    """
    return _door(op, *_implementations(op))


def operator_of(function: Callable[..., Any]) -> str | None:
    """The operator that a function from :func:`door` serves; None for any other function."""
    return getattr(function, "operator", None)


def explain(op: str, *args: Any, **options: Any) -> str:
    """Which implementation would serve a call, and why not the others.

    Args:
        op: as for :func:`door`.
        *args: arguments of the call.
        **options: keyword arguments of the call.

    Returns:
        A line for the choice, and one for each refusal.
    """
    listed = _implementations(op)
    refusals = {i.name: list(i.objections(*args, **options)) for i in listed}
    forced = current().name
    serving = [i for i in listed if not refusals[i.name] and forced in (None, i.name)]
    lines = [f"{op}: {serving[0].about()}" if serving else f"{op}: nothing"]
    lines[0] += f" (asked for: {forced})" if forced else ""
    lines += [f"  not {name}: {reason}" for name, why in refusals.items() for reason in why]
    return "\n".join(lines)


@functools.cache
def _door(op: str, *listed: "Implementation") -> Callable[..., Any]:
    @functools.wraps(listed[-1].run)
    def served(*args: Any, **options: Any) -> Any:
        forced = current().name
        if forced is not None:
            return _by_name(op, listed, forced, args, options)
        for implementation in listed:
            if not any(True for _ in implementation.objections(*args, **options)):
                return implementation.run(*args, **options)
        raise CannotServeError(explain(op, *args, **options))

    served.operator = op  # type: ignore[attr-defined]
    return served


def _by_name(
    op: str, listed: Iterable[Implementation], name: str, args: Any, options: Mapping[str, Any]
) -> Any:
    for implementation in listed:
        if implementation.name == name:
            if why := list(implementation.objections(*args, **options)):
                raise CannotServeError(f"{op}: {name} cannot run this call: {'; '.join(why)}")
            return implementation.run(*args, **options)
    names = ", ".join(i.name for i in listed)
    raise CannotServeError(f"{op} has no implementation {name!r}, only {names}")


def _implementations(op: str) -> tuple[Implementation, ...]:
    try:
        return TABLE[op]
    except KeyError:
        known = ", ".join(sorted(TABLE))
        raise ValueError(f"no operator {op!r} behind the door; there are {known}") from None
