"""Images read as sequences: pixel by pixel, or row by row."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from torch import Tensor

from spikeloom.data.idx import MNIST, SIDE, load_idx
from spikeloom.data.source import Images, Source
from spikeloom.registry import register

By = Literal["pixel", "row"]


@dataclass(frozen=True, eq=False)
class InTurn:
    """Images whose pixels, or rows, come one after the other.

    Shape:
        images [M, 1, H, W] -> x uint8 [B, H W, 1, 1, 1] or [B, H, W, 1, 1], y int64 [B]
    """

    images: Images
    by: By

    def __len__(self) -> int:
        return len(self.images)

    def __getitems__(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        x, y = self.images.__getitems__(indices)
        rows = x[:, 0]
        steps = rows.flatten(1)[..., None] if self.by == "pixel" else rows
        return steps[..., None, None], y


@register("dataset", "sequential_mnist")
def sequential_mnist(
    root: Path | None = None, *, T: int, by: By = "pixel", download: bool = False
) -> Source:
    """MNIST as sequences: 784 steps of one pixel, or 28 of a row; the intensity is the current.

    That a grey pixel goes in as a current of its intensity, 0 to 1, is inferred: papers on this
    task seldom say.

    Args:
        root: folder with the datasets; the variable SPIKELOOM_DATA if None.
        T: number of steps: 784 by pixel, 28 by row.
        by: what a step is.
        download: fetch the official files, with checksums, if they are not there.

    Raises:
        FileNotFoundError: files are missing.
        ValueError: another T, an unknown word, or a damaged file.
    """
    if by not in ("pixel", "row"):
        raise ValueError(f"by is {by!r}; use 'pixel' or 'row'")
    steps = SIDE * SIDE if by == "pixel" else SIDE
    if steps != T:
        raise ValueError(f"by = {by!r} makes {steps} steps, got T = {T}; set model.T = {steps}")
    source = load_idx(MNIST, root, download=download)
    channels = 1 if by == "pixel" else SIDE
    zero, one = (0.0,) * channels, (1.0,) * channels
    return replace(
        source, name="sequential_mnist", train=InTurn(source.train, by),
        test=InTurn(source.test, by), shape=(channels, 1, 1), mean=zero, std=one,
    )  # fmt: skip
