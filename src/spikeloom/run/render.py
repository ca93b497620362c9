"""Views of a trained scene: those of the test, scored, and a film along a path."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from spikeloom.data import Views
from spikeloom.models import NeRF
from spikeloom.run.aside import aside
from spikeloom.run.config import ConfigError
from spikeloom.run.distributed import Processes
from spikeloom.run.loop import Silent, Training
from spikeloom.run.pictures import Compare, likeness, lpips, write_film, write_picture
from spikeloom.run.record import stored_config, write_json
from spikeloom.run.task import Task, device_of, prepare

RENDER = "render"  # folder in that of the run
AT_ONCE = 4096  # rays between two words about how far it is
Told = Callable[[int, int], None]  # of how many rays of how many are done


@dataclass(frozen=True)
class Wanted:
    """What to render.

    Args:
        views: the first so many test views; None for all.
        film: frames of a film along a path: around an object, or a spiral; 0 for none.
        form: of the film.
        depth: also write how far away things are, nearer ones brighter.
        lpips: also score the perceptual distance.
    Raises:
        ConfigError: a count out of range.
    """

    views: int | None = None
    film: int = 0
    form: Literal["webp", "gif"] = "webp"
    depth: bool = True
    lpips: bool = False

    def __post_init__(self) -> None:
        if (self.views is not None and self.views < 0) or self.film < 0 or self.film == 1:
            raise ConfigError(
                "render takes views >= 0, and a film of 2 frames or more (0 for none), got "
                f"{self.views} and {self.film}"
            )
        if self.views == 0 and not self.film:
            raise ConfigError("nothing to render: ask for views, or for the frames of a film")


@dataclass(frozen=True)
class Seen:
    """A rendered picture.

    Shape:
        colour [H, W, 3], depth [H, W] from 0 (far or nothing) to 1 (near)
    """

    colour: Tensor
    depth: Tensor


def render(
    folder: Path,
    wanted: Wanted,
    *,
    out: Path | None = None,
    weights: str | None = None,
    root: Path | None = None,
    tell: Told | None = None,
) -> dict[str, Any]:
    """Render test views of a run, compare them with the pictures, and film the scene.

    Writes ``view_000.png``, ``depth_000.png`` and so on, ``film.webp`` and ``render.json``.

    Args:
        folder: of the run.
        wanted: what.
        out: folder for the pictures; else ``render`` in that of the run.
        weights: ``last`` or ``best``; else as the recipe says.
        root: where the data sets are.
        tell: told how many rays are done.

    Returns:
        Scores of every view and their means, files, rays a second.

    Raises:
        ConfigError: this is no run folder, or not of a scene; more views than there are.
        CheckpointError: its checkpoint is missing, altered or of another model.
        Unsupported: the perceptual distance is not installed.
    """
    config = stored_config(folder)
    perceived = lpips() if wanted.lpips else None
    task = prepare(config, Processes(), device_of(config.run.device), root, folder)
    views = _views(task, wanted)
    which = weights or config.run.select
    model = Training(task, folder, Silent()).weights(which).eval()
    if not isinstance(model, NeRF):
        raise ConfigError(f"render shows radiance fields, and the run has a {config.model.name}")
    place = out or folder / RENDER
    place.mkdir(parents=True, exist_ok=True)
    count = len(views.pictures) if wanted.views is None else wanted.views
    camera = Camera(model, views, task, (count + wanted.film) * views.pixels, tell)
    with torch.no_grad(), aside(task.device):
        start = time.perf_counter()
        scores = [_view(camera, at, place, wanted.depth, perceived) for at in range(count)]
        files = [_film(camera, wanted, place)] if wanted.film else []
        seconds = time.perf_counter() - start
    means = {name: _mean(scores, name) for name in (scores[0] if scores else ()) if name != "view"}
    found = {
        "weights": which, "folder": str(place), "size": list(views.size), **means, "views": scores,
        "films": files, "rays": camera.done, "seconds": seconds,
        "rays_per_second": camera.done / max(seconds, 1e-9),
    }  # fmt: skip
    write_json(place / "render.json", found)
    return found


class Camera:
    """Looks at a scene through a trained field."""

    def __init__(self, model: NeRF, views: Views, task: Task, rays: int, tell: Told | None) -> None:
        self.model, self.views, self.task = model, views, task
        self.rays, self.tell, self.done = rays, tell, 0

    def look(self, x: Tensor) -> Seen:
        """The picture of rays.

        Shape:
            x [H * W, 11]
        """
        parts = []
        for rays in x.to(self.task.device, self.task.dtype).split(AT_ONCE):
            with self.task.autocast():
                shown = self.model.look(rays, self.task.config.model.T)
            near, far = rays[:, 9], rays[:, 10]
            away = shown.depth / shown.opacity.clamp(min=1e-6)
            close = shown.opacity * (1 - ((away - near) / (far - near)).clamp(0, 1))
            parts.append((shown.colour.float().cpu(), close.float().cpu()))
            self.done += len(rays)
            if self.tell:
                self.tell(self.done, self.rays)
        colour, depth = (torch.cat(part) for part in zip(*parts, strict=True))
        return Seen(colour.view(*self.views.size, 3), depth.view(self.views.size))


def _views(task: Task, wanted: Wanted) -> Views:
    views = task.source.test
    if not isinstance(views, Views):
        raise ConfigError(
            f"render shows scenes, and {task.source.name} holds no views of one; it is for runs on "
            "blender, llff or tiny_nerf"
        )
    if wanted.views is not None and wanted.views > len(views.pictures):
        raise ConfigError(
            f"{wanted.views} views are asked for, and {task.source.name} has {len(views.pictures)} "
            "for the test"
        )
    return views


def _view(
    camera: Camera, at: int, place: Path, depth: bool, perceived: Compare | None
) -> dict[str, Any]:
    views = camera.views
    seen = camera.look(views.seen_from(views.poses[at]))
    write_picture(place / f"view_{at:03}.png", seen.colour)
    if depth:
        write_picture(place / f"depth_{at:03}.png", seen.depth)
    return {"view": at, **likeness(seen.colour.clamp(0, 1), views.pictures[at], perceived)}


def _film(camera: Camera, wanted: Wanted, place: Path) -> str:
    views = camera.views
    frames = [camera.look(views.seen_from(pose)) for pose in views.path(wanted.film)]
    path = place / f"film.{wanted.form}"
    write_film(path, [frame.colour for frame in frames])
    if wanted.depth:
        write_film(place / f"film_depth.{wanted.form}", [frame.depth for frame in frames])
    return path.name


def _mean(scores: list[dict[str, Any]], name: str) -> float | None:
    values = [score[name] for score in scores]
    return None if None in values else sum(values) / len(values)


__all__ = ["RENDER", "Wanted", "render"]
