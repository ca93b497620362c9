"""Double-exponential neurons, and the read-out that prefers their early spikes."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, TypedDict, Unpack

import torch
from torch import Tensor, nn

from spikeloom.functional import (
    NO_DECAY,
    Surrogate,
    Value,
    double_exponential_trace,
    early,
)
from spikeloom.functional.neurons.double_exponential import response
from spikeloom.kernels import door
from spikeloom.layers.learnable import Per
from spikeloom.layers.membrane import Membrane
from spikeloom.papers import Paper
from spikeloom.registry import register

PAPER = Paper(
    key="zhu2023exploring",
    title="Exploring Loss Functions for Time-based Training Strategy in Spiking Neural Networks",
    authors=("Yaoyu Zhu", "Wei Fang", "Xiaodong Xie", "Tiejun Huang", "Zhaofei Yu"),
    venue="Advances in Neural Information Processing Systems",
    year=2023,
    url="https://openreview.net/forum?id=8IvW2k5VeA",
    code="https://github.com/zhuyaoyu/SNN-temporal-training-losses",
)


class Clearing(TypedDict, total=False):
    """How a neuron fires whose reset clears all; :class:`Membrane` explains the options."""

    v_threshold: Value
    surrogate: Surrogate | None
    strict: bool
    detach_reset: bool
    learn: Sequence[str]
    per: Per | Mapping[str, Per]


@register("neuron", "double_exponential", paper=PAPER, status="exact")
class DoubleExponential(Membrane):
    """Double-exponential neurons: two synaptic traces and a reset that clears both.

    a[t] = keep_m (a[t-1] + x[t]);  b[t] = keep_s (b[t-1] + x[t]);
    spike[t] = gain (a[t] - b[t]) >= v_threshold, which clears a and b.

    Arguments as :class:`Membrane`, without leak and kind of reset; ``learn`` may hold
    ``v_threshold``. Beside thresholds that are a buffer, the buffer ``calibrated`` is 1 once a
    learner has set them to a rate, which happens once in the life of a model.

    Args:
        tau_m: time constant of the slow trace [steps].
        tau_s: time constant of the fast trace [steps], at least 1 and less than ``tau_m``.
    Shape:
        x_seq [T, N, *] -> spike_seq [T, N, *]
    Raises:
        ValueError: tau_m > tau_s >= 1 does not hold; and as :class:`Membrane`.
    Source:
        Zhu et al., NeurIPS 2023; see :func:`spikeloom.functional.double_exponential`.
    """

    function = staticmethod(door("double_exponential"))
    function_trace = staticmethod(double_exponential_trace)
    learnable: ClassVar[tuple[str, ...]] = ("v_threshold",)
    calibrated: Tensor | None

    def __init__(
        self,
        shape: Sequence[int] | None = None,
        *,
        tau_m: float = 5.0,
        tau_s: float = 3.0,
        **options: Unpack[Clearing],
    ) -> None:
        if other := options.keys() - Clearing.__annotations__.keys():
            raise TypeError(
                f"double-exponential neurons leak by tau_m and tau_s and reset in full; they take "
                f"no {', '.join(sorted(other))}"
            )
        response(tau_m, tau_s)
        super().__init__(shape, decay=NO_DECAY, **options)
        self.tau_m, self.tau_s = tau_m, tau_s
        theta = self.v_threshold
        moves = not theta.learnt and theta.number is None
        # A float, so that averages of models keep it.
        self.register_buffer("calibrated", torch.zeros(()) if moves else None)

    def arguments(self) -> dict[str, Any]:
        return {
            "tau_m": self.tau_m,
            "tau_s": self.tau_s,
            "v_threshold": self.v_threshold.now(),
            "detach_reset": self.detach_reset,
            "surrogate": self.surrogate,
            "strict": self.strict,
        }

    def extra_repr(self) -> str:
        return f"tau_m={self.tau_m}, tau_s={self.tau_s}, {self.surrogate}"


@register("readout", "early_spikes", paper=PAPER, status="exact")
class EarlySpikes(nn.Module):
    """One more layer of neurons, of whose answers the earlier one counts a little more.

    In training the spikes as they are, for losses on them; in evaluation
    score[t] = s[t] (1.1 - t / (10 T)), so that classes with equal counts differ.

    Args:
        shape: (K,), one neuron for each class.
        neuron: makes the neurons; those of the network unless told otherwise.
    Shape:
        x_seq [T, N, K] -> spike_seq [T, N, K], in evaluation score_seq [T, N, K]
    Source:
        The code of Zhu et al., NeurIPS 2023.
    """

    def __init__(
        self, shape: tuple[int, ...], *, neuron: Callable[[tuple[int, ...]], nn.Module]
    ) -> None:
        super().__init__()
        self.neuron = neuron(shape)

    def forward(self, x_seq: Tensor) -> Tensor:
        spike_seq: Tensor = self.neuron(x_seq)
        return spike_seq if self.training else early(spike_seq)
