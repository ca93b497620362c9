"""Neurons that hear the last spikes of their own layer."""

from collections.abc import Sequence
from typing import Any, Unpack

import torch
from torch import nn

from spikeloom.functional import recurrent_lif_trace
from spikeloom.kernels import door
from spikeloom.layers.membrane import Leaking, Membrane
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
    Source:
        Gerstner et al., Neuronal Dynamics (2014), sec. 1.3, with a delay of one step; see
        :func:`spikeloom.functional.recurrent_lif`.
    Example:
        >>> RecurrentLIF((3,), tau=2.0)(torch.ones(4, 2, 3)).shape
        torch.Size([4, 2, 3])
    """

    function = staticmethod(door("recurrent_lif"))
    function_trace = staticmethod(recurrent_lif_trace)

    def __init__(self, shape: Sequence[int] | None = None, **options: Unpack[Leaking]) -> None:
        super().__init__(shape, **options)
        if not shape:
            raise ValueError(
                "recurrent neurons need shape=(C, *) of one sample: their weight is [C, C]"
            )
        bound = shape[0] ** -0.5
        self.weight = nn.Parameter(torch.empty(shape[0], shape[0]).uniform_(-bound, bound))

    def arguments(self) -> dict[str, Any]:
        return {**super().arguments(), "weight": self.weight}
