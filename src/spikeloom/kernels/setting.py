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


_given = [Setting()]  # of the blocks that are open, the last one entered on top


def current() -> Setting:
    """The setting in force."""
    return _given[-1]


@contextmanager
def use(name: str | None = None, *, memory: Memory | None = None) -> Iterator[None]:
    """Force an implementation, or say what forward calls keep for the backward.

    Holds for the whole process, other threads included. What is left out stays as it is outside
    the block. Forward and a later backward that runs the forward again (checkpointing) must see
    the same setting.

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
    if memory is not None and memory not in get_args(Memory):
        raise ValueError(f"memory must be one of {', '.join(get_args(Memory))}, got {memory!r}")
    before = current()
    mine = replace(before, name=name or before.name, memory=memory or before.memory)
    _given.append(mine)
    try:
        yield
    finally:
        # Threads may leave their blocks in another order than they entered them.
        _given.pop(next(i for i in reversed(range(len(_given))) if _given[i] is mine))
