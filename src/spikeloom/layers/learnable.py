"""Values of a neuron, fixed or learnt: for the layer, per channel or per neuron."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from spikeloom.functional import Decay, Value, euler
from spikeloom.functional.neurons.inputs import misfit

Per = Literal["layer", "channel", "neuron"]


class NeuronValue(nn.Module):
    """A number or tensor that a neuron computes with; learnt, it is the parameter ``raw``.

    A fixed number stays a number; a fixed tensor is the buffer ``start``.
    """

    raw: nn.Parameter
    start: Tensor

    def __init__(self, value: Value, raw: Tensor | None = None) -> None:
        super().__init__()
        self.number = None if isinstance(value, Tensor) else float(value)
        self.learnt = raw is not None
        if raw is not None:
            self.raw = nn.Parameter(raw)
        elif isinstance(value, Tensor):
            self.register_buffer("start", value)

    def now(self) -> Value:
        """The value to compute with."""
        if self.learnt:
            return self.from_raw()
        return self.start if self.number is None else self.number

    def from_raw(self) -> Tensor:
        """The learnt value; one that is kept in bounds overrides this."""
        return self.raw


class Above(NeuronValue):
    """A value that stays above ``floor`` while it is learnt.

    value = floor + gap exp(raw), with ``gap`` from the floor to where it starts; raw starts at 0,
    so that the first value is the given one, and weight decay pulls the value back to it. Steps of
    raw change the gap by a share of itself.

    """

    gap: Tensor

    def __init__(self, value: Value, *, learn: bool, floor: float) -> None:
        start = torch.as_tensor(value)
        super().__init__(value, torch.zeros_like(start) if learn else None)
        self.floor = floor
        if learn:
            self.register_buffer("gap", start - floor)

    def from_raw(self) -> Tensor:
        value = self.gap * self.raw.exp()
        return value + self.floor if self.floor else value


class Share(NeuronValue):
    """A value that stays between 0 and 1 while it is learnt: value = sigmoid(raw)."""

    def __init__(self, value: Value, *, learn: bool) -> None:
        super().__init__(value, torch.logit(torch.as_tensor(value)) if learn else None)

    def from_raw(self) -> Tensor:
        return torch.sigmoid(self.raw)


class Signed(NeuronValue):
    """A value that stays between -1 and 1 while it is learnt: value = tanh(raw)."""

    def __init__(self, value: Value, *, learn: bool) -> None:
        super().__init__(value, _atanh(value) if learn else None)

    def from_raw(self) -> Tensor:
        return torch.tanh(self.raw)


class LearntDecay(nn.Module):
    """A :class:`Decay` whose ``keep`` may be learnt, as the logit of ``keep``.

    keep = sigmoid(raw), so 1/tau = sigmoid(-raw), which is parametric LIF's w up to its sign.
    """

    def __init__(self, keep: Value, decay_input: bool, *, learn: bool) -> None:
        super().__init__()
        self.decay_input = decay_input
        self.keep = Share(keep, learn=learn)

    def now(self) -> Decay:
        """The decay to compute with."""
        # Looking at the values at every call would make an accelerator wait.
        return Decay(self.keep.now(), self.decay_input, trusted=True)

    def extra_repr(self) -> str:
        keep = self.keep.now()
        shown = f"of shape {tuple(keep.shape)}" if isinstance(keep, Tensor) else f"{keep:.4g}"
        return f"keep {shown}, decay_input={self.decay_input}"


@dataclass(frozen=True)
class Values:
    """Makes the values of a layer of neurons from numbers or tensors.

    Args:
        shape: [C, *] of one sample, needed for one value per channel or neuron.
        learn: names of those that are parameters.
        per: for what one number stands: the ``layer``, a ``channel`` or a ``neuron``; or a word
            for each name, ``layer`` for those left out. A tensor has a shape of its own, and is
            repeated where ``per`` asks for more.
        known: names that the layer has.
    Raises:
        ValueError: unknown name in learn or per; unknown word; no shape, or a tensor that does not
            fit it; a learnt value that does not start within its bounds.
    """

    shape: Sequence[int] | None
    learn: Sequence[str]
    per: Per | Mapping[str, Per]
    known: Sequence[str]

    def __post_init__(self) -> None:
        _check_names("learn", self.learn, self.known)
        _check_names("per", self.per if isinstance(self.per, Mapping) else (), self.known)

    def above(self, name: str, value: Value, floor: float = 0.0) -> Above:
        """A value that stays above ``floor`` if it is learnt."""
        learn = name in self.learn
        if learn and not ends(value)[0] > floor:
            raise ValueError(f"a learnt {name} must start above {floor:g}, got {value}")
        return Above(self._spread(name, value), learn=learn, floor=floor)

    def signed(self, name: str, value: Value) -> Signed:
        """A value of either sign; it stays between -1 and 1 if it is learnt."""
        learn = name in self.learn
        least, most = ends(value)
        if learn and not (least > -1 and most < 1):
            raise ValueError(f"a learnt {name} must start between -1 and 1, got {value}")
        return Signed(self._spread(name, value), learn=learn)

    def decay(self, name: str, decay: Decay) -> LearntDecay:
        """A decay; ``keep`` stays between 0 and 1 if it is learnt."""
        learn = name in self.learn
        least, most = ends(decay.keep)
        if learn and not (least > 0 and most < 1):
            raise ValueError(f"a learnt {name} must start between 0 and 1, got keep = {decay.keep}")
        return LearntDecay(self._spread(name, decay.keep), decay.decay_input, learn=learn)

    def _spread(self, name: str, value: Value) -> Value:
        per = self.per.get(name, "layer") if isinstance(self.per, Mapping) else self.per
        shape = _parameter_shape(per, self.shape)
        if not isinstance(value, Tensor):
            return float(value) if per == "layer" else torch.full(shape, float(value))
        own = value.detach().clone()
        own = own if own.is_floating_point() else own.to(torch.get_default_dtype())
        allowed = shape if per != "layer" else self.shape
        if allowed is not None and (problem := misfit(name, own, (1, *allowed))):
            raise ValueError(problem)
        return own if per == "layer" else own.expand(shape).clone()


def neuron_values(model: nn.Module) -> set[str]:
    """Names of all parameters that are values of neurons: decays, thresholds, adaptation.

    For parameter groups: such values are few and seldom want the weight decay of weights.
    """
    return {
        f"{name}.raw".lstrip(".")
        for name, module in model.named_modules()
        if isinstance(module, NeuronValue) and module.learnt
    }


def ends(value: Value) -> tuple[float, float]:
    """The least and the greatest number in a value."""
    if isinstance(value, Tensor):
        least, most = value.detach().aminmax()
        return float(least), float(most)
    return float(value), float(value)


def one_decay(tau: Value | None, decay_input: bool, decay: Decay | None) -> Decay:
    """The decay that was asked for, by time constant or as it is; ``euler(2)`` if neither.

    Raises:
        ValueError: both given.
    """
    if decay is not None and tau is not None:
        raise ValueError("give tau or decay, not both: decay already says how the state forgets")
    return decay or euler(2.0 if tau is None else tau, decay_input=decay_input)


def _atanh(value: Value) -> Tensor:
    """Rounded once, so that the number whose tanh was given comes back."""
    dtype = value.dtype if isinstance(value, Tensor) else torch.get_default_dtype()
    return torch.atanh(torch.as_tensor(value, dtype=torch.float64)).to(dtype)


def _check_names(argument: str, names: Iterable[str], known: Sequence[str]) -> None:
    if unknown := set(names) - set(known):
        choices = ", ".join(map(repr, known))
        given = ", ".join(map(repr, sorted(unknown)))
        raise ValueError(f"{argument} may hold {choices}; got {given}")


def _parameter_shape(per: str, shape: Sequence[int] | None) -> tuple[int, ...]:
    if per == "layer":
        return ()
    if per not in ("channel", "neuron"):
        raise ValueError(f"per must be 'layer', 'channel' or 'neuron', got {per!r}")
    if shape is None:
        raise ValueError(f"a value per {per} needs shape=(C, *) of one sample")
    return tuple(shape) if per == "neuron" else (shape[0], *(1 for _ in shape[1:]))
