"""Neuron layers: parameters around one function of ``spikeloom.functional`` each.

LIF is :class:`Membrane` with a function; the others add what is theirs and pass the rest on.
"""

from collections.abc import Sequence
from typing import Any, Unpack

import torch
from torch import Tensor, nn

from spikeloom.functional import (
    NO_DECAY,
    ALIFTrace,
    Decay,
    Value,
    alif_trace,
    cuba_lif_trace,
    exponential,
    lif_trace,
)
from spikeloom.functional.sources import BELLEC, PLIF
from spikeloom.kernels import door
from spikeloom.layers.base import AnyTrace, State
from spikeloom.layers.learnable import ends, one_decay
from spikeloom.layers.membrane import Firing, Leaking, Membrane
from spikeloom.registry import register


@register("neuron", "lif")
class LIF(Membrane):
    """Leaky integrate-and-fire neurons.

    h[t] = rest + keep (v[t-1] - rest) + gain x[t];  spike[t] = h[t] >= v_threshold;  then reset.

    Arguments as :class:`Membrane`; ``learn`` may hold ``decay`` and ``v_threshold``.

    Shape:
        x_seq [T, N, *] -> spike_seq [T, N, *]
    Source:
        Gerstner et al., Neuronal Dynamics (2014), sec. 1.3; see :func:`spikeloom.functional.lif`.
    Example:
        >>> LIF(tau=2.0)(torch.ones(4, 2, 3)).shape
        torch.Size([4, 2, 3])
    """

    function = staticmethod(door("lif"))
    function_trace = staticmethod(lif_trace)


@register("neuron", "plif", paper=PLIF, status="exact")
class ParametricLIF(LIF):
    """Parametric LIF: LIF whose decay is learnt.

    1/tau = sigmoid(w), where w is learnt; ``tau`` is where it starts.

    Arguments as :class:`Membrane`; ``learn`` may add ``v_threshold``.

    Shape:
        x_seq [T, N, *] -> spike_seq [T, N, *]
    Source:
        Fang et al., ICCV 2021 (arXiv 2007.05785).
    """

    always_learnt = ("decay",)


@register("neuron", "if")
class IF(LIF):
    """Integrate-and-fire neurons: LIF that forgets nothing.

    h[t] = v[t-1] + x[t];  spike[t] = h[t] >= v_threshold;  then reset.

    Arguments as :class:`Membrane`, without a leak; ``learn`` may hold ``v_threshold``.

    Shape:
        x_seq [T, N, *] -> spike_seq [T, N, *]
    Source:
        Gerstner et al., Neuronal Dynamics (2014), sec. 1.3; see :func:`spikeloom.functional.if_`.
    """

    learnable = ("v_threshold",)

    def __init__(self, shape: Sequence[int] | None = None, **options: Unpack[Firing]) -> None:
        if leak := options.keys() - Firing.__annotations__.keys():
            raise TypeError(
                f"IF neurons do not leak and take no {', '.join(sorted(leak))}; use LIF"
            )
        super().__init__(shape, decay=NO_DECAY, **options)


