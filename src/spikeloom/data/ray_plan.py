"""Which rays come in a batch: of one view, drawn anew for each, or of all views."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

RayOrder = Literal["one_view", "shuffled"]


@dataclass(frozen=True)
class RayPlan:
    """Batches of rays: of one view drawn anew for each, or of all of them.

    Args:
        updates: batches in an epoch.
        size: (H, W) of a view.
        one_view: rays of a batch come from one view.
        crop: the first so many batches come from the middle half of each side.
    Source:
        Mildenhall et al., ECCV 2020, their code.
    """

    updates: int
    size: tuple[int, int]
    one_view: bool = True
    crop: int = 0

    def draw(
        self, indices: NDArray[np.int64], batch: int, number: int, random: np.random.Generator
    ) -> NDArray[np.int64]:
        """Rays that differ from each other, as long as there are as many."""
        pool = indices
        if self.one_view:
            height, width = self.size
            pixels = height * width
            view = indices[random.integers(len(indices))] // pixels
            ends = np.searchsorted(indices, [view * pixels, (view + 1) * pixels])
            pool = indices[ends[0] : ends[1]]
            if number < self.crop:
                row, column = np.divmod(pool % pixels, width)
                inner = pool[_middle(row, height) & _middle(column, width)]
                pool = inner if len(inner) else pool
        return random.choice(pool, batch, replace=len(pool) < batch)


def ray_plan(
    rays: RayOrder, updates: int | None, crop: int, size: tuple[int, int]
) -> RayPlan | None:
    """The plan of a data set of views; None for an epoch that is a shuffle of all rays.

    Raises:
        ValueError: an unknown word, a count out of range, or a crop of shuffled rays.
    """
    if rays not in ("one_view", "shuffled"):
        raise ValueError(f"rays is {rays!r}; use 'one_view' or 'shuffled'")
    if crop < 0 or (updates is not None and updates < 1):
        raise ValueError(f"crop must be >= 0 and updates >= 1, got {crop} and {updates}")
    if rays == "one_view":
        if updates is None:
            raise ValueError(
                "rays of one view have no last one, so an epoch needs a length: give updates, "
                "or rays = 'shuffled' for a shuffle of all rays"
            )
        return RayPlan(updates, size, True, crop)
    if crop:
        raise ValueError("crop is for rays = 'one_view'; leave it out")
    return None if updates is None else RayPlan(updates, size, False)


def _middle(at: NDArray[np.int64], length: int) -> NDArray[np.bool_]:
    half = length // 2
    found: NDArray[np.bool_] = (at >= half - half // 2) & (at < half + half // 2)
    return found
