"""Spiking radiance fields against a plain implementation in PyTorch: rays a second.

The plain one is what a reader of the paper would write: inputs put side by side before the maps,
all of it at every time step, neurons step by step with a surrogate as a function of autograd. It
has the same weights; in float64 colours and gradients must agree before anything is timed.
The times are of float32.

    python benchmarks/nerf.py --rays 256 --seconds 20 --json nerf.jsonl
"""

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import torch
from interleave import Column, in_turns, peak_bytes, record, show
from torch import Tensor, nn
from torch.nn import functional as F

from spikeloom.functional import Rectangle, factor
from spikeloom.functional.radiance import (
    composite,
    frequency_encoding,
    grid,
    joined,
    orbit,
    pixel_rays,
    ray_parts,
    ray_vectors,
    resampled,
    view_of,
)
from spikeloom.layers import LIF, TernaryLIF
from spikeloom.models import NeRF, RadianceField

OPTIONS = {
    "decay": factor(0.25), "v_threshold": 0.5, "surrogate": Rectangle(), "detach_reset": True,
}  # fmt: skip
NEURONS = {"ternary": (TernaryLIF, 2), "binary": (LIF, 1)}  # and levels
SIZES = {
    "small": {"coarse": 32, "fine": 32, "width": 64, "depth": 4},
    "published": {"coarse": 64, "fine": 128, "width": 256, "depth": 8},
}
CLOSE = 1e-9


class Step(torch.autograd.Function):
    """Levels of potentials; a slope of one from 0 to as many."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, levels: int) -> Tensor:
        ctx.save_for_backward(u)
        ctx.levels = levels
        return torch.floor(u + 0.5).clamp(0, levels)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (u,) = ctx.saved_tensors
        return grads[0] * ((u > 0) & (u < ctx.levels)), None


class Plain(nn.Module):
    """The same network from the same parameters, with nothing shared between steps."""

    def __init__(self, model: NeRF, levels: int, T: int) -> None:
        super().__init__()
        self.model, self.levels, self.T = model, levels, T

    def forward(self, x: Tensor) -> Tensor:
        """Colours of both fields, fine ones first; nothing is drawn."""
        (origin, direction), view, near, far = ray_parts(x)
        t = grid(near, far, self.model.samples)
        found: list[Tensor] = []
        for field in (self.model.coarse, self.model.fine):
            assert field is not None
            place = origin[:, None] + t[..., None] * direction[:, None]
            density, colour = self.field(field, place, view[:, None].expand_as(place))
            shown = composite(density, colour.sigmoid(), t, direction, white=True)
            found.insert(0, shown.colour)
            if field is self.model.coarse:
                t = joined(t, resampled(t, shown.weights, self.model.more))
        return torch.cat(found)

    def field(self, field: RadianceField, place: Tensor, view: Tensor) -> tuple[Tensor, Tensor]:
        of_place, of_view = frequency_encoding(place, 10), frequency_encoding(view, 4)
        densities, colours = [], []
        states: list[Any] = [0.0] * (len(field.neurons) + 1)
        for _ in range(self.T):
            h = of_place
            for number in range(len(field.neurons)):
                if number == 0:
                    weight, bias = field.first.weight, field.first.bias
                else:
                    inner: Any = field.hidden[number - 1].module
                    weight, bias = inner.weight, inner.bias
                if number == field.again and field.skip is not None:
                    h = torch.cat([of_place, h], dim=-1)
                    weight = torch.cat([field.skip.weight, weight], dim=1)
                h, states[number] = self.neuron(F.linear(h, weight, bias), states[number])
            densities.append(field.density.module(h)[..., 0])
            h = torch.cat([field.feature.module(h), of_view], dim=-1)
            mix: Any = field.mix.module
            weight = torch.cat([mix.weight, field.view.weight], dim=1)
            h, states[-1] = self.neuron(F.linear(h, weight, mix.bias), states[-1])
            colours.append(field.colour.module(h))
        return torch.stack(densities).mean(0), torch.stack(colours).mean(0)

    def neuron(self, x: Tensor, v: Any) -> tuple[Tensor, Tensor]:
        u = 0.25 * v + x
        s: Tensor = Step.apply(u, self.levels)  # type: ignore[no-untyped-call]
        return s, u * (s == 0)


class Ours(nn.Module):
    """The model as it is, with nothing drawn and both answers."""

    def __init__(self, model: NeRF, T: int) -> None:
        super().__init__()
        self.model, self.T = model, T

    def forward(self, x: Tensor) -> Tensor:
        passes = self.model.passes(ray_parts(x), self.T)
        return torch.cat([each.shown.colour for each in reversed(passes)])


def rays(count: int) -> Tensor:
    at = torch.randint(0, 100, (2, count))
    found = pixel_rays(orbit(3, radius=4.0)[1], *at, size=(100, 100), focal=120.0)
    return ray_vectors(found, view_of(found.direction), 2.0, 6.0)


def gradients(net: nn.Module, x: Tensor) -> tuple[Tensor, list[Tensor]]:
    out = net(x)
    found = torch.autograd.grad((out - 0.3).square().mean(), list(net.parameters()))
    return out.detach(), list(found)


def check(model: NeRF, levels: int, T: int) -> None:
    """Stop unless colours and gradients agree."""
    x = rays(8).double()
    model = model.double()
    want, slopes = gradients(Plain(model, levels, T), x)
    found, own = gradients(Ours(model, T), x)
    apart = max(
        float((a - b).norm() / b.norm().clamp(min=1e-12)) for a, b in zip(own, slopes, strict=True)
    )
    model.float()
    if not float((found - want).abs().max()) <= CLOSE or not apart <= 1e-6:
        raise SystemExit(f"colours off {(found - want).abs().max():.1e}, gradients {apart:.1e}")


def train(net: nn.Module, x: Tensor) -> None:
    net.zero_grad(set_to_none=True)
    (net(x) - 0.3).square().mean().backward()


@torch.no_grad()
def look(net: nn.Module, x: Tensor) -> None:
    net(x)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--neuron", choices=NEURONS, default="ternary")
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--rays", type=int, default=256)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--json", type=Path, help="append the rows to this file")
    given = parser.parse_args()
    torch.manual_seed(0)
    kind, levels = NEURONS[given.neuron]
    model = NeRF(
        neuron=partial(kind, **OPTIONS), **SIZES[given.size], in_shape=(11,), num_classes=3
    ).eval()  # fmt: skip  # so that nothing is drawn
    check(model, levels, given.steps)
    x = rays(given.rays)
    nets = {"plain": Plain(model, levels, given.steps), "spikeloom": Ours(model, given.steps)}
    # The first one starts in memory that nobody has used; the second reuses what that left, so its
    # own peak is at least what is found.
    found = {name: peak_bytes(partial(train, nets[name], x)) for name in ("spikeloom", "plain")}
    peaks = {name: None if peak is None else peak / 1e6 for name, peak in found.items()}
    for what, step in (("training step", train), ("rendering", look)):
        rows = in_turns(
            [Column(name, partial(step, net, x)) for name, net in nets.items()],
            seconds=given.seconds,
        )
        for row in rows:
            row.more["rays/s"] = 1e3 * given.rays / row.wall
            if step is train:
                row.more["peak MB"] = peaks[row.name]
        about = {"size": given.size, "neuron": given.neuron, "T": given.steps, "rays": given.rays}
        show(f"nerf, {what}, {given.size}, {given.neuron}, T = {given.steps}", rows)
        record(given.json, f"nerf {what}", about, rows)


if __name__ == "__main__":
    main()
