"""Double-exponential neurons: two synaptic traces, whose difference is the potential.

    a[t] = keep_m (a[t-1] + x[t]),  keep_m = 1 - 1/tau_m          slow trace
    b[t] = keep_s (b[t-1] + x[t]),  keep_s = 1 - 1/tau_s          fast trace
    h[t] = gain (a[t] - b[t]),  gain = tau_m / (tau_m - tau_s)    potential
    s[t] = h[t] >= v_threshold;  a, b <- 0 where s[t]             full reset

An input of 1 that reached a neuron at rest k steps ago (0: in this step) adds
eps(k) = gain (keep_m^(k+1) - keep_s^(k+1)) to the potential, so eps(0) = 1/tau_s. A spike clears
the traces: an input counts towards the first spike after it and towards no other.
"""

from typing import NamedTuple

from torch import Tensor

from spikeloom.functional.decay import Value
from spikeloom.functional.neurons.inputs import check_inputs, wide
from spikeloom.functional.neurons.lif import DEFAULT_SURROGATE, start
from spikeloom.functional.sequence import sequence, steps
from spikeloom.functional.surrogate import Smooth, Surrogate, spike


class DoubleExponentialState(NamedTuple):
    """The slow and the fast trace after reset, as the last step left them."""

    a: Tensor
    b: Tensor


class DoubleExponentialTrace(NamedTuple):
    """Everything a step leaves: spikes, potential before and after reset, and both traces."""

    spike_seq: Tensor
    h_seq: Tensor
    v_seq: Tensor
    a_seq: Tensor
    b_seq: Tensor

    @property
    def last(self) -> DoubleExponentialState:
        """The state after the last step."""
        return DoubleExponentialState(self.a_seq[-1], self.b_seq[-1])


class Response(NamedTuple):
    """How both traces forget, and the gain on their difference."""

    keep_m: float
    keep_s: float
    gain: float


def response(tau_m: float, tau_s: float) -> Response:
    """The numbers of a neuron with these time constants [steps].

    Raises:
        ValueError: unless tau_m > tau_s >= 1.
    """
    if not tau_m > tau_s >= 1:
        raise ValueError(
            f"double-exponential neurons need tau_m > tau_s >= 1 step, got tau_m={tau_m} and "
            f"tau_s={tau_s}"
        )
    return Response(1 - 1 / tau_m, 1 - 1 / tau_s, tau_m / (tau_m - tau_s))


def double_exponential(
    x_seq: Tensor,
    state: tuple[Tensor, Tensor] | None = None,
    *,
    tau_m: float = 5.0,
    tau_s: float = 3.0,
    v_threshold: Value = 1.0,
    detach_reset: bool = False,
    surrogate: Surrogate | Smooth = DEFAULT_SURROGATE,
    strict: bool = False,
) -> tuple[Tensor, DoubleExponentialState]:
    """Double-exponential neurons over T steps, with a full reset and a surrogate gradient.

    a[t] = keep_m (a[t-1] + x[t]);  b[t] = keep_s (b[t-1] + x[t]);  h[t] = gain (a[t] - b[t]);
    spike[t] = h[t] >= v_threshold, which clears a and b.

    Args:
        x_seq: input current [v_threshold].
        state: both traces [v_threshold] before the first step; 0 if None.
        tau_m: time constant of the slow trace [steps].
        tau_s: time constant of the fast trace [steps], at least 1 and less than ``tau_m``.
        v_threshold: firing threshold; a number or a tensor that broadcasts against [N, *].
        detach_reset: leave the reset out of the gradient.
        surrogate: slope used for the spike in backward.
        strict: fire only above the threshold, not at it.
    Shape:
        x_seq [T, N, *], a [N, *], b [N, *] -> spike_seq [T, N, *], (a [N, *], b [N, *])

    Returns:
        Spikes in {0, 1} and the state after the last step, all with the dtype of x_seq; half
        precision is computed in float32 and rounded at the end.

    Raises:
        ValueError: no time axis; x_seq is not floating point; tau_m > tau_s >= 1 does not hold; a
            state or the threshold does not fit x_seq[0].
    Source:
        Zhu et al., NeurIPS 2023, and their code.

    Example:
        >>> spikes, state = double_exponential(torch.ones(4, 1), v_threshold=0.75)
        >>> spikes.flatten().tolist()
        [0.0, 1.0, 0.0, 1.0]
    """
    check_inputs(x_seq, v_threshold=v_threshold)
    kept = _start(x_seq, state)
    spikes = []
    for x in steps(wide(x_seq)):
        s, _, kept = double_exponential_step(
            x, kept, tau_m=tau_m, tau_s=tau_s, v_threshold=v_threshold,
            detach_reset=detach_reset, surrogate=surrogate, strict=strict,
        )  # fmt: skip
        spikes.append(s.to(x_seq.dtype))
    return sequence(spikes), DoubleExponentialState(*(part.to(x_seq.dtype) for part in kept))


def double_exponential_trace(
    x_seq: Tensor,
    state: tuple[Tensor, Tensor] | None = None,
    *,
    tau_m: float = 5.0,
    tau_s: float = 3.0,
    v_threshold: Value = 1.0,
    detach_reset: bool = False,
    surrogate: Surrogate | Smooth = DEFAULT_SURROGATE,
    strict: bool = False,
) -> DoubleExponentialTrace:
    """:func:`double_exponential` that also returns potentials and traces of every step.

    Shape:
        x_seq [T, N, *], a [N, *], b [N, *] -> spike_seq, h_seq, v_seq, a_seq, b_seq, each
        [T, N, *]
    """
    check_inputs(x_seq, v_threshold=v_threshold)
    gain = response(tau_m, tau_s).gain
    kept = _start(x_seq, state)
    trace = []
    for x in steps(wide(x_seq)):
        s, h, kept = double_exponential_step(
            x, kept, tau_m=tau_m, tau_s=tau_s, v_threshold=v_threshold,
            detach_reset=detach_reset, surrogate=surrogate, strict=strict,
        )  # fmt: skip
        trace.append((s, h, gain * (kept.a - kept.b), *kept))
    parts = (sequence(list(part)).to(x_seq.dtype) for part in zip(*trace, strict=True))
    return DoubleExponentialTrace(*parts)


def double_exponential_step(
    x: Tensor,
    state: tuple[Tensor, Tensor],
    *,
    tau_m: float = 5.0,
    tau_s: float = 3.0,
    v_threshold: Value = 1.0,
    detach_reset: bool = False,
    surrogate: Surrogate | Smooth = DEFAULT_SURROGATE,
    strict: bool = False,
) -> tuple[Tensor, Tensor, DoubleExponentialState]:
    """One step of :func:`double_exponential`, in the dtype that its arguments promote to.

    Shape:
        x [N, *], a [N, *], b [N, *] -> spike [N, *], h [N, *], (a [N, *], b [N, *])
    """
    keep_m, keep_s, gain = response(tau_m, tau_s)
    a, b = state
    a, b = keep_m * (a + x), keep_s * (b + x)
    h = gain * (a - b)
    s = spike(h - v_threshold, surrogate, strict=strict)
    stays = 1 - (s.detach() if detach_reset else s)
    return s, h, DoubleExponentialState(a * stays, b * stays)


def _start(x_seq: Tensor, state: tuple[Tensor, Tensor] | None) -> DoubleExponentialState:
    a, b = (None, None) if state is None else state
    return DoubleExponentialState(start(x_seq, a), start(x_seq, b))
