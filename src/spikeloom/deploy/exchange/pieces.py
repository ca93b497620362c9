"""Layers that only files of other libraries ask for: factors, steps, delays, several spikes."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from spikeloom.functional import Decay
from spikeloom.functional.neurons.inputs import wide
from spikeloom.functional.neurons.lif import charge, start
from spikeloom.functional.sequence import sequence, steps
from spikeloom.layers import Neuron, Temporal


class Scale(nn.Module):
    """scale x + shift, value by value.

    Shape:
        x_seq [T, N, *] -> [T, N, *]
    """

    scale: Tensor
    shift: Tensor | None

    def __init__(self, scale: Tensor, shift: Tensor | None = None) -> None:
        super().__init__()
        self.register_buffer("scale", scale)
        self.register_buffer("shift", shift)

    def forward(self, x_seq: Tensor) -> Tensor:
        scaled = self.scale * x_seq
        return scaled if self.shift is None else scaled + self.shift


class Heaviside(nn.Module):
    """1 where x > threshold, else 0; no gradient passes.

    Shape:
        x_seq [T, N, *] -> [T, N, *]
    """

    threshold: Tensor

    def __init__(self, threshold: Tensor) -> None:
        super().__init__()
        self.register_buffer("threshold", threshold)

    def forward(self, x_seq: Tensor) -> Tensor:
        return (x_seq > self.threshold).to(x_seq.dtype)


def delayed(x_seq: Tensor, past: Tensor | None, *, lag: Tensor) -> tuple[Tensor, Tensor]:
    """Every value ``lag`` steps later; 0 until then.

    y[t] = x[t - lag]

    Shape:
        x_seq [T, N, *], past [most, N, *], lag [*] of whole numbers >= 0 -> y_seq [T, N, *], past
    """
    most = int(lag.max())
    if past is None:
        past = x_seq.new_zeros(most, *x_seq.shape[1:])
    whole = torch.cat([past, x_seq])
    at = torch.arange(len(x_seq), device=x_seq.device).view(-1, *[1] * (x_seq.dim() - 1))
    at = (at + most - lag).expand(x_seq.shape)
    return whole.gather(0, at), whole[len(whole) - most :]


class Delay(Temporal):
    """Every value ``lag`` steps later; 0 until then.

    Args:
        lag: steps, whole numbers.
    Shape:
        x_seq [T, N, *] -> [T, N, *]
    """

    lag: Tensor
    function = staticmethod(delayed)

    def __init__(self, lag: Tensor) -> None:
        super().__init__()
        self.register_buffer("lag", lag.long())

    def arguments(self) -> dict[str, Any]:
        return {"lag": self.lag}


def several(
    x_seq: Tensor, v: Tensor | None = None, *, decay: Decay, v_threshold: Tensor, floor: bool
) -> tuple[Tensor, Tensor]:
    """Leaky neurons that may fire several times a step, as those of Sinabs do.

    h[t] = keep v[t-1] + gain x[t];  s[t] = trunc(h[t] / v_threshold) where h[t] > 0, else 0;
    v[t] = h[t] - v_threshold s[t], with ``floor`` at least -v_threshold. No gradient passes s.

    Shape:
        x_seq [T, N, *], v [N, *] -> count_seq [T, N, *], v [N, *]
    """
    v = start(x_seq, v)
    counts = []
    for x in steps(wide(x_seq)):
        h = charge(x, v, decay)
        s = torch.where(h > 0, torch.div(h, v_threshold, rounding_mode="trunc"), 0.0)
        v = h - v_threshold * s
        v = torch.maximum(v, -v_threshold) if floor else v
        counts.append(s.to(x_seq.dtype))
    return sequence(counts), v.to(x_seq.dtype)


class MultiSpike(Temporal):
    """Leaky neurons that may fire several times a step; see :func:`several`.

    Shape:
        x_seq [T, N, *] -> count_seq [T, N, *]
    """

    v_threshold: Tensor
    keep: Tensor
    function: Callable[..., tuple[Tensor, Any]] = staticmethod(several)

    def __init__(self, keep: Tensor, v_threshold: Tensor, *, floor: bool = False) -> None:
        super().__init__()
        self.register_buffer("keep", keep)
        self.register_buffer("v_threshold", v_threshold)
        self.floor = floor

    def arguments(self) -> dict[str, Any]:
        return {"decay": Decay(self.keep), "v_threshold": self.v_threshold, "floor": self.floor}


SPIKING = (Neuron, MultiSpike)
