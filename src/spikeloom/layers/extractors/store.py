"""Features of images kept on disk, so that each is computed once for as long as weights stay."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pooch
import torch
from numpy.typing import NDArray
from torch import Tensor

SPARE = 10**9  # bytes of the disk that stay free
WIDTH = 16  # bytes of a key
KEYS, VALUES = ".keys.npy", ".values.npy"


def usual() -> Path:
    """Where features are kept if nothing else is said: among the caches of the user."""
    return Path(pooch.os_cache("spikeloom")) / "features"


class FeatureStore:
    """Rows of features, found by the digest of the sample that they were computed from.

    Any number of runs may share a folder: what a call has computed anew becomes a pair of files,
    each put in place whole, the keys last. Rows are read from memory-mapped files. Nothing is
    written where less than a gigabyte of the disk would be left. To get rid of it all, remove the
    folder.

    Args:
        folder: of one network with one set of weights.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.place: dict[bytes, tuple[int, int]] = {}
        self.parts: list[NDArray[np.float32]] = []
        self.read: set[str] = set()

    def __deepcopy__(self, memo: Any) -> "FeatureStore":
        return FeatureStore(self.folder)

    def through(self, x: Tensor, compute: Callable[[Tensor], Tensor]) -> Tensor:
        """What ``compute`` makes of samples, from disk where it is known.

        Shape:
            x [N, *] -> [N, D]
        """
        keys = [key_of(row) for row in x.detach().cpu().contiguous().numpy()]
        if not self.place.keys() >= set(keys):
            self._look()
        lacking = [at for at, key in enumerate(keys) if key not in self.place]
        if len(lacking) == len(keys):
            values = compute(x)
            self._write(keys, values)
            return values
        new = dict(zip(lacking, compute(x[lacking]), strict=True)) if lacking else {}
        if new:
            self._write([keys[at] for at in lacking], torch.stack(list(new.values())))
        rows = [new[at].cpu() if at in new else self._row(key) for at, key in enumerate(keys)]
        return torch.stack(rows).to(x.device)

    def _row(self, key: bytes) -> Tensor:
        part, row = self.place[key]
        return torch.from_numpy(np.array(self.parts[part][row]))

    def _look(self) -> None:
        """Open the files that have come since the last time."""
        for path in sorted(self.folder.glob(f"*{KEYS}")):
            if path.name in self.read:
                continue
            with suppress(OSError, ValueError, EOFError):  # what cannot be read is made anew
                keys = np.load(path, allow_pickle=False)
                whole = path.with_name(path.name.removesuffix(KEYS) + VALUES)
                values = np.load(whole, mmap_mode="r", allow_pickle=False)
                if len(keys) != len(values):
                    continue
                for row, key in enumerate(keys):
                    self.place.setdefault(key.tobytes(), (len(self.parts), row))
                self.parts.append(values)
                self.read.add(path.name)

    def _write(self, keys: list[bytes], values: Tensor) -> None:
        with suppress(OSError):  # without room, features are computed each time
            self.folder.mkdir(parents=True, exist_ok=True)
            if shutil.disk_usage(self.folder).free < SPARE:
                return
            name = hashlib.sha256(b"".join(keys)).hexdigest()[:16]
            table = np.frombuffer(b"".join(keys), np.uint8).reshape(-1, WIDTH)
            for ending, array in ((VALUES, values.detach().cpu().numpy()), (KEYS, table)):
                _put(self.folder / (name + ending), array)


def _put(path: Path, array: NDArray[Any]) -> None:
    """A file in its place whole, or not at all."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        draft = Path(folder) / path.name
        np.save(draft, array, allow_pickle=False)
        os.replace(draft, path)


def key_of(row: NDArray[Any]) -> bytes:
    """What a sample is found by."""
    return hashlib.blake2b(row.tobytes(), digest_size=WIDTH).digest()
