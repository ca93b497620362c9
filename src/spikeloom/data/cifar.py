"""CIFAR-10 and CIFAR-100: 32 x 32 colour images, as binary records or as Python batches.

A binary record is its label bytes (CIFAR-100: coarse, then fine), then 3 x 32 x 32 pixels, colour
planes red, green, blue.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from spikeloom.data.files import Found, Layout, Remote, locate
from spikeloom.data.pickles import load_plain
from spikeloom.data.source import Source, TensorImages
from spikeloom.papers import Paper
from spikeloom.registry import register

SHAPE = (3, 32, 32)
PIXELS = 3 * 32 * 32
URL = "https://www.cs.toronto.edu/~kriz/"


@dataclass(frozen=True)
class CifarSet:
    """What sets the two apart: ``label_bytes`` per binary record, the last of which counts.

    In both layouts the last file is the test set; the others share the training images evenly.
    ``counts`` are those of the official training and test images.
    """

    name: str
    binary: Layout
    python: Layout
    remote: Remote
    names: str
    label_bytes: int
    label_key: bytes
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    counts: tuple[int, int] = (50_000, 10_000)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names apart, in the order of the labels."""
        return tuple(self.names.split())


CIFAR10 = CifarSet(
    "cifar10",
    Layout(
        ("cifar-10-batches-bin",),
        (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"),
    ),
    Layout(("cifar-10-batches-py",), (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")),
    Remote(
        URL,
        {"cifar-10-python.tar.gz": "md5:c58f30108f718f92721af3b95e74349a"},
        unpack="cifar-10-batches-py",
    ),
    "airplane automobile bird cat deer dog frog horse ship truck",
    1,
    b"labels",
    (0.4914, 0.4822, 0.4465),
    (0.2470, 0.2435, 0.2616),
)
CIFAR100 = CifarSet(
    "cifar100",
    Layout(("cifar-100-binary",), ("train.bin", "test.bin")),
    Layout(("cifar-100-python",), ("train", "test")),
    Remote(
        URL,
        {"cifar-100-python.tar.gz": "md5:eb9058c3a382ffc7106e4002c42a8d85"},
        unpack="cifar-100-python",
    ),
    "apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus "
    "butterfly camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach "
    "couch crab crocodile cup dinosaur dolphin elephant flatfish forest fox girl hamster "
    "house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree "
    "motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear "
    "pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket "
    "rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar "
    "sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip "
    "turtle wardrobe whale willow_tree wolf woman worm",
    2,
    b"fine_labels",
    (0.5071, 0.4865, 0.4409),
    (0.2673, 0.2564, 0.2762),
)
_PAPER = Paper(
    key="krizhevsky2009learning",
    title="Learning Multiple Layers of Features from Tiny Images",
    authors=("Alex Krizhevsky",),
    venue="University of Toronto",
    form="misc",
    year=2009,
    url="https://www.cs.toronto.edu/~kriz/cifar.html",
)


@register("dataset", "cifar10", paper=_PAPER)
def cifar10(root: Path | None = None, *, partial: bool = False, download: bool = False) -> Source:
    """CIFAR-10: ten kinds of things, 50,000 + 10,000. See :func:`load_cifar`."""
    return load_cifar(CIFAR10, root, partial=partial, download=download)


@register("dataset", "cifar100", paper=_PAPER)
def cifar100(root: Path | None = None, *, partial: bool = False, download: bool = False) -> Source:
    """CIFAR-100: a hundred fine kinds of things, 50,000 + 10,000. See :func:`load_cifar`."""
    return load_cifar(CIFAR100, root, partial=partial, download=download)


def load_cifar(
    spec: CifarSet, root: Path | None = None, *, partial: bool = False, download: bool = False
) -> Source:
    """Read one of the two from binary records or, if those are absent, from Python batches.

    Args:
        root: folder with the datasets; the variable SPIKELOOM_DATA if None.
        partial: take files with another number of images than the official ones, too: a cut-down
            copy. Look at ``len(source.test)`` before comparing a figure.
        download: fetch the official archive, with checksum, if no layout is whole.

    Raises:
        FileNotFoundError: files are missing.
        ValueError: a file is damaged or has labels out of range; without ``partial``, also if it
            does not hold all of its images.
    """
    layouts = [spec.binary, spec.python]
    found = locate(spec.name, root, layouts, spec.remote, download=download)
    read = _read_binary if found.layout is spec.binary else _read_python
    *train, test = (read(spec, found, name) for name in found.layout.files)
    if not partial:
        _check_counts(spec, found, [len(y) for _, y in (*train, test)])
    joined = TensorImages(torch.cat([x for x, _ in train]), torch.cat([y for _, y in train]))
    return Source(
        spec.name,
        joined,
        TensorImages(*test),
        SHAPE,
        spec.class_names,
        spec.mean,
        spec.std,
        found.digests,
    )


def _read_binary(spec: CifarSet, found: Found, name: str) -> tuple[Tensor, Tensor]:
    content, size = found.read(name), spec.label_bytes + PIXELS
    count, rest = divmod(len(content), size)
    if rest or not count:
        raise ValueError(
            f"{found.paths[name]} has {len(content)} bytes, which is not a whole number of "
            f"{size}-byte records; it is cut off or of another dataset, fetch it anew"
        )
    records = torch.frombuffer(bytearray(content), dtype=torch.uint8).reshape(count, size)
    labels = _check_labels(spec, records[:, spec.label_bytes - 1].long(), found.paths[name])
    return records[:, spec.label_bytes :].reshape(count, *SHAPE), labels


def _read_python(spec: CifarSet, found: Found, name: str) -> tuple[Tensor, Tensor]:
    path = found.paths[name]
    batch = load_plain(found.read(name), path)
    data, labels = batch.get(b"data"), batch.get(spec.label_key)
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.shape[1:] != (PIXELS,):
        raise ValueError(f"{path}: 'data' must be a uint8 array [M, {PIXELS}]")
    whole = isinstance(labels, list) and all(type(label) is int for label in labels)
    if not isinstance(labels, list) or not whole or not len(labels) == len(data) > 0:
        raise ValueError(
            f"{path}: {spec.label_key.decode()!r} must list one whole number for each of the "
            f"{len(data)} images, at least one"
        )
    images = torch.from_numpy(data.copy()).reshape(-1, *SHAPE)
    return images, _check_labels(spec, torch.tensor(labels), path)


def _check_counts(spec: CifarSet, found: Found, counts: list[int]) -> None:
    """A file that ends early, but between two records, looks whole by itself."""
    *train, test = found.layout.files
    official = {name: spec.counts[0] // len(train) for name in train} | {test: spec.counts[1]}
    for (name, expected), count in zip(official.items(), counts, strict=True):
        if count != expected:
            raise ValueError(
                f"{found.paths[name]} holds {count:,} images, the official file {expected:,}: it "
                "is cut off, fetch it anew; or, if it is a cut-down copy on purpose, say "
                "partial = true under [data] (data.partial=true)"
            )


def _check_labels(spec: CifarSet, labels: Tensor, path: Path) -> Tensor:
    low, high, classes = int(labels.min()), int(labels.max()), len(spec.class_names)
    if low < 0 or high >= classes:
        raise ValueError(
            f"{path}: labels {low}..{high}, but {spec.name} has labels 0..{classes - 1}"
        )
    return labels
