"""What LIF and its kin share: a potential that leaks, a threshold and a reset."""

from collections.abc import Sequence
from typing import Any, ClassVar

from spikeloom.functional import Arctan, Decay, Reset, Surrogate
from spikeloom.layers.base import Neuron
from spikeloom.layers.learnable import Constant, LearntDecay, Per, check_learn, one_decay


class Membrane(Neuron):
    """Neurons with a potential that leaks, a threshold and a reset: what LIF and its kin share.

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
        learn: which of the numbers in ``learnable`` are parameters.
        per: one value for the ``layer``, per ``channel`` or per ``neuron``.
    Shape:
        x_seq [T, N, *] -> spike_seq [T, N, *]
    Raises:
        ValueError: tau and decay both given; tau <= 1; v_threshold not above the reset; unknown
            reset, learn or per.
    """

    learnable: ClassVar[tuple[str, ...]] = ("decay", "v_threshold")
    always_learnt: ClassVar[tuple[str, ...]] = ()

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
        learn = (*learn, *self.always_learnt)
        check_learn(learn, self.learnable)
        start = one_decay(tau, decay_input, decay)
        self.decay = LearntDecay(start, learn="decay" in learn, per=per, shape=shape)
        self.v_threshold = Constant(v_threshold, learn="v_threshold" in learn, per=per, shape=shape)
        self.reset: Reset = reset
        self.v_reset = v_reset
        self.detach_reset = detach_reset
        self.surrogate = surrogate or Arctan()
        self.strict = strict

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
        return f"{self.decay.start}, reset={self.reset!r}, {self.surrogate}"
