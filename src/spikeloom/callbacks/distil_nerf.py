"""Distillation of a radiance field: densities and colours of points, from a frozen teacher."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spikeloom.callbacks.base import Term
from spikeloom.callbacks.taught import Taught
from spikeloom.functional.neurons.inputs import wide
from spikeloom.functional.radiance import opacities
from spikeloom.layers.ternary import SPIK_NERF
from spikeloom.learning.base import Batch, Loss, Progress
from spikeloom.models import NeRF, RadianceField
from spikeloom.models.radiance_field import Field
from spikeloom.registry import Unsupported, register

Space = Literal["raw", "log1p", "alpha"]
Asked = tuple[str, Tensor, Tensor, Field]  # name of the field, places, directions, its answer


@register("callback", "distil_nerf", paper=SPIK_NERF, status="small")
class DistilNeRF(Taught):
    """Pulls densities and colours of a radiance field to those of a teacher at the same points.

    L = density mse(f(sigma_T), f(sigma_S)) + colour mse(g(c_T), g(c_S)), summed over the coarse and
    the fine field, each asked about the points that the student looked at.

    Densities and colours are those before the rectifier and the sigmoid. Raw densities reach
    hundreds and can drown all else; f may be log(1 + relu(sigma)), or the opacity of the point's
    interval (without the last one, which is endless). Raw colours do so too, most of them those of
    points that nobody sees; g may be the sigmoid. Notes the three terms of the loss before every
    epoch, on a few training rays.

    Args:
        density: weight of densities, >= 0.
        colour: weight of colours, >= 0.
        density_space: f: ``raw`` leaves densities as they are, ``log1p``, ``alpha``.
        colour_space: g: ``raw`` leaves colours as they are, ``rgb`` is what is seen of them.
        samples: training rays that the noted terms are of.
        steps: of the teacher where they differ from the model's; 1 is enough for rectifiers.
        teacher: handed over by the run: see ``[teacher]``.
    Raises:
        ValueError: an argument out of range.
        Unsupported: no teacher; it or the model is no ``nerf``; one has a fine field, and the other
            has not.
    Source:
        Wan et al., NeurIPS 2025. That the fine fields are asked about the student's points, and
        both fields alike, is inferred.
    """

    name = "distil_nerf"

    def __init__(
        self,
        *,
        density: float = 0.5,
        colour: float = 0.5,
        density_space: Space = "raw",
        colour_space: Literal["raw", "rgb"] = "raw",
        samples: int = 64,
        steps: int | None = 1,
        teacher: nn.Module | None = None,
    ) -> None:
        super().__init__(1.0, steps, teacher)
        if not (density >= 0 and colour >= 0 and samples >= 1):
            raise ValueError(
                "distil_nerf needs density and colour >= 0 and samples >= 1, got "
                f"{density}, {colour} and {samples}"
            )
        if density_space not in get_args(Space):
            raise ValueError(f"density_space is {density_space!r}; use one of {get_args(Space)}")
        if colour_space not in ("raw", "rgb"):
            raise ValueError(f"colour_space is {colour_space!r}; use 'raw' or 'rgb'")
        self.density, self.colour, self.colour_space = density, colour, colour_space
        self.density_space, self.samples = density_space, samples

    def apply(self, model: nn.Module) -> None:
        super().apply(model)
        fields = [set(_fields(each)) for each in (self._own(model), self._own(self.teacher))]
        if fields[0] != fields[1]:
            raise Unsupported(
                "distil_nerf compares fields of one name, and only one of model and teacher has a "
                "fine field; set model.fine = 0 for both or neither"
            )

    def _own(self, model: nn.Module) -> NeRF:
        found = next((module for module in model.modules() if isinstance(module, NeRF)), None)
        if found is None:
            raise Unsupported(
                f"distil_nerf needs a radiance field as model and as teacher, got "
                f"{type(model).__name__}; use model.name = 'nerf' for both"
            )
        return found

    def epoch(
        self, model: nn.Module, probe: Callable[[int], Batch], loss: Loss, progress: Progress
    ) -> dict[str, float]:
        batch = probe(self.samples)
        with torch.no_grad(), _asked(self._own(model)) as asked:
            photometric = loss(model(batch.x_seq), batch.y)
            density, colour = self._terms(asked(), batch)
        return {
            "term photometric": float(photometric),
            "term density": float(density),
            "term colour": float(colour),
        }

    @contextmanager
    def term(self, model: nn.Module) -> Iterator[Term]:
        with _asked(self._own(model)) as asked:

            def value(batch: Batch, _: Tensor) -> Tensor | None:
                seen = asked()
                if not seen:  # a loss that is asked for again without another pass
                    return None
                density, colour = self._terms(seen, batch)
                return self.density * density + self.colour * colour

            yield value

    def _terms(self, seen: list[Asked], batch: Batch) -> tuple[Tensor, Tensor]:
        """Mean squared differences of densities and of colours, summed over fields."""
        teacher = self._own(self.teacher)
        fields, T = _fields(teacher), self.steps or len(batch.x_seq)
        total = torch.zeros(2, device=batch.y.device)
        for name, place, view, own in seen:
            with torch.no_grad():
                other = teacher.ask(fields[name], place, view, T)
            ours, theirs = (self._seen(each.density, place) for each in (own, other))
            colour = F.mse_loss(self._shown(own.colour), self._shown(other.colour))
            total = total + torch.stack([F.mse_loss(ours, theirs), colour])
        return total[0], total[1]

    def _shown(self, colour: Tensor) -> Tensor:
        return wide(colour) if self.colour_space == "raw" else wide(colour).sigmoid()

    def _seen(self, density: Tensor, place: Tensor) -> Tensor:
        density = wide(density)
        if self.density_space == "raw":
            return density
        if self.density_space == "log1p":
            return density.relu().log1p()
        gaps = torch.linalg.vector_norm(place[:, 1:] - place[:, :-1], dim=-1)
        return opacities(density[:, :-1], gaps)


def _fields(model: NeRF) -> dict[str, RadianceField]:
    found = {"coarse": model.coarse, "fine": model.fine}
    return {name: field for name, field in found.items() if field is not None}


@contextmanager
def _asked(model: NeRF) -> Iterator[Callable[[], list[Asked]]]:
    """Record what the fields of a model are asked inside the block, and what they say.

    The function that comes out hands over what was recorded since its last call.
    """
    seen: list[Asked] = []

    def note(name: str) -> Any:
        def hook(_: nn.Module, inputs: tuple[Tensor, Tensor, int], out: Field) -> None:
            place, view, _T = inputs
            points = place[:, :3].unflatten(0, (len(view), -1))  # an encoding starts with the place
            seen.append((name, points, view[:, :3], out))

        return hook

    def hand_over() -> list[Asked]:
        taken = seen.copy()
        seen.clear()
        return taken

    hooks = [field.register_forward_hook(note(name)) for name, field in _fields(model).items()]
    try:
        yield hand_over
    finally:
        for hook in hooks:
            hook.remove()


__all__ = ["DistilNeRF"]
