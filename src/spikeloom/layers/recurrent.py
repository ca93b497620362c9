"""Neurons that hear the last spikes of their own layer."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from spikeloom.functional import Decay, Reset, Surrogate, recurrent_lif_trace
from spikeloom.kernels import door
from spikeloom.layers.learnable import Per
from spikeloom.layers.membrane import Membrane
from spikeloom.registry import register


@register("neuron", "recurrent_lif")
class RecurrentLIF(Membrane):
    """LIF neurons whose last spikes come back to their layer through a learnt weight.

    i[t] = x[t] + W spike[t-1], then :class:`LIF` on the input i. W starts uniform within
    1 / sqrt(C), like that of ``nn.Linear``. Behind C, neurons hear those of their own place.

    Arguments as :class:`Membrane`, but ``shape`` is needed; ``learn`` may hold ``decay`` and
    ``v_threshold``, W is always learnt.

    Shape:
        x_seq [T, N, C, *] -> spike_seq [T, N, C, *]
    Raises:
        ValueError: no shape, and as :class:`Membrane`.
    Example:
        >>> RecurrentLIF((3,), tau=2.0)(torch.ones(4, 2, 3)).shape
        torch.Size([4, 2, 3])
    """

    function = staticmethod(door("recurrent_lif"))
    function_trace = staticmethod(recurrent_lif_trace)

    def __init__(
        self,
        shape: Sequence[int] | None = None,
        *,
        tau: float | None = None,
        decay_input: bool = True,
        decay: Decay | None = None,
        v_threshold: float = 1.0,
        reset: Reset = "hard",
        v_reset: float = 0.0,
        detach_reset: bool = False,
        surrogate: Surrogate | None = None,
        strict: bool = False,
        learn: Sequence[str] = (),
        per: Per = "layer",
    ) -> None:
        super().__init__(
            shape, tau=tau, decay_input=decay_input, decay=decay, v_threshold=v_threshold,
            reset=reset, v_reset=v_reset, detach_reset=detach_reset, surrogate=surrogate,
            strict=strict, learn=learn, per=per,
        )  # fmt: skip
        if not shape:
            raise ValueError(
                "recurrent neurons need shape=(C, *) of one sample: their weight is [C, C]"
            )
        bound = shape[0] ** -0.5
        self.weight = nn.Parameter(torch.empty(shape[0], shape[0]).uniform_(-bound, bound))

    def arguments(self) -> dict[str, Any]:
        return {**super().arguments(), "weight": self.weight}
