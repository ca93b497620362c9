"""Neurons whose spikes have three values: 0, 1, 2, or -1, 0, 1 times an amplitude."""

from collections.abc import Sequence
from typing import Any, Unpack

from torch import Tensor

from spikeloom.functional import (
    Trace,
    Value,
    ternary_lif_trace,
    ternary_spike_trace,
)
from spikeloom.kernels import door
from spikeloom.layers.learnable import ends
from spikeloom.layers.membrane import Leaking, Membrane
from spikeloom.papers import Paper
from spikeloom.registry import register

SPIK_NERF = Paper(
    key="wan2025spiknerf",
    title="Spik-NeRF: Spiking Neural Networks for Neural Radiance Fields",
    authors=(
        "Gang Wan",
        "Qinlong Lan",
        "Zihan Li",
        "Huimin Wang",
        "Yitian Wu",
        "Zhen Wang",
        "Wanhua Li",
        "Yufei Guo",
    ),
    venue="Advances in Neural Information Processing Systems",
    year=2025,
    url="https://openreview.net/forum?id=047VzZEpnu",
)
TERNARY_SPIKE = Paper(
    key="guo2024ternary",
    title="Ternary Spike: Learning Ternary Spikes for Spiking Neural Networks",
    authors=(
        "Yufei Guo",
        "Yuanpei Chen",
        "Xiaode Liu",
        "Weihang Peng",
        "Yuhan Zhang",
        "Xuhui Huang",
        "Zhe Ma",
    ),
    venue="AAAI Conference on Artificial Intelligence",
    year=2024,
    url="https://arxiv.org/abs/2312.06372",
    code="https://github.com/yfguo91/Ternary-Spike",
)


@register("neuron", "ternary_lif", paper=SPIK_NERF, status="exact")
class TernaryLIF(Membrane):
    """Leaky neurons whose spikes have levels 0, 1 and 2.

    s[t] = [h[t] >= v_threshold] + [h[t] >= v_threshold + gap];  any spike resets.

    Spik-NeRF has v_threshold 0.5, gap 1, keep 0.25 and the rectangle of width 1 for a surrogate.
    For inference, :func:`spikeloom.deploy.signed` turns the levels to -1, 0 and 1.

    Arguments as :class:`Membrane`; ``learn`` may hold ``decay``, ``v_threshold`` and ``gap``. A
    soft reset subtracts ``gap`` for each level.

    Args:
        gap: from the threshold of level 1 to that of level 2, > 0.
    Shape:
        x_seq [T, N, *] -> spike_seq [T, N, *]
    Raises:
        ValueError: gap <= 0, and as :class:`Membrane`.
    Source:
        Wan et al., NeurIPS 2025; see :func:`spikeloom.functional.ternary_lif`.
    """

    function = staticmethod(door("ternary_lif"))
    function_trace = staticmethod(ternary_lif_trace)
    learnable = (*Membrane.learnable, "gap")

    def __init__(
        self,
        shape: Sequence[int] | None = None,
        *,
        gap: Value = 1.0,
        **options: Unpack[Leaking],
    ) -> None:
        super().__init__(shape, **options)
        if not ends(gap)[0] > 0:
            raise ValueError(f"gap must be > 0: level 2 lies above level 1; got {gap}")
        self.gap = self.values.above("gap", gap)

    def arguments(self) -> dict[str, Any]:
        return {**super().arguments(), "gap": self.gap.now()}


@register("neuron", "ternary_spike", paper=TERNARY_SPIKE, status="exact")
class TernarySpike(Membrane):
    """Leaky neurons that fire with either sign, and with an amplitude that is learnt.

    b[t] = [h[t] >= v_threshold] - [h[t] <= -v_threshold];  what comes out is amplitude b[t].

    The paper has v_threshold 0.5, keep 0.25 and the rectangle of width 1 for a surrogate. As an
    amplitude is a factor of the weights that follow, inference still only adds and subtracts.

    Arguments as :class:`Membrane`; ``learn`` may hold ``decay``, ``v_threshold`` and ``amplitude``,
    and holds the last one unless it is given. The reset potential is 0.

    Args:
        amplitude: where it starts, > 0.
    Shape:
        x_seq [T, N, *] -> spike_seq [T, N, *]
    Raises:
        ValueError: amplitude <= 0; another reset potential than 0; and as :class:`Membrane`.
    Source:
        Guo et al., AAAI 2024 (arXiv 2312.06372); see :func:`spikeloom.functional.ternary_spike`.
    """

    function = staticmethod(door("ternary_spike"))
    function_trace = staticmethod(ternary_spike_trace)
    learnable = (*Membrane.learnable, "amplitude")

    def __init__(
        self,
        shape: Sequence[int] | None = None,
        *,
        amplitude: Value = 1.0,
        **options: Unpack[Leaking],
    ) -> None:
        options.setdefault("learn", ("amplitude",))
        super().__init__(shape, **options)
        if not ends(amplitude)[0] > 0:
            raise ValueError(f"amplitude must be > 0, got {amplitude}; spikes have either sign")
        if self.v_reset:
            raise ValueError(f"v_reset must be 0 between two thresholds, got {self.v_reset}")
        self.amplitude = self.values.above("amplitude", amplitude)

    def arguments(self) -> dict[str, Any]:
        own = {**super().arguments(), "amplitude": self.amplitude.now()}
        del own["v_reset"]
        return own


_levels = door("ternary_lif")


def _shifted(x_seq: Tensor, v: Tensor | None = None, **options: Any) -> tuple[Tensor, Tensor]:
    spike_seq, v = _levels(x_seq, v, **options)
    return spike_seq - 1, v


def _shifted_trace(x_seq: Tensor, v: Tensor | None = None, **options: Any) -> Trace:
    trace = ternary_lif_trace(x_seq, v, **options)
    return trace._replace(spike_seq=trace.spike_seq - 1)


class ShiftedTernaryLIF(TernaryLIF):
    """:class:`TernaryLIF` that sends its level less 1: -1, 0 or 1.

    Maps that read it have the sum of their weights in their bias, see
    :func:`spikeloom.deploy.signed`; silence is sent as -1, and so nothing of the dynamics changes.

    Shape:
        x_seq [T, N, *] -> spike_seq [T, N, *]
    """

    function = staticmethod(_shifted)
    function_trace = staticmethod(_shifted_trace)

    @classmethod
    def of(cls, neuron: TernaryLIF) -> "ShiftedTernaryLIF":
        """The same neurons with the same values, not a copy of these."""
        twin = cls.__new__(cls)
        twin.__dict__.update(neuron.__dict__)
        return twin
