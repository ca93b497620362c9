"""MNIST and the sets that share its files: four IDX files, 28 x 28 grey, ten classes.

An IDX file is two zero bytes, a type byte (8: unsigned byte), the number of axes, each axis as a
big-endian 32-bit count, then the values.
"""

import math
import struct
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from spikeloom.data.files import Layout, Remote, locate
from spikeloom.data.resize import resized
from spikeloom.data.source import Source, TensorImages, pixel_mean_std
from spikeloom.papers import Paper
from spikeloom.registry import register

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
SIDE = 28


@dataclass(frozen=True)
class IdxSet:
    """What sets one of these datasets apart.

    ``names``: of the classes, apart by spaces; ``mean`` None: counted from the training images.
    """

    name: str
    layout: Layout
    remote: Remote
    names: str
    mean: float | None = None
    std: float | None = None

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names apart, in the order of the labels."""
        return tuple(self.names.split())


def _remote(url: str, into: str, *md5s: str) -> Remote:
    hashes = {f"{name}.gz": f"md5:{md5}" for name, md5 in zip(FILES, md5s, strict=True)}
    return Remote(url, hashes, into)


MNIST = IdxSet(
    "mnist",
    Layout(("mnist", "MNIST/raw", "MNIST"), FILES),
    _remote(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "mnist",
        "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "d53e105ee54ea40749a09fcbcd1e9432",
        "9fb629c4189551a2d022fa330f9573f3",
        "ec29112dd5afa0611ce80d1b7f02629c",
    ),
    "0 1 2 3 4 5 6 7 8 9",
    0.1307,
    0.3081,
)
FASHION_MNIST = IdxSet(
    "fashion_mnist",
    Layout(("fashion-mnist", "FashionMNIST/raw", "FashionMNIST", "fashion_mnist"), FILES),
    _remote(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "fashion-mnist",
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "25c81989df183df01b3e8a0aad5dffbe",
        "bef4ecab320f06d8554ea6380940ec79",
        "bb300cfdad3c16e7a12a480ee83cd310",
    ),
    "t-shirt trouser pullover dress coat sandal shirt sneaker bag ankle-boot",
    0.2860,
    0.3530,
)
KMNIST = IdxSet(
    "kmnist",
    Layout(("kmnist", "KMNIST/raw", "KMNIST"), FILES),
    _remote(
        "http://codh.rois.ac.jp/kmnist/dataset/kmnist/",
        "kmnist",
        "bdb82020997e1d708af4cf47b453dcf7",
        "e144d726b3acfaa3e44228e80efcd344",
        "5c965bf0a639b31b8f53240b1b52f4d7",
        "7320c461ea6c1c855c0b718fb2a4b134",
    ),
    "o ki su tsu na ha ma ya re wo",
)


@register(
    "dataset",
    "mnist",
    paper=Paper(
        key="lecun1998gradient",
        title="Gradient-based learning applied to document recognition",
        authors=("Yann LeCun", "Léon Bottou", "Yoshua Bengio", "Patrick Haffner"),
        venue="Proceedings of the IEEE",
        form="article",
        year=1998,
        url="https://doi.org/10.1109/5.726791",
    ),
)
def mnist(root: Path | None = None, *, download: bool = False, side: int = SIDE) -> Source:
    """MNIST: handwritten digits, 60,000 + 10,000. See :func:`load_idx`."""
    return load_idx(MNIST, root, download=download, side=side)


@register(
    "dataset",
    "fashion_mnist",
    paper=Paper(
        key="xiao2017fashion",
        title="Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms",
        authors=("Han Xiao", "Kashif Rasul", "Roland Vollgraf"),
        venue="arXiv",
        form="misc",
        year=2017,
        url="https://arxiv.org/abs/1708.07747",
    ),
)
def fashion_mnist(root: Path | None = None, *, download: bool = False, side: int = SIDE) -> Source:
    """Fashion-MNIST: clothes, 60,000 + 10,000. See :func:`load_idx`."""
    return load_idx(FASHION_MNIST, root, download=download, side=side)


@register(
    "dataset",
    "kmnist",
    paper=Paper(
        key="clanuwat2018deep",
        title="Deep Learning for Classical Japanese Literature",
        authors=(
            "Tarin Clanuwat",
            "Mikel Bober-Irizar",
            "Asanobu Kitamoto",
            "Alex Lamb",
            "Kazuaki Yamamoto",
            "David Ha",
        ),
        venue="arXiv",
        form="misc",
        year=2018,
        url="https://arxiv.org/abs/1812.01718",
    ),
)
def kmnist(root: Path | None = None, *, download: bool = False, side: int = SIDE) -> Source:
    """Kuzushiji-MNIST: cursive Japanese letters, 60,000 + 10,000. See :func:`load_idx`."""
    return load_idx(KMNIST, root, download=download, side=side)


def load_idx(
    spec: IdxSet, root: Path | None = None, *, download: bool = False, side: int = SIDE
) -> Source:
    """Read one of the IDX datasets, gzipped or not.

    Args:
        root: folder with the datasets; the variable SPIKELOOM_DATA if None.
        download: fetch the official files, with checksums, if they are not there.
        side: pixels along each side; other than 28 they are resized, bilinear with anti-aliasing.

    Raises:
        FileNotFoundError: files are missing.
        ValueError: side < 1; a file is damaged, not IDX, of other sizes, or has labels out of
            range.
    """
    found = locate(spec.name, root, [spec.layout], spec.remote, download=download)
    arrays = [parse_idx(found.read(name), found.paths[name]) for name in FILES]
    folder = found.paths[FILES[0]].parent
    train = _pair(arrays[0], arrays[1], spec, f"{folder}/train-*")
    test = _pair(arrays[2], arrays[3], spec, f"{folder}/t10k-*")
    train, test = resized(train, side), resized(test, side)
    if spec.mean is None or spec.std is None or side != SIDE:
        mean, std = pixel_mean_std(train.images)
    else:
        mean, std = (spec.mean,), (spec.std,)
    return Source(
        spec.name, train, test, (1, side, side), spec.class_names, mean, std, found.digests
    )


def parse_idx(content: bytes, path: Path) -> Tensor:
    """The array in an IDX file of unsigned bytes.

    Raises:
        ValueError: the first bytes are not of such a file, or the size is not what they announce.
    """
    axes = content[3] if len(content) >= 4 else 0
    if content[:3] != b"\0\0\x08" or not 1 <= axes <= 4:
        raise ValueError(
            f"{path} is not an IDX file of unsigned bytes: it starts with "
            f"{content[:4].hex(' ') or 'nothing'}, expected 00 00 08 and the number of axes"
        )
    start = 4 + 4 * axes
    if len(content) < start:
        raise ValueError(f"{path} is cut off within its header ({len(content)} bytes)")
    shape = struct.unpack(f">{axes}I", content[4:start])
    want, came = math.prod(shape), len(content) - start
    if want != came:
        raise ValueError(
            f"{path} announces {' x '.join(map(str, shape))} = {want} values but holds {came}; "
            "it is cut off or damaged, fetch it anew"
        )
    if want == 0:
        raise ValueError(f"{path} is empty: it announces {' x '.join(map(str, shape))} values")
    # The copy is writable, as torch wants its memory to be.
    return torch.frombuffer(bytearray(content[start:]), dtype=torch.uint8).reshape(shape)


def _pair(images: Tensor, labels: Tensor, spec: IdxSet, where: str) -> TensorImages:
    if images.dim() != 3 or images.shape[1:] != (SIDE, SIDE) or labels.dim() != 1:
        raise ValueError(
            f"{where}: expected images [M, {SIDE}, {SIDE}] and labels [M], got "
            f"{tuple(images.shape)} and {tuple(labels.shape)}; are the files swapped?"
        )
    if len(images) != len(labels):
        raise ValueError(f"{where}: {len(images)} images but {len(labels)} labels")
    if int(labels.max()) >= len(spec.class_names):
        raise ValueError(
            f"{where}: label {int(labels.max())}, but {spec.name} has labels "
            f"0..{len(spec.class_names) - 1}"
        )
    return TensorImages(images[:, None], labels.long())
