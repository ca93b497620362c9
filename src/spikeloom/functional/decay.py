"""How a leaky state forgets: the field's three conventions, named, as one value.

Every one of them is ``state <- keep * state + gain * input`` with ``gain`` 1 or ``1 - keep``.
"""

import math
from dataclasses import InitVar, dataclass

import torch
from torch import Tensor

from spikeloom.registry import register

Value = float | Tensor


@dataclass(frozen=True)
class Decay:
    """Leak per step: ``state <- keep * state + gain * input``.

    ``keep`` is a number or a tensor that broadcasts against [N, *], from 0 (nothing stays) to 1
    (nothing is lost); ``decay_input`` says whether the input is scaled by ``1 - keep``. Whoever
    knows that a tensor keeps to that range may say ``trusted``, and its values are not looked at.

    Raises:
        ValueError: keep outside [0, 1].
    """

    keep: Value
    decay_input: bool = False
    trusted: InitVar[bool] = False

    def __post_init__(self, trusted: bool) -> None:
        if not trusted:
            _check("keep", self.keep, low=0.0, high=1.0, closed=True)

    @property
    def gain(self) -> Value:
        """Factor on the input: ``1 - keep`` if the input decays too, else 1."""
        return 1.0 - self.keep if self.decay_input else 1.0


@register("decay", "euler")
def euler(tau: Value = 2.0, *, decay_input: bool = True) -> Decay:
    """Forward Euler with step 1: ``keep = 1 - 1/tau``, input divided by tau if ``decay_input``.

    Args:
        tau: membrane time constant [steps], > 1.
        decay_input: whether the input is divided by ``tau``.

    Raises:
        ValueError: tau <= 1.
    Source:
        Gerstner et al., Neuronal Dynamics (2014), sec. 1.3.
    """
    _check("tau", tau, low=1.0)
    return Decay(1.0 - 1.0 / tau, decay_input, trusted=True)


@register("decay", "exponential")
def exponential(tau: Value, *, dt: float = 1.0, decay_input: bool = False) -> Decay:
    """Exact decay over one step of length ``dt``: ``keep = exp(-dt / tau)``.

    Args:
        tau: membrane time constant, in the unit of ``dt``, > 0.
        dt: length of a step, > 0.
        decay_input: whether the input is scaled by ``1 - keep`` (exact for constant input).

    Raises:
        ValueError: tau <= 0 or dt <= 0.
    Source:
        Gerstner et al., Neuronal Dynamics (2014), sec. 1.3: the solution of the leaky membrane's
        equation over one step without, and with, a constant input.
    """
    _check("tau", tau, low=0.0)
    _check("dt", dt, low=0.0)
    keep = torch.exp(-dt / tau) if isinstance(tau, Tensor) else math.exp(-dt / tau)
    return Decay(keep, decay_input, trusted=True)


@register("decay", "factor")
def factor(beta: Value, *, decay_input: bool = False) -> Decay:
    """The factor itself: ``keep = beta`` (papers also call it λ, α or τ).

    Args:
        beta: share of the state kept per step, in [0, 1].
        decay_input: whether the input is scaled by ``1 - beta``.

    Raises:
        ValueError: beta outside [0, 1].
    Source:
        Neftci, Mostafa and Zenke, IEEE Signal Processing Magazine 36(6), 2019, where the membrane
        is written with such a factor, beta.
    """
    _check("beta", beta, low=0.0, high=1.0, closed=True)
    return Decay(beta, decay_input, trusted=True)


def _check(
    name: str, value: Value, *, low: float, high: float = float("inf"), closed: bool = False
) -> None:
    if isinstance(value, Tensor):
        if not value.numel():
            return
        smallest, largest = (float(end) for end in value.detach().aminmax())
    else:
        smallest = largest = float(value)
    fits = low <= smallest and largest <= high if closed else low < smallest and largest < high
    if not fits:
        want = f"in [{low:g}, {high:g}]" if closed else f"> {low:g}"
        raise ValueError(f"{name} must be {want} and finite, got {value}")


NO_DECAY = Decay(1.0)
