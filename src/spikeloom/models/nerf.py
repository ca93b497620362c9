"""Neural radiance fields, spiking or not: rays in, colours out."""

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spikeloom.functional.radiance import (
    Composite,
    RayParts,
    composite,
    encoded_width,
    frequency_encoding,
    grid,
    joined,
    ray_parts,
    resampled,
    stratified,
)
from spikeloom.functional.radiance.sources import NERF
from spikeloom.layers import is_constant
from spikeloom.models.parts import MakeNeuron
from spikeloom.models.radiance_field import Field, RadianceField
from spikeloom.registry import register


class Pass(NamedTuple):
    """What one field saw along rays.

    Shape:
        t [R, K], field of [R, K] and [R, K, 3], shown of [R, 3], [R] and [R, K]
    """

    t: Tensor
    field: Field
    shown: Composite


@register("model", "nerf", paper=NERF, status="small")
class NeRF(nn.Module):
    """Two radiance fields, coarse and fine, and the rays through them.

    The coarse field looks at a grid of depths, the fine one at these and at more of them where the
    coarse one found something. With ``neuron = relu`` and T = 1 this is NeRF, with ``lif`` a binary
    spiking NeRF, with ``ternary_lif`` Spik-NeRF. Neurons are at rest where a point begins.

    In training depths are jittered and drawn, ``density_noise`` is added, and both fields answer:
    the fine colours of all rays come first, then the coarse ones. In evaluation nothing is drawn
    and the fine field answers alone, a chunk of points at a time.

    Args:
        coarse: depths of the grid, >= 3.
        fine: depths drawn on top of these; 0 leaves the coarse field alone.
        width: neurons of a layer.
        depth: layers of neurons before the density.
        place_levels: of the encoding of places.
        view_levels: of the encoding of directions.
        white: whether what nothing hides is white; else it is black. Data sets of views say it.
        density_noise: standard deviation of what is added to densities in training.
        chunk: points that a field is asked about at once in evaluation.
        cull: in evaluation the fine field is not asked about rays whose coarse opacity is at most
            this: they show what the coarse one saw. None asks about all, as published.
        in_shape: (11,) of a ray.
        num_classes: 3, of a colour.
        neuron: makes the neurons of a layer from the shape (C,) of one sample.
    Shape:
        x_seq [T, R, 11], the same at every step -> colours [1, R, 3]; [1, 2R, 3] in training
    Raises:
        ValueError: a count out of range; data that are no rays with colours; when called, rays that
            change from step to step.
    Source:
        Mildenhall et al., ECCV 2020; Wan et al., NeurIPS 2025. That outputs of the linear maps are
        averaged over time before rectifier and sigmoid is inferred.
    """

    counted: ClassVar = ("coarse", "fine")  # the rest is geometry, which a host computes

    def __init__(
        self,
        *,
        coarse: int = 64,
        fine: int = 128,
        width: int = 256,
        depth: int = 8,
        place_levels: int = 10,
        view_levels: int = 4,
        white: bool = True,
        density_noise: float = 0.0,
        chunk: int = 16384,
        cull: float | None = None,
        in_shape: tuple[int, ...],
        num_classes: int,
        neuron: MakeNeuron,
    ) -> None:
        super().__init__()
        _check(in_shape, num_classes, coarse, fine, density_noise, chunk)
        if cull is not None and not 0 <= cull < 1:
            raise ValueError(f"cull is an opacity, 0 <= cull < 1 or none, got {cull}")
        self.samples, self.more = coarse, fine
        self.density_noise, self.chunk = density_noise, chunk
        self.white, self.cull = white, cull
        self.levels = place_levels, view_levels
        widths = [encoded_width(3, levels) for levels in self.levels]

        def field() -> RadianceField:
            return RadianceField(*widths, neuron=neuron, depth=depth, width=width)

        self.coarse = field()
        self.fine = field() if fine else None

    def forward(self, x_seq: Tensor) -> Tensor:
        x, T = _still(x_seq), len(x_seq)
        if not self.training:
            return self.look(x, T).colour[None]
        passes = self.passes(ray_parts(x), T)
        return torch.cat([each.shown.colour for each in reversed(passes)])[None]

    def look(self, x: Tensor, T: int) -> Composite:
        """What rays show, with depth, opacity and weights; a chunk of points at a time.

        Shape:
            x [R, 11] -> colour [R, 3], depth, opacity [R], weights [R, K]
        """
        rays = max(1, self.chunk // (self.samples + self.more))
        found = [self._culled(part, T) for part in x.split(rays)]
        return Composite(*(torch.cat(parts) for parts in zip(*found, strict=True)))

    def _culled(self, x: Tensor, T: int) -> Composite:
        """What rays show, without the fine field on those that are culled; weights are 0 there."""
        if self.cull is None or self.fine is None:
            return self.passes(ray_parts(x), T)[-1].shown
        first = self._first(ray_parts(x), T)
        shown = first.shown._replace(weights=F.pad(first.shown.weights, (0, self.more)).zero_())
        kept = (shown.opacity > self.cull).nonzero()[:, 0]
        if not len(kept):
            return shown
        t, weights = first.t[kept], first.shown.weights[kept]
        finer = self._second(self.fine, ray_parts(x[kept]), t, weights, T).shown
        return Composite(
            *(all_.index_copy(0, kept, some) for all_, some in zip(shown, finer, strict=True))
        )

    def passes(self, x: RayParts, T: int) -> list[Pass]:
        """The coarse pass, and the fine one after it."""
        first = self._first(x, T)
        if self.fine is None:
            return [first]
        return [first, self._second(self.fine, x, first.t, first.shown.weights, T)]

    def _first(self, x: RayParts, T: int) -> Pass:
        t = stratified(grid(x.near, x.far, self.samples), self._draws(x, self.samples))
        return self._pass(self.coarse, x, t, T)

    def _second(self, fine: RadianceField, x: RayParts, t: Tensor, weights: Tensor, T: int) -> Pass:
        more = resampled(t, weights, self.more, self._draws(x, self.more))
        return self._pass(fine, x, joined(t, more), T)

    def ask(self, field: RadianceField, place: Tensor, view: Tensor, T: int) -> Field:
        """What a field of this model says of places on rays.

        Shape:
            place [R, K, 3], view [R, 3] -> density [R, K], colour [R, K, 3]
        """
        of_place, of_view = self.levels
        said: Field = field(
            frequency_encoding(place.flatten(0, 1), of_place), frequency_encoding(view, of_view), T
        )
        return said

    def _pass(self, field: RadianceField, x: RayParts, t: Tensor, T: int) -> Pass:
        origin, direction = x.rays
        said = self.ask(field, origin[:, None] + t[..., None] * direction[:, None], x.view, T)
        density = said.density
        if self.training and self.density_noise:
            density = density + self.density_noise * torch.randn(t.shape).to(t)
        shown = composite(density, said.colour.sigmoid(), t, direction, white=self.white)
        return Pass(t, said, shown)

    def _draws(self, x: RayParts, count: int) -> Tensor | None:
        """Drawn on the CPU, so that one seed gives the same on every device."""
        return torch.rand(len(x.view), count).to(x.view) if self.training else None


def _still(x_seq: Tensor) -> Tensor:
    """The rays of a sequence that repeats them.

    Shape:
        x_seq [T, R, 11] -> [R, 11]
    """
    if len(x_seq) > 1 and not is_constant(x_seq) and not bool((x_seq == x_seq[:1]).all()):
        raise ValueError(
            'rays are the same at every step, got a sequence that changes; use encoder = "constant"'
        )
    return x_seq[0]


def _check(
    in_shape: tuple[int, ...], num_classes: int, coarse: int, fine: int, noise: float, chunk: int
) -> None:
    if num_classes != 3 or len(in_shape) != 1:
        raise ValueError(
            f"nerf learns colours (3 numbers) of rays, got samples {tuple(in_shape)} with "
            f"{num_classes} outputs; use a data set of views, as blender, llff or tiny_nerf"
        )
    if coarse < 3 or fine < 0 or chunk < 1 or not noise >= 0:
        raise ValueError(
            "coarse must be >= 3, fine and density_noise >= 0, chunk >= 1, got "
            f"{coarse}, {fine}, {noise} and {chunk}"
        )
