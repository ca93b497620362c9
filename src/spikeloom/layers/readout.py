"""Read-outs that do not spike."""

from collections.abc import Sequence

from torch import Tensor, nn

from spikeloom.functional import Decay
from spikeloom.kernels import door
from spikeloom.layers.learnable import LearntDecay, Per, check_learn, one_decay

_li = door("li")


class LI(nn.Module):
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

    def __init__(
        self,
        shape: Sequence[int] | None = None,
        *,
        tau: float | None = None,
        decay_input: bool = True,
        decay: Decay | None = None,
        learn: Sequence[str] = (),
        per: Per = "layer",
    ) -> None:
        super().__init__()
        check_learn(learn, ("decay",))
        start = one_decay(tau, decay_input, decay)
        self.decay = LearntDecay(start, learn="decay" in learn, per=per, shape=shape)

    def forward(self, x_seq: Tensor) -> Tensor:
        return self.scan(x_seq)[0]

    def scan(self, x_seq: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """``forward`` from a given state; also returns the state after the last step."""
        after: tuple[Tensor, Tensor] = _li(x_seq, state, decay=self.decay.now())
        return after

    def extra_repr(self) -> str:
        return f"{self.decay.start}"
