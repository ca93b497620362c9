"""Neuron layers: parameters around one function of ``spikeloom.functional``.

A neuron layer holds what a neuron *is* (decay, threshold, reset, surrogate) and reaches its
dynamics through one replaceable ``rule``; :func:`ruled` swaps it for the length of a ``with``.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from spikeloom.functional import (
    NO_DECAY,
    Arctan,
    Decay,
    Reset,
    Surrogate,
    euler,
    lif,
)
from spikeloom.registry import register

State = Any  # a tensor, or the named tuple of tensors that the neuron's function returns
Rule = Callable[["Neuron", Tensor, State], tuple[Tensor, State]]
Per = Literal["layer", "channel", "neuron"]


def dynamics(neuron: "Neuron", x_seq: Tensor, state: State) -> tuple[Tensor, State]:
    """The default rule: the neuron's own function with its own parameters."""
    return neuron.function(x_seq, state, **neuron.parameters_now())


class Neuron(nn.Module):
    """A layer of spiking neurons over a whole sequence.

    ``forward`` starts at rest each call; ``scan`` carries the state explicitly, for streaming.

    Shape:
        x_seq [T, N, *] -> spike_seq [T, N, *]
    """

    function: Callable[..., tuple[Tensor, State]]

    def __init__(self) -> None:
        super().__init__()
        self.rule: Rule = dynamics

    def parameters_now(self) -> dict[str, Any]:
        """Keyword arguments for ``function``, read from the layer's parameters."""
        raise NotImplementedError

    def forward(self, x_seq: Tensor) -> Tensor:
        return self.rule(self, x_seq, None)[0]

    def scan(self, x_seq: Tensor, state: State = None) -> tuple[Tensor, State]:
        """``forward`` from a given state; also returns the state after the last step."""
        return self.rule(self, x_seq, state)


@contextmanager
def ruled(model: nn.Module, rule: Rule) -> Iterator[list[Neuron]]:
    """Let every neuron of ``model`` follow ``rule`` inside the block; restores the old rules."""
    neurons = [module for module in model.modules() if isinstance(module, Neuron)]
    before = [neuron.rule for neuron in neurons]
    try:
        for neuron in neurons:
            neuron.rule = rule
        yield neurons
    finally:
        for neuron, old in zip(neurons, before, strict=True):
            neuron.rule = old


class Constant(nn.Module):
    """A number that may be learnt, for the layer, per channel or per neuron.

    Args:
        value: where it starts.
        learn: whether it is a parameter (else a buffer).
        per: one value for the ``layer``, one per ``channel`` or one per ``neuron``.
        shape: [C, *] of one sample, needed unless ``per`` is ``layer``.
        to_raw, from_raw: the change of variable under which it is learnt.
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


def _parameter_shape(per: Per, shape: Sequence[int] | None) -> tuple[int, ...]:
    if per == "layer":
        return ()
    if per not in ("channel", "neuron"):
        raise ValueError(f"per must be 'layer', 'channel' or 'neuron', got {per!r}")
    if shape is None:
        raise ValueError(f"a value per {per} needs shape=(C, *) of one sample")
    return tuple(shape) if per == "neuron" else (shape[0], *(1 for _ in shape[1:]))


@register("neuron", "lif")
class LIF(Neuron):
    """Leaky integrate-and-fire neurons.

    h[t] = rest + keep (v[t-1] - rest) + gain x[t];  spike[t] = h[t] >= v_threshold;  then reset.

    Args:
        shape: [C, *] of one sample; needed only for values per channel or neuron.
        tau: membrane time constant [steps], > 1; short for ``decay=euler(tau, ...)``.
        decay_input: with ``tau``: whether the input is divided by it.
        decay: another convention: ``exponential(...)`` or ``factor(...)``; instead of ``tau``.
        v_threshold: firing threshold.
        reset: ``hard``, ``soft`` or ``none``.
        v_reset: potential after a hard reset [v_threshold].
        detach_reset: leave the reset out of the gradient.
        surrogate: slope of the spike in backward.
        strict: fire only above the threshold.
        learn: which of ``decay`` and ``v_threshold`` are parameters.
        per: one value for the ``layer``, per ``channel`` or per ``neuron``.
    Shape:
        x_seq [T, N, *] -> spike_seq [T, N, *]

    Raises:
        ValueError: tau and decay both given; tau <= 1; v_threshold <= 0; unknown reset or learn.

    Example:
        >>> LIF(tau=2.0)(torch.ones(4, 2, 3)).shape
        torch.Size([4, 2, 3])
    """

    function = staticmethod(lif)

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
        super().__init__()
        if reset not in ("hard", "soft", "none"):
            raise ValueError(f"reset must be 'hard', 'soft' or 'none', got {reset!r}")
        if not v_threshold > (v_reset if reset == "hard" else 0.0):
            raise ValueError(f"v_threshold must lie above the reset, got {v_threshold}")
        if unknown := set(learn) - {"decay", "v_threshold"}:
            raise ValueError(f"learn may hold 'decay' and 'v_threshold', got {sorted(unknown)}")
        decay = _one_decay(tau, decay_input, decay)
        self.decay = LearntDecay(decay, learn="decay" in learn, per=per, shape=shape)
        self.v_threshold = Constant(v_threshold, learn="v_threshold" in learn, per=per, shape=shape)
        self.reset: Reset = reset
        self.v_reset = v_reset
        self.detach_reset = detach_reset
        self.surrogate = surrogate or Arctan()
        self.strict = strict

    def parameters_now(self) -> dict[str, Any]:
        return {
            "decay": self.decay.now(),
            "v_threshold": self.v_threshold.now(),
            "reset": self.reset,
            "v_reset": self.v_reset,
            "detach_reset": self.detach_reset,
            "surrogate": self.surrogate,
            "strict": self.strict,
        }

    def extra_repr(self) -> str:
        return f"{self.decay.start}, reset={self.reset!r}, {self.surrogate}"


class LearntDecay(nn.Module):
    """A :class:`Decay` whose ``keep`` may be learnt, as the logit of ``keep``.

    keep = sigmoid(raw), so 1/tau = sigmoid(-raw), which is parametric LIF's w up to its sign.
    """

    def __init__(self, start: Decay, *, learn: bool, per: Per, shape: Sequence[int] | None) -> None:
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


def _one_decay(tau: float | None, decay_input: bool, decay: Decay | None) -> Decay:
    if decay is not None and tau is not None:
        raise ValueError("give tau or decay, not both: decay already says how the state forgets")
    return decay or euler(2.0 if tau is None else tau, decay_input=decay_input)


register("neuron", "if", summary="Integrate-and-fire neurons: LIF that forgets nothing.")(
    partial(LIF, decay=NO_DECAY)
)
register("neuron", "plif", summary="Parametric LIF: LIF whose decay is learnt.")(
    partial(LIF, learn=("decay",))
)


@register("neuron", "relu")
class ReLU(nn.ReLU):
    """No neuron but a rectifier: turns a spiking model into its ReLU twin."""

    def __init__(self, shape: Sequence[int] | None = None) -> None:  # noqa: ARG002 the neurons' signature
        super().__init__()
