"""In which order the images come, and the loader that fetches them."""

from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from spikeloom.data.source import Images, Plan


class Order(Sampler[list[int]]):
    """Index lists of the batches of one epoch; a function of seed and epoch alone.

    An epoch may be several passes over the samples, each in an order of its own.

    Every rank cuts the same global batches and takes each ``world``-th image of them from its own
    number on, so that all ranks together see exactly what one process would. If a last, smaller
    batch does not divide, shares differ by one image at most and may be empty: all ranks
    make the same number of steps.

    Args:
        indices: images to go through.
        batch: images per global batch, over all ranks.
        seed: of the shuffle, >= 0.
        epoch: number of the epoch, >= 0; each has its own order.
        shuffle: whether to mix; else the images come as listed.
        passes: times that the epoch goes through all samples, >= 1.
        start: batches to skip, to go on within an epoch.
        rank: number of this process, 0 <= rank < world.
        world: number of processes.
        plan: draws the batches instead of a shuffle.
    Shape:
        indices int64 [M]

    Raises:
        ValueError: an argument out of range, or ``batch`` does not divide over ``world``.
    """

    def __init__(
        self,
        indices: Tensor,
        batch: int,
        *,
        seed: int,
        epoch: int,
        shuffle: bool,
        passes: int = 1,
        start: int = 0,
        rank: int = 0,
        world: int = 1,
        plan: Plan | None = None,
    ) -> None:
        if indices.dim() != 1 or indices.dtype != torch.int64:
            raise ValueError(
                f"indices must be int64 [M], got {indices.dtype} {tuple(indices.shape)}"
            )
        if batch < 1 or world < 1 or batch % world:
            raise ValueError(
                f"batch = {batch} images cannot be shared evenly by world = {world} processes; "
                "use a multiple"
            )
        if not 0 <= rank < world:
            raise ValueError(f"rank is {rank}; with world = {world} it must be 0..{world - 1}")
        if seed < 0 or epoch < 0:
            raise ValueError(f"seed and epoch must be >= 0, got {seed} and {epoch}")
        if passes < 1:
            raise ValueError(f"passes must be >= 1, got {passes}")
        self.each = plan.updates if plan else -(-len(indices) // batch)  # batches of a pass
        self.total, self.plan = self.each * passes, plan
        if not 0 <= start <= self.total:
            raise ValueError(f"start = {start}, but the epoch has {self.total} batches")
        self.indices, self.batch, self.start = indices, batch, start
        self.seed, self.epoch, self.shuffle, self.passes = seed, epoch, shuffle, passes
        self.rank, self.world = rank, world

    def __len__(self) -> int:
        """Batches still to come."""
        return self.total - self.start

    def size(self, step: int) -> int:
        """Images, over all ranks, in the batch that comes as number ``step`` counted from here."""
        if self.plan:
            return self.batch
        at = (self.start + step) % max(1, self.each)
        return min(self.batch, len(self.indices) - at * self.batch)

    def __iter__(self) -> Iterator[list[int]]:
        for whole in self._planned(self.plan) if self.plan else self._shuffled():
            yield whole[self.rank :: self.world].tolist()

    def _shuffled(self) -> Iterator[NDArray[np.int64]]:
        for number in range(self.start // max(1, self.each), self.passes):
            order = self.indices.numpy()
            if self.shuffle:
                at = self.epoch * self.passes + number
                order = np.random.default_rng([self.seed, at]).permutation(order)
            for step in range(max(0, self.start - number * self.each), self.each):
                yield order[step * self.batch : (step + 1) * self.batch]

    def _planned(self, plan: Plan) -> Iterator[NDArray[np.int64]]:
        for step in range(self.start, self.total):
            random = np.random.default_rng([self.seed, self.epoch, step])
            number = self.epoch * self.total + step
            yield plan.draw(self.indices.numpy(), self.batch, number, random)


def batches(images: Images | Any, order: Order, *, workers: int = 0) -> DataLoader[Any]:
    """A loader of ``(x, y)`` batches in that order.

    Going through it leaves torch's global random state alone, so that a run that goes on
    within an epoch draws what the uninterrupted one draws.

    Args:
        workers: processes that read ahead; 0 reads in this one, best for images in memory.
    Shape:
        -> x and y as the samples are, [B, *] each
    """
    return DataLoader(
        cast("Dataset[Any]", images),
        batch_sampler=order,
        num_workers=workers,
        collate_fn=_as_is,
        pin_memory=torch.cuda.is_available(),
        # Without its own generator a loader takes a number from the global one for each epoch.
        generator=torch.Generator().manual_seed(order.seed),
    )


def _as_is(batch: Any) -> Any:
    return batch  # put together by __getitems__ already
