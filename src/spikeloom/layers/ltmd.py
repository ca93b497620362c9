"""Neurons with a learnt threshold of either sign, from learnable thresholding (LTMD)."""

import math
from collections.abc import Sequence
from typing import Unpack

import torch
from torch import Tensor

from spikeloom.functional import Decay, Rectangle, Surrogate, Value, euler, factor
from spikeloom.layers.learnable import NeuronValue
from spikeloom.layers.membrane import Resetting
from spikeloom.layers.neurons import LIF
from spikeloom.papers import Paper
from spikeloom.registry import register

PAPER = Paper(
    key="wang2022ltmd",
    title="LTMD: Learning Improvement of Spiking Neural Networks with Learnable Thresholding "
    "Neurons and Moderate Dropout",
    authors=("Siqi Wang", "Tee Hiang Cheng", "Meng-Hiot Lim"),
    venue="Advances in Neural Information Processing Systems",
    year=2022,
    url="https://openreview.net/forum?id=BbaSRgUHW3",
    code="https://github.com/sq117/LTMD",
)
KEEP = 0.25  # of the potential per step, in the authors' code
KAPPA = 0.5  # where w starts there


@register("neuron", "ltmd", paper=PAPER, status="exact")
class LTMD(LIF):
    """LIF whose threshold is the tanh of a parameter, one for each layer.

    h[t] = keep v[t-1] + x[t];  spike[t] = h[t] > tanh(w);  v[t] = 0 where it fired, else h[t].

    The threshold may become negative, and nothing prevents it: such neurons fire at rest at every
    step. Spikes have amplitude 1 whatever it is. ``learn=["v_threshold"]`` on other neurons is
    another parametrisation, by an exponential, which keeps the threshold above the reset.

    Arguments as :class:`Membrane`, with the defaults of the authors' code; ``learn`` may hold
    ``decay`` and ``v_threshold``, and is the latter alone unless given.

    Args:
        kappa: where w starts; 0.5 (threshold 0.46212) if neither this nor ``v_threshold`` is given.
        v_threshold: the threshold at the start instead, tanh(kappa); of either sign, and between
            -1 and 1 if it is learnt.
        tau, decay: as there; ``factor(0.25)`` if neither is given.
        decay_input: whether the input is divided by ``tau``, or scaled by 0.75 without one.
        surrogate: rectangle of width 1 unless given.
    Shape:
        x_seq [T, N, *] -> spike_seq [T, N, *]
    Raises:
        ValueError: kappa and v_threshold both given; a learnt threshold that does not start between
            -1 and 1; and as :class:`Membrane`.
    Source:
        Wang, Cheng and Lim, NeurIPS 2022; constants from the authors' code.
    """

    def __init__(
        self,
        shape: Sequence[int] | None = None,
        *,
        kappa: Value | None = None,
        v_threshold: Value | None = None,
        tau: Value | None = None,
        decay_input: bool = False,
        decay: Decay | None = None,
        surrogate: Surrogate | None = None,
        strict: bool = True,
        learn: Sequence[str] = ("v_threshold",),
        **options: Unpack[Resetting],
    ) -> None:
        if kappa is not None and v_threshold is not None:
            raise ValueError("give kappa or v_threshold, not both: v_threshold is tanh(kappa)")
        if decay is None:
            own = factor(KEEP, decay_input=decay_input)
            decay = own if tau is None else euler(tau, decay_input=decay_input)
            tau = None
        super().__init__(
            shape,
            v_threshold=tanh(KAPPA if kappa is None else kappa)
            if v_threshold is None
            else v_threshold,
            tau=tau,
            decay=decay,
            surrogate=surrogate or Rectangle(),
            strict=strict,
            learn=learn,
            **options,
        )

    def _threshold(self, value: Value, rest: float) -> NeuronValue:
        return self.values.signed("v_threshold", value)


def tanh(value: Value) -> Value:
    """Of a number or a tensor."""
    return torch.tanh(value) if isinstance(value, Tensor) else math.tanh(value)
