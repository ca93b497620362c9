"""Writers of tiny datasets in the layouts of the real ones."""

import gzip
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from spikeloom.data.idx import FILES


def idx_bytes(array: np.ndarray) -> bytes:
    head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.astype(np.uint8).tobytes()


@pytest.fixture
def draw() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture
def idx_arrays(draw: np.random.Generator) -> dict[str, np.ndarray]:
    """Twelve training and five test images, in the order and names of the files."""
    shapes = ((12, 28, 28), (12,), (5, 28, 28), (5,))
    tops = (256, 10, 256, 10)
    return {
        name: draw.integers(0, top, shape, dtype=np.uint8)
        for name, shape, top in zip(FILES, shapes, tops, strict=True)
    }


@pytest.fixture
def write_idx(idx_arrays: dict[str, np.ndarray]) -> Callable[..., None]:
    def write(folder: Path, *, zipped: bool = True, **replaced: bytes) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name, array in idx_arrays.items():
            content = replaced.get(name.replace("-", "_"), idx_bytes(array))
            if zipped:
                (folder / f"{name}.gz").write_bytes(gzip.compress(content))
            else:
                (folder / name).write_bytes(content)

    return write


def cifar_records(
    draw: np.random.Generator, count: int, classes: int
) -> tuple[np.ndarray, np.ndarray]:
    return (
        draw.integers(0, 256, (count, 3072), dtype=np.uint8),
        draw.integers(0, classes, count, dtype=np.uint8),
    )


def python2_pickle(value: object) -> bytes:
    """Protocol 2 as the official batches have it."""
    return pickle.dumps(value, protocol=2)


@pytest.fixture
def write_cifar10(draw: np.random.Generator) -> Callable[[Path], list[tuple]]:
    """Five batches of three images and a test batch of two, in both layouts."""

    def write(root: Path) -> list[tuple]:
        names = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
        batches = [cifar_records(draw, 2 if name == "test_batch" else 3, 10) for name in names]
        binary, python = root / "cifar-10-batches-bin", root / "cifar-10-batches-py"
        binary.mkdir()
        python.mkdir()
        for name, (data, labels) in zip(names, batches, strict=True):
            (binary / f"{name}.bin").write_bytes(np.column_stack([labels, data]).tobytes())
            content = {b"batch_label": b"x", b"labels": labels.tolist(), b"data": data}
            (python / name).write_bytes(python2_pickle(content))
        return batches

    return write


@pytest.fixture
def write_cifar100(draw: np.random.Generator) -> Callable[[Path], dict[str, tuple]]:
    """Four training and two test images with coarse labels of 3, in both layouts."""

    def write(root: Path) -> dict[str, tuple]:
        parts = {"train": cifar_records(draw, 4, 100), "test": cifar_records(draw, 2, 100)}
        binary, python = root / "cifar-100-binary", root / "cifar-100-python"
        binary.mkdir()
        python.mkdir()
        for name, (data, fine) in parts.items():
            coarse = np.full_like(fine, 3)
            records = np.column_stack([coarse, fine, data])
            (binary / f"{name}.bin").write_bytes(records.tobytes())
            content = {b"data": data, b"fine_labels": fine.tolist(), b"coarse_labels": [3] * 4}
            (python / name).write_bytes(python2_pickle(content))
        return parts

    return write


def nmnist_bytes(*events: tuple[int, int, int, int]) -> bytes:
    """Five bytes each for (x, y, polarity, time)."""
    return b"".join(bytes([x, y]) + ((p << 23) | t).to_bytes(3, "big") for x, y, p, t in events)


@pytest.fixture
def write_nmnist(draw: np.random.Generator) -> Callable[[Path], None]:
    """Twelve recordings to train on and four to test, of three digits, 40 events each."""

    def write(base: Path) -> None:
        for part, count in (("Train", 12), ("Test", 4)):
            for number in range(1, count + 1):
                path = base / part / str(number % 3) / f"{number:05}.bin"
                path.parent.mkdir(parents=True, exist_ok=True)
                x, y, p = draw.integers(0, [[34], [34], [2]], (3, 40)).tolist()
                time = np.sort(draw.integers(0, 300_000, 40)).tolist()
                path.write_bytes(nmnist_bytes(*zip(x, y, p, time, strict=True)))

    return write
