"""The decays of synapses: how they are drawn, and what of them is learnt."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from spikeloom.functional import Decay, Value
from spikeloom.layers.learnable import NeuronValue, Share

Kept = Literal["clamped", "sigmoid", "timescale"]
Draw = Literal["normal", "uniform"]
MARGIN = 1e-4  # from 0 and 1, where a logit starts


class Clamped(NeuronValue):
    """A value that is the parameter itself, cut off at 0 and 1 after every update.

    Source: the code of Deng et al., NeurIPS 2025.
    """

    def __init__(self, value: Value) -> None:
        super().__init__(value, torch.as_tensor(value).clone())

    def after_update(self) -> None:
        """Bring the value back into its bounds, outside of the gradient."""
        with torch.no_grad():
            self.raw.clamp_(0, 1)


class Timescale(NeuronValue):
    """A value exp(-1 / tau) with tau = start exp(raw), so that steps change tau by a share of it.

    ``raw`` starts at 0, so weight decay pulls to where it started.
    """

    def __init__(self, value: Value) -> None:
        start = torch.as_tensor(value)
        super().__init__(value, torch.zeros_like(start))
        self.register_buffer("rate", -start.log())
        self.rate: Tensor

    def from_raw(self) -> Tensor:
        return torch.exp(-self.rate * torch.exp(-self.raw))


class SynapticDecay(nn.Module):
    """Decays exp(-dt / tau) of synapses, drawn once, and perhaps learnt.

    Args:
        shape: of the tensor of decays; of none, one number.
        tau: time constant; or two numbers: mean and standard deviation of a normal draw, or the
            ends of a uniform one. What is drawn is at least ``dt``.
        dt: length of a step, in the unit of ``tau``.
        draw: how two numbers are meant.
        learn: whether the decays are parameters.
        kept: what the parameter is: the decay itself, ``clamped`` to 0..1 after every update, as
            published; its logit (``sigmoid``); or the logarithm of tau (``timescale``).
    Raises:
        ValueError: tau or dt not above 0, a spread below 0, or an unknown word.
    """

    def __init__(
        self,
        shape: Sequence[int],
        *,
        tau: float | tuple[float, float] = 20.0,
        dt: float = 1.0,
        draw: Draw = "normal",
        learn: bool = True,
        kept: Kept = "clamped",
    ) -> None:
        super().__init__()
        if kept not in ("clamped", "sigmoid", "timescale"):
            raise ValueError(f"kept must be 'clamped', 'sigmoid' or 'timescale', got {kept!r}")
        if not dt > 0:
            raise ValueError(f"dt is the length of a step, > 0, got {dt}")
        self.dt, self.kept = dt, kept
        self.keep = self.at(drawn_tau(shape, tau, dt, draw), dt, learn, kept)

    @staticmethod
    def at(tau: Tensor, dt: float, learn: bool, kept: Kept) -> NeuronValue:
        """Decays of these time constants."""
        start = torch.exp(-dt / tau)
        return made(start, kept) if learn else NeuronValue(start)

    def now(self) -> Decay:
        """The decay to compute with."""
        return Decay(self.keep.now(), trusted=True)

    def tau(self) -> Tensor:
        """Time constants as they are now, in the unit of ``dt``; without end at a decay of 1."""
        keep = torch.as_tensor(self.keep.now()).detach()
        return -self.dt / keep.log()

    def extra_repr(self) -> str:
        return f"kept={self.kept!r}, learnt={self.keep.learnt}"


def made(start: Tensor, kept: Kept) -> NeuronValue:
    """A learnt decay that starts there."""
    if kept == "clamped":
        return Clamped(start)
    inside = start.clamp(MARGIN, 1 - MARGIN)
    return Share(inside, learn=True) if kept == "sigmoid" else Timescale(inside)


def drawn_tau(
    shape: Sequence[int], tau: float | tuple[float, float], dt: float, draw: Draw
) -> Tensor:
    """Time constants, at least ``dt`` where they are drawn.

    Shape:
        -> ``shape``
    """
    if draw not in ("normal", "uniform"):
        raise ValueError(f"draw must be 'normal' or 'uniform', got {draw!r}")
    if isinstance(tau, int | float):
        if not (tau > 0 and math.isfinite(tau)):
            raise ValueError(f"tau must be > 0 and finite, got {tau}")
        return torch.full(tuple(shape), float(tau))
    first, second = tau
    if draw == "normal":
        if not (first > 0 and second >= 0):
            raise ValueError(f"tau = (mean, deviation) needs mean > 0, deviation >= 0, got {tau}")
        found = first + second * torch.randn(tuple(shape))
    else:
        if not 0 < first <= second:
            raise ValueError(f"tau = (least, greatest) needs 0 < least <= greatest, got {tau}")
        found = first + (second - first) * torch.rand(tuple(shape))
    return found.clamp(min=dt)
