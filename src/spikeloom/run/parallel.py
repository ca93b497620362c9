"""Work in processes of its own, of which none outlives the one that started it."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, TypeVar

Item = TypeVar("Item")


def each(
    items: Sequence[Item], work: Callable[[Item], Any], jobs: int
) -> Generator[tuple[Item, str | None], None, None]:
    """Every item when the work on it has ended, with what went wrong.

    Closing the iterator, or an interrupt, ends what runs and starts nothing more.

    Args:
        items: what there is to work on, in order.
        work: importable and picklable, as its items are.
        jobs: items at a time, each in a fresh process; 0: one after the other in this one.
    """
    if jobs == 0:
        for item in items:
            yield item, _problem(work, item)
        return
    waiting = list(items)
    running: dict[Any, tuple[Item, SpawnProcess]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                with _deaf():
                    end, process = _start(work, waiting[0])
                    running[end] = waiting.pop(0), process
            for ready in wait(list(running)):
                item, process = running[ready]
                problem = _told(ready, process)  # still among those to end: it may be interrupted
                del running[ready]
                yield item, problem
    finally:
        for _, process in running.values():
            process.terminate()
        for _, process in running.values():
            process.join()


def _start(work: Callable[[Item], Any], item: Item) -> tuple[Connection, SpawnProcess]:
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe(duplex=False)
    process = spawn.Process(target=_child, args=(there, work, item))
    process.start()
    there.close()  # so that our end closes when the process dies
    return here, process


@contextmanager
def _deaf() -> Iterator[None]:
    """Processes started here do not hear Ctrl-C, which a terminal sends to all: we end them."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may say so
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _told(end: Any, process: SpawnProcess) -> str | None:
    """What a process said when it was done, or how it died."""
    try:
        problem: str | None = end.recv()
    except EOFError:
        process.join()
        return f"its process died with exit code {process.exitcode}"
    process.join()
    return problem


def _child(there: Connection, work: Callable[[Item], Any], item: Item) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    there.send(_problem(work, item))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent
    parent.join()
    os._exit(1)  # however it was killed: nobody waits for what we do


def _problem(work: Callable[[Item], Any], item: Item) -> str | None:
    try:
        work(item)
    except Exception as error:  # one that fails must not end the others
        return f"{type(error).__name__}: {error}"
    return None


__all__ = ["each"]
