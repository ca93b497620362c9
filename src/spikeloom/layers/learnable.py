"""Numbers of a neuron that may be learnt: for the layer, per channel or per neuron."""

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from spikeloom.functional import Decay, euler

Per = Literal["layer", "channel", "neuron"]


class Constant(nn.Module):
    """A number that may be learnt, for the layer, per channel or per neuron.

    Args:
        value: where it starts.
        learn: whether it is a parameter (else a buffer).
        per: one value for the ``layer``, one per ``channel`` or one per ``neuron``.
        shape: [C, *] of one sample, needed unless ``per`` is ``layer``.
        to_raw, from_raw: the change of variable under which it is learnt.
    Raises:
        ValueError: unknown ``per``, or values per channel or neuron without a shape.
    """

    raw: Tensor

    def __init__(
        self,
        value: float,
        *,
        learn: bool = False,
        per: Per = "layer",
        shape: Sequence[int] | None = None,
        to_raw: Callable[[Tensor], Tensor] | None = None,
        from_raw: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.value = value
        self.fixed = not learn and per == "layer"
        self.from_raw = from_raw
        raw = torch.full(_parameter_shape(per, shape), float(value))
        if self.fixed:
            return
        if learn:
            self.raw = nn.Parameter(to_raw(raw) if to_raw else raw)
        else:
            self.from_raw = None
            self.register_buffer("raw", raw)

    def now(self) -> float | Tensor:
        """The value to compute with."""
        if self.fixed:
            return self.value
        return self.from_raw(self.raw) if self.from_raw else self.raw


class LearntDecay(nn.Module):
    """A :class:`Decay` whose ``keep`` may be learnt, as the logit of ``keep``.

    keep = sigmoid(raw), so 1/tau = sigmoid(-raw), which is parametric LIF's w up to its sign.

    Raises:
        ValueError: a learnt decay that starts outside (0, 1).
    """

    def __init__(
        self,
        start: Decay,
        *,
        learn: bool = False,
        per: Per = "layer",
        shape: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        keep = float(start.keep)
        if learn and not 0.0 < keep < 1.0:
            raise ValueError(f"a learnt decay must start between 0 and 1, got keep = {keep}")
        self.start = start
        self.keep = Constant(
            keep, learn=learn, per=per, shape=shape, to_raw=torch.logit, from_raw=torch.sigmoid
        )

    def now(self) -> Decay:
        """The decay to compute with."""
        return Decay(self.keep.now(), self.start.decay_input)


def one_decay(tau: float | None, decay_input: bool, decay: Decay | None) -> Decay:
    """The decay that was asked for, by time constant or as it is; ``euler(2)`` if neither.

    Raises:
        ValueError: both given.
    """
    if decay is not None and tau is not None:
        raise ValueError("give tau or decay, not both: decay already says how the state forgets")
    return decay or euler(2.0 if tau is None else tau, decay_input=decay_input)


def check_learn(learn: Iterable[str], learnable: Sequence[str]) -> None:
    """Raise ValueError unless everything to learn is something this layer can learn."""
    if unknown := set(learn) - set(learnable):
        choices = ", ".join(map(repr, learnable))
        raise ValueError(f"learn may hold {choices}; got {', '.join(map(repr, sorted(unknown)))}")


def _parameter_shape(per: Per, shape: Sequence[int] | None) -> tuple[int, ...]:
    if per == "layer":
        return ()
    if per not in ("channel", "neuron"):
        raise ValueError(f"per must be 'layer', 'channel' or 'neuron', got {per!r}")
    if shape is None:
        raise ValueError(f"a value per {per} needs shape=(C, *) of one sample")
    return tuple(shape) if per == "neuron" else (shape[0], *(1 for _ in shape[1:]))