@register("neuron", "alif", paper=BELLEC, status="exact")
class ALIF(Membrane):
    """Adaptive LIF neurons: every spike raises the neuron's threshold for a while.

    spike[t] = h[t] >= v_threshold + beta a[t-1];  a[t] = keep_a a[t-1] + gain_a spike[t].

    Arguments as :class:`Membrane`, and those of the adaptation; ``learn`` may hold ``decay``,
    ``adaptation_decay``, ``beta`` and ``v_threshold``.

    Args:
        tau_adaptation: time constant of the adaptation [steps], > 0; short for
            ``adaptation_decay=exponential(tau_adaptation)``; 200 if neither is given.
        adaptation_decay: another convention; instead of ``tau_adaptation``.
        beta: rise of the threshold per unit of adaptation [v_threshold], >= 0; learnt, it stays
            above 0.
    Shape:
        x_seq [T, N, *] -> spike_seq [T, N, *]
    Raises:
        ValueError: tau_adaptation and adaptation_decay both given; beta < 0; and as
            :class:`Membrane`.
    Source:
        Bellec et al., NeurIPS 2018 (arXiv 1803.09574); see :func:`spikeloom.functional.alif`.
    """

    function = staticmethod(door("alif"))
    function_trace = staticmethod(alif_trace)
    learnable = (*Membrane.learnable, "adaptation_decay", "beta")

    def __init__(
        self,
        shape: Sequence[int] | None = None,
        *,
        tau_adaptation: Value | None = None,
        adaptation_decay: Decay | None = None,
        beta: Value = 0.2,
        **options: Unpack[Leaking],
    ) -> None:
        super().__init__(shape, **options)
        if adaptation_decay is not None and tau_adaptation is not None:
            raise ValueError("give tau_adaptation or adaptation_decay, not both")
        start = adaptation_decay or exponential(200.0 if tau_adaptation is None else tau_adaptation)
        if not ends(beta)[0] >= 0:
            raise ValueError(f"beta must be >= 0: spikes raise the threshold; got {beta}")
        self.adaptation_decay = self.values.decay("adaptation_decay", start)
        self.beta = self.values.above("beta", beta)

    def arguments(self) -> dict[str, Any]:
        return {
            **super().arguments(),
            "adaptation_decay": self.adaptation_decay.now(),
            "beta": self.beta.now(),
        }

    def threshold(self, trace: AnyTrace, state: State = None) -> Tensor:
        assert isinstance(trace, ALIFTrace)
        first = torch.zeros_like(trace.a_seq[0]) if state is None else state.a
        before = torch.cat([first[None], trace.a_seq[:-1]])
        return super().threshold(trace, state) + self.beta.now() * before


@register("neuron", "cuba_lif")
class CubaLIF(Membrane):
    """Current-based LIF neurons: the input charges a synaptic current, which drives the membrane.

    i[t] = keep_syn i[t-1] + gain_syn x[t], then :class:`LIF` on the input i.

    Arguments as :class:`Membrane`, and those of the synapse; ``learn`` may hold ``decay``,
    ``synapse`` and ``v_threshold``.

    Args:
        tau_syn: synaptic time constant [steps], > 1; short for ``synapse=euler(tau_syn, ...)``,
            with the ``decay_input`` of the membrane.
        synapse: another convention; instead of ``tau_syn``.
    Shape:
        x_seq [T, N, *] -> spike_seq [T, N, *]
    Raises:
        ValueError: tau_syn and synapse both given, and as :class:`Membrane`.
    Source:
        Gerstner et al., Neuronal Dynamics (2014), sec. 1.3 and 3.1;
        see :func:`spikeloom.functional.cuba_lif`.
    """

    function = staticmethod(door("cuba_lif"))
    function_trace = staticmethod(cuba_lif_trace)
    learnable = (*Membrane.learnable, "synapse")

    def __init__(
        self,
        shape: Sequence[int] | None = None,
        *,
        tau_syn: Value | None = None,
        synapse: Decay | None = None,
        **options: Unpack[Leaking],
    ) -> None:
        super().__init__(shape, **options)
        start = one_decay(tau_syn, options.get("decay_input", True), synapse)
        self.synapse = self.values.decay("synapse", start)

    def arguments(self) -> dict[str, Any]:
        return {**super().arguments(), "synapse": self.synapse.now()}


@register("neuron", "relu")
class ReLU(nn.ReLU):
    """No neuron but a rectifier: turns a spiking model into its ReLU twin.

    y = min(max(x, 0), clip)

    Args:
        shape: not needed.
        clip: the most that it puts out, > 0; None for no bound.
    Shape:
        x_seq [T, N, *] -> [T, N, *]
    Raises:
        ValueError: clip <= 0.
    """

    def __init__(self, shape: Sequence[int] | None = None, *, clip: float | None = None) -> None:
        super().__init__()
        if clip is not None and not clip > 0:
            raise ValueError(f"clip must be > 0, got {clip}: a rectifier that puts out nothing")
        self.clip = clip

    def forward(self, x_seq: Tensor) -> Tensor:
        return super().forward(x_seq) if self.clip is None else x_seq.clamp(0, self.clip)

    def extra_repr(self) -> str:
        return "" if self.clip is None else f"clip={self.clip:g}"
