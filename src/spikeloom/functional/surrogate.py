"""One Heaviside step, many slopes: surrogate gradients and the smooth curves they are slopes of.

The forward pass always emits hard spikes, ``spike = u >= 0`` with ``u = h - v_threshold``. In the
backward pass the missing derivative is replaced by ``surrogate.grad(u)``, the slope of
``surrogate.primitive(u)``. :class:`Smooth` emits the primitive itself, so that gradients can be
checked numerically.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from spikeloom.functional.sources import (
    BELLEC,
    BENGIO,
    PLIF,
    SLAYER,
    STBP,
    SUPERSPIKE,
    YIN,
)
from spikeloom.registry import register


@dataclass(frozen=True)
class Surrogate(ABC):
    """A curve from 0 to 1 and its slope.

    ``alpha`` is the sharpness; ``scale`` multiplies slope and curve (1: the slope has area one).
    """

    alpha: float = 1.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        if not (self.alpha > 0 and self.scale > 0):
            raise ValueError(
                f"{type(self).__name__}: alpha and scale must be > 0, "
                f"got alpha={self.alpha} and scale={self.scale}"
            )

    def grad(self, u: Tensor) -> Tensor:
        """Slope at ``u = h - v_threshold`` [v_threshold]."""
        return self.scale * self.alpha * self.slope(self.alpha * u)

    def primitive(self, u: Tensor) -> Tensor:
        """The smooth step whose slope is :meth:`grad`."""
        return self.scale * self.curve(self.alpha * u)

    @abstractmethod
    def slope(self, z: Tensor) -> Tensor:
        """Slope in the scaled coordinate ``z = alpha * u``, at unit area."""

    @abstractmethod
    def curve(self, z: Tensor) -> Tensor:
        """The curve in the scaled coordinate ``z = alpha * u``."""


def spike(u: Tensor, surrogate: "Surrogate | Smooth", *, strict: bool = False) -> Tensor:
    """Hard spikes with a surrogate gradient.

    spike = 1 where u >= 0 (``strict``: u > 0), else 0;  d spike / d u := surrogate.grad(u).

    Args:
        u: potential above threshold, ``h - v_threshold`` [v_threshold].
        surrogate: the slope used in backward; :class:`Smooth` emits the curve instead.
        strict: fire only above the threshold, not at it.
    Shape:
        u [*] -> [*], of the same dtype
    Source:
        Neftci, Mostafa and Zenke, IEEE Signal Processing Magazine 36(6), 2019.
    """
    if isinstance(surrogate, Smooth):
        return surrogate.of.primitive(u)
    spikes: Tensor = _Spike.apply(u, surrogate, strict)  # type: ignore[no-untyped-call]
    return spikes


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, u: Tensor, surrogate: Surrogate, strict: bool) -> Tensor:
        ctx.save_for_backward(u)
        ctx.surrogate = surrogate
        return (u > 0 if strict else u >= 0).to(u.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (u,) = ctx.saved_tensors
        return grads[0] * ctx.surrogate.grad(u), None, None


@dataclass(frozen=True)
class Smooth:
    """Stands in for a surrogate and makes neurons emit its primitive: for gradient checks."""

    of: Surrogate


@register("surrogate", "arctan", paper=PLIF, status="exact")
@dataclass(frozen=True)
class Arctan(Surrogate):
    """grad = (α/2) / (1 + (π α u / 2)²);  primitive = atan(π α u / 2) / π + 1/2.

    Source: Fang et al., ICCV 2021 (arXiv 2007.05785).
    """

    alpha: float = 2.0

    def slope(self, z: Tensor) -> Tensor:
        return 0.5 / (1 + (0.5 * math.pi * z).square())

    def curve(self, z: Tensor) -> Tensor:
        return torch.atan(0.5 * math.pi * z) / math.pi + 0.5


@register("surrogate", "sigmoid", paper=STBP, status="exact")
@dataclass(frozen=True)
class Sigmoid(Surrogate):
    """grad = α σ(αu) (1 − σ(αu));  primitive = σ(αu).

    Source: Wu et al., Frontiers in Neuroscience 12:331, 2018, third curve, a3 = 1/α.
    """

    alpha: float = 4.0

    def slope(self, z: Tensor) -> Tensor:
        q = torch.sigmoid(z)
        return q * (1 - q)

    def curve(self, z: Tensor) -> Tensor:
        return torch.sigmoid(z)


@register("surrogate", "triangle", paper=BELLEC, status="exact")
@dataclass(frozen=True)
class Triangle(Surrogate):
    """grad = α max(0, 1 − α|u|);  half width 1/α.

    With α = 1 and ``scale`` for its damping factor this is the pseudo-derivative of the source.
    Source: Bellec et al., NeurIPS 2018 (arXiv 1803.09574).
    """

    def slope(self, z: Tensor) -> Tensor:
        return (1 - z.abs()).clamp(min=0)

    def curve(self, z: Tensor) -> Tensor:
        inner = z.clamp(-1, 1)
        return 0.5 + inner - 0.5 * inner * inner.abs()


@register("surrogate", "rectangle", paper=STBP, status="exact")
@dataclass(frozen=True)
class Rectangle(Surrogate):
    """grad = α where α|u| < 1/2, else 0;  full width 1/α.

    Source: Wu et al., Frontiers in Neuroscience 12:331, 2018, first curve, a1 = 1/α.
    """

    def slope(self, z: Tensor) -> Tensor:
        return (z.abs() < 0.5).to(z.dtype)

    def curve(self, z: Tensor) -> Tensor:
        return (z + 0.5).clamp(0, 1)


@register("surrogate", "fast_sigmoid", paper=SUPERSPIKE, status="exact")
@dataclass(frozen=True)
class FastSigmoid(Surrogate):
    """grad = (α/2) / (1 + α|u|)²;  primitive = (αu / (1 + α|u|) + 1) / 2.

    SuperSpike's slope 1 / (1 + α|u|)² is this with ``scale = 2 / alpha``.
    Source: Zenke and Ganguli, Neural Computation 30(6), 2018.
    """

    alpha: float = 10.0

    def slope(self, z: Tensor) -> Tensor:
        return 0.5 / (1 + z.abs()).square()

    def curve(self, z: Tensor) -> Tensor:
        return 0.5 * (z / (1 + z.abs()) + 1)


@register("surrogate", "gaussian", paper=STBP, status="exact")
@dataclass(frozen=True)
class Gaussian(Surrogate):
    """grad = α φ(αu), φ the standard normal density (σ = 1/α);  primitive = Φ(αu).

    Source: Wu et al., Frontiers in Neuroscience 12:331, 2018, fourth curve, a4 = 1/α².
    """

    alpha: float = 2.0

    def slope(self, z: Tensor) -> Tensor:
        return _density(z)

    def curve(self, z: Tensor) -> Tensor:
        return _distribution(z)


@register("surrogate", "multi_gaussian", paper=YIN, status="exact")
@dataclass(frozen=True)
class MultiGaussian(Surrogate):
    """grad = (1 + a) N(u; 0, σ²) − a N(u; σ, (sσ)²) − a N(u; −σ, (sσ)²), σ = 1/α.

    A Gaussian with two negative side lobes of height ``side`` (a) and width ``stretch`` (s).
    The three areas add to 1 − a.
    Source: Yin, Corradi and Bohté, Nature Machine Intelligence 3, 2021.
    """

    alpha: float = 2.0
    side: float = 0.15
    stretch: float = 6.0

    def slope(self, z: Tensor) -> Tensor:
        lobes = _density((z - 1) / self.stretch) + _density((z + 1) / self.stretch)
        return (1 + self.side) * _density(z) - self.side / self.stretch * lobes

    def curve(self, z: Tensor) -> Tensor:
        lobes = _distribution((z - 1) / self.stretch) + _distribution((z + 1) / self.stretch)
        return (1 + self.side) * _distribution(z) - self.side * lobes


@register("surrogate", "exponential", paper=SLAYER, status="exact")
@dataclass(frozen=True)
class Exponential(Surrogate):
    """grad = (α/2) exp(−α|u|);  primitive = the Laplace distribution function.

    Source: Shrestha and Orchard (SLAYER), NeurIPS 2018.
    """

    alpha: float = 2.0

    def slope(self, z: Tensor) -> Tensor:
        return 0.5 * torch.exp(-z.abs())

    def curve(self, z: Tensor) -> Tensor:
        tail = 0.5 * torch.exp(-z.abs())
        return torch.where(z < 0, tail, 1 - tail)


@register("surrogate", "straight_through", paper=BENGIO, status="exact")
@dataclass(frozen=True)
class StraightThrough(Surrogate):
    """grad = α everywhere;  primitive = αu.

    Source: Bengio, Léonard and Courville, arXiv 1308.3432, 2013.
    """

    def slope(self, z: Tensor) -> Tensor:
        return torch.ones_like(z)

    def curve(self, z: Tensor) -> Tensor:
        return z


def _density(z: Tensor) -> Tensor:
    return torch.exp(-0.5 * z.square()) / math.sqrt(2 * math.pi)


def _distribution(z: Tensor) -> Tensor:
    area: Tensor = torch.special.ndtr(z)
    return area
