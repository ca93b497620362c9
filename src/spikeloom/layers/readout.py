"""How networks end: heads, and read-outs, which follow the last linear map.

Read-outs are none, leaky integrators, or spikes.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import nn

from spikeloom.functional import Decay, Value
from spikeloom.kernels import door
from spikeloom.layers.base import Temporal
from spikeloom.layers.learnable import Per, Values, one_decay
from spikeloom.registry import register


class Head(nn.Module):
    """What stands in place of a network's last linear layers: features in, logits out.

    It starts with weights of its own, which the network leaves as they are. In training it may
    answer every sample k times, all samples first and then all of them again; its loss must take
    that.

    Shape:
        x_seq [T, N, F] -> logits_seq [T, N, K], in training [T, kN, K]
    """


@register("readout", "li")
class LI(Temporal):
    """Leaky integrators: a read-out of potentials.

    v[t] = keep v[t-1] + gain x[t]

    Args:
        shape: [C, *] of one sample; needed only for values per channel or neuron.
        tau: time constant [steps], > 1; short for ``decay=euler(tau, ...)``.
        decay_input: with ``tau``: whether the input is divided by it.
        decay: another convention: ``exponential(...)`` or ``factor(...)``; instead of ``tau``.
        learn: may hold ``decay``.
        per: one value for the ``layer``, per ``channel`` or per ``neuron``.
    Shape:
        x_seq [T, N, *] -> v_seq [T, N, *]
    Raises:
        ValueError: tau and decay both given; tau <= 1; unknown learn or per.
    Example:
        >>> nn.Sequential(OverTime(nn.Linear(3, 2)), LI(tau=4.0))(torch.ones(5, 1, 3)).shape
        torch.Size([5, 1, 2])
    """

    function = staticmethod(door("li"))

    def __init__(
        self,
        shape: Sequence[int] | None = None,
        *,
        tau: Value | None = None,
        decay_input: bool = True,
        decay: Decay | None = None,
        learn: Sequence[str] = (),
        per: Per | Mapping[str, Per] = "layer",
    ) -> None:
        super().__init__()
        values = Values(shape, learn, per, ("decay",))
        self.decay = values.decay("decay", one_decay(tau, decay_input, decay))

    def arguments(self) -> dict[str, Any]:
        return {"decay": self.decay.now()}

    def extra_repr(self) -> str:
        return self.decay.extra_repr()


@register("readout", "none")
class NoReadout(nn.Identity):
    """What the last linear map puts out, as it is."""

    def __init__(self, shape: Sequence[int] | None = None) -> None:
        super().__init__()


@register("readout", "spikes")
def spikes(shape: tuple[int, ...], *, neuron: Callable[[tuple[int, ...]], nn.Module]) -> nn.Module:
    """One more layer of neurons: the network answers in spikes, for losses on spike counts.

    Args:
        shape: (K,), one neuron for each class.
        neuron: makes the neurons; those of the network unless told otherwise.
    """
    return neuron(shape)
