"""Pictures in folders, one folder per class, decoded when they are asked for."""

import hashlib
import mimetypes
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from spikeloom.data.files import data_root
from spikeloom.data.pictures import check_pictures, decode
from spikeloom.data.source import Source
from spikeloom.registry import register


@dataclass(frozen=True, eq=False)
class FolderImages:
    """Picture files with labels; each is decoded to RGB of one size when it is read.

    See :func:`~spikeloom.data.pictures.decode`.

    Shape:
        labels int64 [M] for M paths; size (H, W)
    """

    paths: tuple[Path, ...]
    labels: Tensor
    size: tuple[int, int]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitems__(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        pixels = [decode(self.paths[at], self.size) for at in indices]
        images = torch.stack(pixels) if pixels else torch.empty(0, 3, *self.size, dtype=torch.uint8)
        return images, self.labels[torch.as_tensor(indices, dtype=torch.int64)]


@register("dataset", "image_folder")
def image_folder(
    root: Path | None = None,
    *,
    size: int | tuple[int, int],
    folder: str = ".",
    mean: Sequence[float] = (0.5, 0.5, 0.5),
    std: Sequence[float] = (0.5, 0.5, 0.5),
    verify: bool = True,
    download: bool = False,
) -> Source:
    """Your own pictures: ``train/<class>/*`` and ``test/<class>/*``, decoded while training.

    Classes are the folders of ``train`` in alphabetical order. Files that are no pictures, by their
    suffix, are passed over. The record notes a digest of names and sizes, not of contents.

    Args:
        root: folder with the datasets; the variable SPIKELOOM_DATA if None.
        size: side, or (height, width), that every picture is brought to [pixels].
        folder: where under the root ``train`` and ``test`` are.
        mean: per channel, of pixels scaled to 0..1.
        std: per channel, of pixels scaled to 0..1.
        verify: decode every picture once, here, so that a damaged one does not end a run half
            way; false only looks at suffixes, for collections that were checked before.
        download: not possible here.

    Raises:
        FileNotFoundError: a folder is missing, or a class has no pictures.
        ValueError: size < 1, mean or std not of three channels, a std <= 0, a test class without
            training pictures, ``download``; pictures that Pillow cannot decode.
    """
    if download:
        raise ValueError("image_folder has nothing to fetch; put the pictures there yourself")
    height, width = _sides(size)
    base = data_root(root) / folder
    classes = _classes(base)
    train, train_digest = _collect(base / "train", classes, (height, width))
    test, test_digest = _collect(base / "test", classes, (height, width))
    if verify:
        check_pictures([*train.paths, *test.paths], base)
    return Source(
        "image_folder",
        train,
        test,
        (3, height, width),
        classes,
        tuple(mean),
        tuple(std),
        {"train (names and sizes)": train_digest, "test (names and sizes)": test_digest},
    )


def _sides(size: int | tuple[int, int]) -> tuple[int, int]:
    height, width = (size, size) if isinstance(size, int) else size
    if height < 1 or width < 1:
        raise ValueError(f"size must be at least 1 pixel, got {height} x {width}")
    return height, width


def _classes(base: Path) -> tuple[str, ...]:
    names = tuple(sorted(path.name for path in _folders(base / "train")))
    extra = {path.name for path in _folders(base / "test")} - set(names)
    if extra:
        raise ValueError(
            f"{base / 'test'} has classes {sorted(extra)} that {base / 'train'} has not"
        )
    return names


def _folders(part: Path) -> list[Path]:
    if not part.is_dir():
        raise FileNotFoundError(f"there is no folder {part}; expected {part}/<class>/<picture>")
    found = [p for p in part.iterdir() if p.is_dir() and not p.name.startswith(".")]
    if not found:
        raise FileNotFoundError(f"{part} has no class folders; expected {part}/<class>/<picture>")
    return found


def _collect(part: Path, classes: Sequence[str], size: tuple[int, int]) -> tuple[FolderImages, str]:
    paths: list[Path] = []
    labels: list[int] = []
    digest = hashlib.sha256()
    for label, name in enumerate(classes):
        if part.name == "test" and not (part / name).is_dir():
            continue
        pictures = _pictures(part / name)
        for picture in pictures:
            digest.update(f"{name}/{picture.name} {picture.stat().st_size}\n".encode())
        paths += pictures
        labels += [label] * len(pictures)
    # Mixed once and for all: a validation split cut off the end must hold every class.
    order = torch.randperm(len(paths), generator=torch.Generator().manual_seed(0))
    mixed = tuple(paths[at] for at in order.tolist())
    return FolderImages(mixed, torch.tensor(labels)[order], size), digest.hexdigest()


def _pictures(folder: Path) -> list[Path]:
    """The picture files of a class, by their suffix."""
    formats = Image.registered_extensions()
    readable = {suffix for suffix, name in formats.items() if name in Image.OPEN}
    inside = sorted(p for p in folder.iterdir() if p.is_file() and p.name[0] != ".")
    pictures = [p for p in inside if p.suffix.lower() in readable]
    for path in set(inside) - set(pictures):
        if (mimetypes.guess_type(path.name)[0] or "").startswith("image/"):
            raise ValueError(
                f"{path} is a picture of a format that Pillow cannot read here "
                f"({path.suffix}); convert or remove it"
            )
    if not pictures:
        raise FileNotFoundError(f"{folder} holds no pictures; fill it or remove it")
    return pictures
