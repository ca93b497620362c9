"""What a dataset is here: two sets of samples with their targets, and a split of them."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Images(Protocol):
    """A map-style dataset of samples and targets, read a batch at a time.

    Samples are images, sequences of them, or vectors; targets are classes or numbers.
    """

    def __len__(self) -> int:
        """Number of samples."""
        ...

    def __getitems__(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        """The samples and targets at those indices.

        Shape:
            -> x uint8 [B, C, H, W] or, with steps of its own, [B, T, C, H, W], or float [B, C];
            y int64 [B] or, of numbers, float [B, D]
        """
        ...


@dataclass(frozen=True, eq=False)
class TensorImages:
    """Images held in memory.

    Shape:
        images uint8 [M, C, H, W], labels int64 [M]

    Raises:
        ValueError: another dtype or rank, or the two lengths differ.
    """

    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        x, y = self.images, self.labels
        if x.dtype != torch.uint8 or x.dim() != 4:
            raise ValueError(
                f"images must be uint8 [M, C, H, W], got {x.dtype} {tuple(x.shape)}; "
                "scale to 0..255 and add a channel axis with images[:, None]"
            )
        if y.dtype != torch.int64 or y.shape != x.shape[:1]:
            raise ValueError(
                f"labels must be int64 [{len(x)}], one for each image, "
                f"got {y.dtype} {tuple(y.shape)}"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitems__(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        at = torch.as_tensor(indices, dtype=torch.int64)
        return self.images[at], self.labels[at]


@dataclass(frozen=True, eq=False)
class TensorNumbers:
    """Samples held in memory whose targets are numbers, for regression.

    Shape:
        samples float [M, C] or uint8 [M, C, H, W], targets float [M, D]

    Raises:
        ValueError: another dtype or rank, the two lengths differ, or a number is not finite.
    """

    samples: Tensor
    targets: Tensor

    def __post_init__(self) -> None:
        x, y = self.samples, self.targets
        vectors, images = (x.is_floating_point(), 2), (x.dtype == torch.uint8, 4)
        if not any(kind and x.dim() == axes for kind, axes in (vectors, images)):
            raise ValueError(
                "samples must be float vectors [M, C] or uint8 images [M, C, H, W], got "
                f"{x.dtype} {tuple(x.shape)}"
            )
        if not y.is_floating_point() or y.dim() != 2 or len(y) != len(x):
            raise ValueError(
                f"targets must be float [{len(x)}, D], a row for each sample, got {y.dtype} "
                f"{tuple(y.shape)}; add an axis with targets[:, None]"
            )
        if not (y.isfinite().all() and (x.dtype == torch.uint8 or x.isfinite().all())):
            raise ValueError("samples and targets must be finite; some are NaN or infinite")

    def __len__(self) -> int:
        return len(self.targets)

    def __getitems__(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        at = torch.as_tensor(indices, dtype=torch.int64)
        return self.samples[at], self.targets[at]


class Plan(Protocol):
    """Which training samples come in a batch, where that is no shuffle of all of them."""

    @property
    def updates(self) -> int:
        """Batches in an epoch."""
        ...

    def draw(
        self, indices: NDArray[np.int64], batch: int, number: int, random: np.random.Generator
    ) -> NDArray[np.int64]:
        """The samples of one batch.

        Args:
            indices: samples to draw from, in increasing order.
            batch: how many.
            number: of the batch, counted from the beginning of training.
            random: of this batch alone.
        Shape:
            indices [M] -> [batch]
        """
        ...


@dataclass(frozen=True, eq=False)
class Plot:
    """Samples on which a fitted function is drawn, a curve or a picture.

    Args:
        samples: what the network is given.
        targets: what it should answer.
        along: where each sample is on a line, evenly spaced, for a curve.
        size: (H, W) for a picture, whose pixels the samples are, row by row.
    Shape:
        samples [M, C], targets [M, D], along [M]
    """

    samples: Tensor
    targets: Tensor
    along: Tensor | None = None
    size: tuple[int, int] | None = None


@dataclass(frozen=True, eq=False)
class Source:
    """A dataset as read from disk.

    Targets are classes if there are ``class_names``, else ``outputs`` numbers.

    Args:
        name: the registered name.
        train: samples to learn from; the validation split is cut from these.
        test: samples to report on, never to choose by.
        shape: (C, H, W) of images, (C,) of vectors.
        class_names: one name per label, so ``class_names[y]`` is the class.
        mean: per channel, of pixels scaled to 0..1; without, and without ``std``, nothing is
            shifted or scaled.
        std: per channel, of pixels scaled to 0..1.
        files: file name -> sha256 of what was read; empty if nothing was read.
        measure: registered name of what predictions are scored by.
        outputs: width of the network's output; 0 for one for each class.
        plan: how training batches are drawn; without, every epoch is a shuffle of all samples.
        plot: what reports draw of the fit, if there is anything to see.
        held: the last so many training samples are to be the validation split, as a data set made
            with one has them; then no other split may be cut.
        facts: what models that ask for it by these names are handed, unless a recipe says.

    Raises:
        ValueError: mean or std is not of as many numbers as there are channels, or a std is not
            above 0; neither classes nor outputs;
            numbers without a measure of their own.
    """

    name: str
    train: Images
    test: Images
    shape: tuple[int, ...]
    class_names: tuple[str, ...] = ()
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    files: dict[str, str] = field(default_factory=dict)
    measure: str = "accuracy"
    outputs: int = 0
    plan: Plan | None = None
    plot: Plot | None = None
    held: int = 0
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        channels = self.shape[0]
        if self.class_names and not self.outputs:
            object.__setattr__(self, "outputs", len(self.class_names))
        if self.outputs < 1 or len(self.class_names) not in (0, self.outputs):
            raise ValueError(
                f"{self.name} has outputs = {self.outputs} and {len(self.class_names)} class "
                "names; give class names, or the number of outputs >= 1"
            )
        if self.numbers and self.measure == "accuracy":
            raise ValueError(
                f"the targets of {self.name} are numbers, which have no accuracy; give measure = "
                '"rse" or "psnr"'
            )
        scaled = bool(self.mean or self.std)
        if scaled and not len(self.mean) == len(self.std) == channels:
            raise ValueError(
                f"{self.name} has {channels} channels, got {len(self.mean)} means and "
                f"{len(self.std)} stds; give one of each for every channel"
            )
        if not all(value > 0 for value in self.std):
            raise ValueError(
                f"std = {list(self.std)}, but images are divided by it; use numbers > 0"
            )

    @property
    def numbers(self) -> bool:
        """Whether targets are numbers, not classes."""
        return not self.class_names

    @property
    def counts(self) -> bool:
        """Whether samples are counts of events, which reach the network as they are."""
        return set(self.mean) == {0.0} and set(self.std) == {1 / 255}


@dataclass(frozen=True, eq=False)
class Splits:
    """Which samples are for what: ``train`` and ``val`` index ``source.train``.

    Shape:
        train, val, test int64, one axis each; ``test`` indexes ``source.test``
    """

    train: Tensor
    val: Tensor
    test: Tensor
    rule: str = ""
    seed: int = 0

    def describe(self) -> dict[str, Any]:
        """Counts, rule, seed and a digest of each index list, for the run record."""
        parts = {"train": self.train, "val": self.val, "test": self.test}
        return {
            "rule": self.rule,
            "seed": self.seed,
            **{part: {"count": len(at), "sha256": _digest(at)} for part, at in parts.items()},
        }


def split(
    source: Source,
    *,
    val: int = 5000,
    val_from: Literal["last", "random"] = "last",
    train: int | None = None,
    test: int | None = None,
    seed: int = 0,
) -> Splits:
    """Cut a validation split off the training samples, and subsets if asked for.

    Args:
        val: number of validation samples; 0 for none.
        val_from: the last ``val`` training samples, or a draw with ``seed``.
        train: how many of the rest to train on, drawn with ``seed``; all of them if None.
        test: how many test samples, the first ones; all of them if None.
        seed: of the draws, >= 0; without a draw it changes nothing.

    Returns:
        Splits whose index lists are in increasing order and do not overlap.

    Raises:
        ValueError: a count that the source does not have, an unknown rule, a negative seed, another
            split than the source is made with.
    """
    if val_from not in ("last", "random"):
        raise ValueError(f"val_from is {val_from!r}; use 'last' or 'random'")
    if seed < 0:
        raise ValueError(f"seed is {seed}; use a number >= 0")
    _check_counts(source, val, train, test)
    if source.held and (val != source.held or val_from != "last"):
        raise ValueError(
            f"val = {val}, val_from = {val_from!r}, but the last {source.held} training samples of "
            f"{source.name} are for validation; set val = {source.held} and val_from = 'last', or "
            "read the data without them"
        )

    have, have_test = len(source.train), len(source.test)
    draw = np.random.default_rng(seed)
    order = np.arange(have) if val_from == "last" else draw.permutation(have)
    rest, held = order[: have - val], order[have - val :]
    chosen = rest if train is None else draw.choice(rest, train, replace=False)
    rule = f"val {val} {val_from} of {have}"
    rule += "" if train is None else f", train {train} drawn of {have - val}"
    rule += "" if test is None else f", test first {test} of {have_test}"
    first = np.arange(have_test if test is None else test)
    return Splits(_indices(chosen), _indices(held), _indices(first), rule, seed)


def pixel_mean_std(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel of pixels scaled to 0..1.

    Counted from a histogram, so that no float copy of the images is made.

    Shape:
        images uint8 [M, C, H, W] -> mean [C], std [C]
    """
    level = torch.arange(256, dtype=torch.float64) / 255
    mean: list[float] = []
    std: list[float] = []
    for channel in images.unbind(1):
        share = torch.bincount(channel.flatten(), minlength=256).double() / channel.numel()
        mean.append(float(share @ level))
        std.append(float(share @ (level - mean[-1]) ** 2) ** 0.5)
    return tuple(mean), tuple(std)


def _check_counts(source: Source, val: int, train: int | None, test: int | None) -> None:
    have = len(source.train)
    if not 0 <= val < have:
        raise ValueError(
            f"val = {val}, but {source.name} has {have} training samples and some must be left to "
            f"train on; use 0 <= val < {have}"
        )
    _check_count("train", train, have - val, f"after val = {val} are taken off")
    _check_count("test", test, len(source.test), f"in the test set of {source.name}")


def _check_count(name: str, count: int | None, have: int, where: str) -> None:
    if count is not None and not 1 <= count <= have:
        raise ValueError(f"{name} = {count}, but there are {have} samples {where}")


def _indices(at: "Sequence[int] | np.ndarray[Any, Any]") -> Tensor:
    return torch.from_numpy(np.sort(np.asarray(at, dtype=np.int64)))


def _digest(at: Tensor) -> str:
    return hashlib.sha256(at.numpy().astype("<i8").tobytes()).hexdigest()
