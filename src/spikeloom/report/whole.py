"""Writes files that are whole or as they were before."""

import os
import re
from pathlib import Path

DRAFT = re.compile(r"\..+\.\d+\.tmp")


def write_file(path: Path, content: bytes) -> Path:
    """Replace ``path`` by ``content`` in one step, and return it.

    Written beside it, flushed to disk, then renamed over it: a kill at any moment leaves the old
    file or the new one, and at worst a draft that :func:`sweep` removes.

    Raises:
        OSError: the disk is full or the folder cannot be written; the old file is still there.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise OSError(
            error.errno, f"could not write {path} ({error.strerror}); what was saved before is kept"
        ) from error
    finally:
        beside.unlink(missing_ok=True)  # also after an interrupt
    return path


def sweep(folder: Path) -> None:
    """Remove the drafts that killed processes left in a folder; nobody may be writing there."""
    for path in folder.iterdir():
        if DRAFT.fullmatch(path.name):
            path.unlink(missing_ok=True)
