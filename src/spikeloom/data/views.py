"""Pictures of a scene from known places: every pixel is a sample, a ray and its colour."""

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from spikeloom.data.source import Plot
from spikeloom.functional.radiance import pixel_rays, ray_vectors, to_ndc, view_of

MakePath = Callable[[int], Tensor]
ROUNDING = 1e-5  # of levels, by averages and blends


@dataclass(frozen=True, eq=False)
class Views:
    """Views of a scene, whose pixels come row by row and view by view.

    Args:
        pictures: colours, 0..1.
        poses: of the cameras.
        focal: focal length [pixels].
        near, far: where along a ray the scene begins and ends.
        path: makes poses along which to look at the scene, as many as asked for.
        ndc: rays are in normalised device coordinates.
    Shape:
        pictures float [V, H, W, 3], poses [V, 3, 4]
    Raises:
        ValueError: shapes that do not fit, numbers that are not finite or out of range, or views
            that device coordinates do not hold.
    """

    pictures: Tensor
    poses: Tensor
    focal: float
    near: float
    far: float
    path: MakePath
    ndc: bool = False

    def __post_init__(self) -> None:
        count = len(self.pictures)
        if self.pictures.dim() != 4 or self.pictures.shape[3] != 3 or not count:
            raise ValueError(f"views are [V, H, W, 3], got {tuple(self.pictures.shape)}")
        if tuple(self.poses.shape) != (count, 3, 4):
            raise ValueError(
                f"{count} views need as many poses, [{count}, 3, 4], got {tuple(self.poses.shape)}"
            )
        if not (self.pictures.isfinite().all() and self.poses.isfinite().all()):
            raise ValueError("pictures and poses must be finite; some are NaN or infinite")
        low, high = map(float, self.pictures.aminmax())
        if not (low >= -ROUNDING and high <= 1 + ROUNDING):
            raise ValueError(f"colours are levels from 0 to 1, got {low:g} to {high:g}")
        if not 0 < self.focal < math.inf:
            raise ValueError(f"the focal length must be > 0 pixels, got {self.focal}")
        if self.ndc:  # directions of a view lie between those of its corners
            corners = torch.tensor(
                [0, self.size[1] - 1, self.pixels - self.size[1], self.pixels - 1]
            )
            for pose in self.poses:
                self._rays(pose, corners)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of a view."""
        return self.pictures.shape[1], self.pictures.shape[2]

    @property
    def pixels(self) -> int:
        """Samples in a view."""
        return self.size[0] * self.size[1]

    def __len__(self) -> int:
        return len(self.pictures) * self.pixels

    def __getitems__(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        at = torch.as_tensor(indices, dtype=torch.int64)
        view, pixel = at // self.pixels, at % self.pixels
        return self._rays(self.poses[view], pixel), self.pictures.view(-1, 3)[at]

    def seen_from(self, pose: Tensor) -> Tensor:
        """The rays of all pixels of a camera somewhere else.

        Shape:
            pose [3, 4] -> [H * W, 11]
        """
        return self._rays(pose, torch.arange(self.pixels))

    def drawn(self) -> Plot:
        """The first view, for reports to draw beside what a network makes of it."""
        return Plot(self.seen_from(self.poses[0]), self.pictures[0].flatten(0, 1), size=self.size)

    def _rays(self, pose: Tensor, pixel: Tensor) -> Tensor:
        row, column = pixel // self.size[1], pixel % self.size[1]
        rays = pixel_rays(pose, row, column, size=self.size, focal=self.focal)
        view = view_of(rays.direction)
        if self.ndc:
            rays = to_ndc(rays, size=self.size, focal=self.focal)
        return ray_vectors(rays, view, self.near, self.far)


def read_pictures(paths: Sequence[Path], size: tuple[int, int] | None) -> tuple[Tensor, str]:
    """Picture files as levels from 0 to 1, shrunk by area, and a digest of names and sizes.

    Args:
        paths: of pictures of one size.
        size: (H, W) to bring them to; None to leave them.
    Shape:
        -> [V, H, W, C], C as the files have
    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file that is no picture, pictures of several sizes, smaller than asked for, or
            of other proportions.
    """
    found, digest = [], hashlib.sha256()
    for path in paths:
        with opened(path) as picture:
            levels = np.asarray(picture.convert("RGBA" if picture.mode == "RGBA" else "RGB"))
        digest.update(f"{path.name} {path.stat().st_size}\n".encode())
        found.append(shrunk(torch.from_numpy(levels.copy()).float() / 255, size, path))
        if found[-1].shape != found[0].shape:
            raise ValueError(
                f"{path} is {tuple(found[-1].shape)}, {paths[0].name} {tuple(found[0].shape)}; "
                "views of a scene have one size"
            )
    return torch.stack(found), digest.hexdigest()


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """A picture file, to be read inside the block.

    Raises:
        FileNotFoundError: it is missing.
        ValueError: it is no picture.
    """
    if not path.is_file():
        raise FileNotFoundError(f"the picture {path} is missing; put it there")
    try:
        with Image.open(path) as picture:
            yield picture
    except Exception as error:  # decoders raise nearly anything on damaged files
        raise ValueError(
            f"{path} was not decoded as a picture ({error}); repair or remove it"
        ) from error


def scene_folder(root: Path, folders: Sequence[str], scene: str, file: str) -> Path:
    """The folder of a scene, the first of those that holds a file.

    Raises:
        FileNotFoundError: there is none.
    """
    places = [root / folder / scene for folder in folders]
    found = next((place for place in places if (place / file).is_file()), None)
    if found is None:
        looked = ", ".join(str(place / file) for place in places)
        raise FileNotFoundError(
            f"there is no scene {scene!r}; looked for {looked}. Put the scene there, or give "
            "another scene or root"
        )
    return found


def shrunk(picture: Tensor, size: tuple[int, int] | None, path: Path) -> Tensor:
    """A picture brought to a smaller size, each pixel the mean of what it covers.

    Shape:
        picture [H, W, C] -> [*size, C]
    """
    have = (picture.shape[0], picture.shape[1])
    if size is None or size == have:
        return picture
    if size[0] > have[0] or size[1] > have[1]:
        raise ValueError(
            f"{path.name} has {have[0]} x {have[1]} pixels, fewer than the {size[0]} x {size[1]} "
            "asked for; ask for less"
        )
    if abs(have[1] * size[0] - have[0] * size[1]) > have[0]:  # more than a pixel of width
        raise ValueError(
            f"{path.name} has {have[0]} x {have[1]} pixels, which {size[0]} x {size[1]} would "
            "squash; cut the views to these proportions"
        )
    shown = F.interpolate(picture.permute(2, 0, 1)[None], size, mode="area")
    return shown[0].permute(1, 2, 0)


def on(background: float, pictures: Tensor) -> Tensor:
    """Pictures with a share of opacity before a background; others as they are.

    Shape:
        pictures [V, H, W, 4] or [V, H, W, 3] -> [V, H, W, 3]
    """
    if pictures.shape[3] == 3:
        return pictures
    opacity = pictures[..., 3:]
    return pictures[..., :3] * opacity + background * (1 - opacity)


def first(name: str, count: int | None, have: int, least: int = 1) -> int:
    """How many views to take.

    Raises:
        ValueError: more than there are, or too few.
    """
    taken = have if count is None else count
    if not least <= taken <= have:
        raise ValueError(f"{name} = {count}, but there are {have} views; use {least} to {have}")
    return taken
