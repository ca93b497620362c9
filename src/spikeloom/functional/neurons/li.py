"""Leaky integrator without spikes: a readout that sums what reaches it and forgets."""

from torch import Tensor

from spikeloom.functional.decay import Decay
from spikeloom.functional.neurons.inputs import check_inputs, wide
from spikeloom.functional.neurons.lif import DEFAULT_DECAY, charge, start
from spikeloom.functional.sequence import sequence, steps


def li(
    x_seq: Tensor, v: Tensor | None = None, *, decay: Decay = DEFAULT_DECAY
) -> tuple[Tensor, Tensor]:
    """Leaky integrators over T steps.

    v[t] = keep v[t-1] + gain x[t].

    Args:
        x_seq: input current.
        v: potential before the first step, in the unit of the input; 0 if None.
        decay: leak per step; ``NO_DECAY`` sums.
    Shape:
        x_seq [T, N, *], v [N, *] -> v_seq [T, N, *], v [N, *]

    Returns:
        The potential of every step, and the last one to carry on with, with the dtype of x_seq;
        half precision is computed in float32 and rounded at the end.

    Raises:
        ValueError: no time axis; x_seq is not floating point; v or decay does not fit x_seq[0].
    Source:
        Gerstner et al., Neuronal Dynamics (2014), sec. 1.3.

    Example:
        >>> v_seq, v = li(torch.ones(3, 1, 1))
        >>> v_seq.flatten().tolist()
        [0.5, 0.75, 0.875]
    """
    check_inputs(x_seq, decay=decay)
    v = start(x_seq, v)
    potentials = []
    for x in steps(wide(x_seq)):
        v = charge(x, v, decay)
        potentials.append(v.to(x_seq.dtype))
    return sequence(potentials), v.to(x_seq.dtype)
