"""Binned recordings kept on disk, so that they are read and binned once."""

import json
import os
import shutil
import tempfile
import zipfile
import zlib
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pooch
import torch
from torch import Tensor

from spikeloom.data.events import Place, Recordings
from spikeloom.data.recorded import digest
from spikeloom.data.source import Images, Source

MADE = 1  # raise it where the same files and settings come to other steps than before
SPARE = 10**9  # bytes of the disk that stay free
STEPS, ABOUT = "steps", "about.json"
UNREADABLE = (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True, eq=False)
class Kept(Recordings[Place]):
    """Recordings of which each is binned once, and then read from a file of its own.

    Files appear whole or not at all, so any number of workers and runs may share a folder. One that
    cannot be read is made anew. Nothing is written where less than a gigabyte of the disk would be
    left: those recordings are binned each time.

    Args:
        folder: of these files alone.
    """

    folder: Path = Path()

    def steps(self, at: int) -> Tensor:
        """The steps of one recording, from disk if they are there."""
        path = self.folder / f"{at}.npz"
        if (kept := _read(path)) is not None:
            return kept
        steps = super().steps(at)
        _write(path, steps)
        return steps


def _read(path: Path) -> Tensor | None:
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            return torch.from_numpy(file[STEPS])
    except UNREADABLE:
        return None


def _write(path: Path, steps: Tensor) -> None:
    """Put a file in its place whole; or nothing, if the disk does not take it."""
    with suppress(OSError):
        if shutil.disk_usage(path.parent).free < SPARE:
            return
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            draft = Path(folder) / path.name
            np.savez_compressed(draft, allow_pickle=False, **{STEPS: steps.numpy()})
            os.replace(draft, path)


def cached(source: Source, where: bool | str) -> Source:
    """The source with its recordings kept on disk once they are binned.

    What is kept is found again by a digest of the files, of how they are read and of the bins: with
    other files or settings there is another folder. Steps are compressed; spikes, which are mostly
    zeros, to about a twentieth. ``about.json`` in a folder tells what it holds and how
    large it would be uncompressed. To get rid of it all, remove the folder.

    Args:
        where: a folder, or true for ``spikeloom/binned`` among the caches of the user; with false
            nothing is kept.
    Raises:
        ValueError: the source has no recordings that are binned, or the folder cannot be made.
    """
    if where is False:
        return source
    usual = Path(pooch.os_cache("spikeloom")) / "binned"
    base = usual if where is True else Path(where).expanduser()
    return replace(
        source, train=_kept(source.name, source.train, base),
        test=_kept(source.name, source.test, base),
    )  # fmt: skip


def _kept(name: str, part: Images, base: Path) -> Images:
    if not isinstance(part, Recordings) or not part.digest:
        raise ValueError(
            f"{name} is not made of recordings of events that are binned, so there is nothing to "
            "keep; leave data.cache out"
        )
    key = digest(MADE, part.digest, part.bins)
    folder = base / f"{name}-{key[:16]}"
    bins = part.bins
    about: dict[str, Any] = {
        "data set": name, "recordings": len(part), "bins": repr(bins), "digest": key,
        "bytes uncompressed": len(part) * bins.T * prod(bins.step) * bins.dtype.itemsize,
    }  # fmt: skip
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ABOUT).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise ValueError(
            f"data.cache: {folder} cannot be written ({error}); name another folder"
        ) from error
    own = {field.name: getattr(part, field.name) for field in fields(part)}
    return Kept(**own, folder=folder)
