"""What holds for every call for the length of a ``with``: which implementation, which memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal, get_args

Memory = Literal["auto", "low", "off", "rounded"]


@dataclass(frozen=True)
class Setting:
    """``name`` None: the fastest implementation without objections."""

    name: str | None = None
    memory: Memory = "auto"


_now = Setting()


def current() -> Setting:
    """The setting in force."""
    return _now


@contextmanager
def use(name: str | None = None, *, memory: Memory | None = None) -> Iterator[None]:
    """Force an implementation, or say what forward calls keep for the backward.

    Holds for the whole process. What is left out stays as it is outside the block.

    Args:
        name: ``truth``, ``cpu``, or another that an operator has. A call that it cannot serve
            raises.
        memory: ``off``: keep the potentials, 4 bytes an element. ``low``: keep nothing but the
            input and go through it again. ``rounded``: keep 2 bytes an element, see docs/kernels.md
            for the bound on the gradient's error. ``auto``: ``low`` where the input is kept anyway
            or is smaller, else ``off``. All but ``rounded`` are exact. Convolutions keep spikes as
            bits unless it is ``off``.

    Raises:
        ValueError: unknown memory.
    """
    global _now
    if memory is not None and memory not in get_args(Memory):
        raise ValueError(f"memory must be one of {', '.join(get_args(Memory))}, got {memory!r}")
    before = _now
    _now = replace(before, name=name or before.name, memory=memory or before.memory)
    try:
        yield
    finally:
        _now = before
