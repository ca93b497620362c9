"""What LIF and its kin share: a potential that leaks, a threshold and a reset."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypedDict, get_args, get_type_hints

from torch import nn

from spikeloom.functional import Arctan, Decay, Reset, Surrogate, Value
from spikeloom.layers.base import Neuron
from spikeloom.layers.learnable import NeuronValue, Per, Values, ends, one_decay


class Resetting(TypedDict, total=False):
    """How a neuron resets, and for what its values stand: options that :class:`Membrane` explains.

    For constructors of its kin, as are the two below.
    """

    reset: Reset
    v_reset: float
    detach_reset: bool
    per: Per | Mapping[str, Per]


class Firing(Resetting, total=False):
    """How a neuron fires."""

    v_threshold: Value
    surrogate: Surrogate | None
    strict: bool
    learn: Sequence[str]


class Leaking(Firing, total=False):
    """How a neuron fires and forgets."""

    tau: Value | None
    decay_input: bool
    decay: Decay | None


class Membrane(Neuron):
    """Neurons with a potential that leaks, a threshold and a reset: what LIF and its kin share.

    A subclass with a constructor of its own takes what it adds, and ``**options:
    Unpack[Leaking]`` (or ``Firing``) to pass on; its signature then tells these one by one.

    Args:
        shape: [C, *] of one sample; needed only for values per channel or neuron.
        tau: membrane time constant [steps], > 1; short for ``decay=euler(tau, ...)``. Like decay
            and threshold it may be a tensor that broadcasts to a sample: the layer then holds a
            copy of it.
        decay_input: with ``tau``: whether the input is divided by it.
        decay: another convention: ``exponential(...)`` or ``factor(...)``; instead of ``tau``.
        v_threshold: firing threshold; learnt, it stays above the reset, as the exponential of a
            parameter.
        reset: ``hard``, ``soft`` or ``none``.
        v_reset: potential after a hard reset [v_threshold].
        detach_reset: leave the reset out of the gradient.
        surrogate: slope of the spike in backward.
        strict: fire only above the threshold.
        learn: which of the numbers in ``learnable`` are parameters.
        per: one value for the ``layer``, per ``channel`` or per ``neuron``; or which for each
            name, as in ``{"decay": "neuron"}``.
    Shape:
        x_seq [T, N, *] -> spike_seq [T, N, *]
    Raises:
        ValueError: tau and decay both given; tau <= 1; v_threshold not above the reset; unknown
            reset, learn or per.
    """

    learnable: ClassVar[tuple[str, ...]] = ("decay", "v_threshold")
    always_learnt: ClassVar[tuple[str, ...]] = ()
    __signature__: ClassVar[inspect.Signature]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.__signature__ = _signature(cls)

    def __init__(
        self,
        shape: Sequence[int] | None = None,
        *,
        tau: Value | None = None,
        decay_input: bool = True,
        decay: Decay | None = None,
        v_threshold: Value = 1.0,
        reset: Reset = "hard",
        v_reset: float = 0.0,
        detach_reset: bool = False,
        surrogate: Surrogate | None = None,
        strict: bool = False,
        learn: Sequence[str] = (),
        per: Per | Mapping[str, Per] = "layer",
    ) -> None:
        super().__init__()
        if reset not in ("hard", "soft", "none"):
            raise ValueError(f"reset must be 'hard', 'soft' or 'none', got {reset!r}")
        rest = v_reset if reset == "hard" else 0.0
        self.values = Values(shape, (*learn, *self.always_learnt), per, self.learnable)
        self.decay = self.values.decay("decay", one_decay(tau, decay_input, decay))
        self.v_threshold = self._threshold(v_threshold, rest)
        self.reset: Reset = reset
        self.v_reset = v_reset
        self.detach_reset = detach_reset
        self.surrogate = surrogate or Arctan()
        self.strict = strict

    def _threshold(self, value: Value, rest: float) -> NeuronValue:
        """The threshold to compute with; neurons with other bounds to it override this."""
        if not ends(value)[0] > rest:
            raise ValueError(f"v_threshold must lie above the reset, got {value}")
        return self.values.above("v_threshold", value, floor=rest)

    def arguments(self) -> dict[str, Any]:
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
        return f"{self.decay.extra_repr()}, reset={self.reset!r}, {self.surrogate}"


def _signature(neuron: type[Membrane]) -> inspect.Signature:
    """The arguments of a constructor, with those of Membrane in place of ``**options``."""
    _, *own = inspect.signature(neuron.__init__).parameters.values()
    options = get_args(get_type_hints(neuron.__init__).get(own[-1].name)) if own else ()
    if not options or own[-1].kind is not inspect.Parameter.VAR_KEYWORD:
        return inspect.Signature(own)
    names = get_type_hints(options[0])
    shared = inspect.signature(Membrane.__init__).parameters.items()
    return inspect.Signature([*own[:-1], *(each for name, each in shared if name in names)])


def set_surrogate(model: nn.Module, surrogate: Surrogate) -> None:
    """Give every neuron of a model this slope; what has none (a ReLU twin) stays as it is."""
    for module in model.modules():
        if isinstance(module, Membrane):
            module.surrogate = surrogate
