"""Synapses that each carry a current with a decay of its own.

    i[t]_ji = keep_ji i[t-1]_ji + gain_ji w_ji x[t]_i        from neuron i to neuron j
    y[t]_j = sum_i i[t]_ji

What they sum up to is the potential of a neuron without memory of its own, or that of a read-out.
Where decays are shared, so is the state: a decay for each j leaves one current for each j, a decay
for each i one trace of each x_i.
"""

from typing import Literal

from torch import Tensor
from torch.nn.functional import linear

from spikeloom.functional.decay import Decay, Value
from spikeloom.functional.neurons.inputs import wide
from spikeloom.functional.sequence import check_sequence, sequence, steps

Sharing = Literal["synapse", "neuron", "input"]


def synapses(
    x_seq: Tensor, state: Tensor | None = None, *, weight: Tensor, decay: Decay
) -> tuple[Tensor, Tensor]:
    """Sums of decaying synaptic currents over T steps.

    i[t] = keep i[t-1] + gain w x[t] for every synapse;  y[t] = sum over inputs of i[t].

    Args:
        x_seq: input spikes, or numbers.
        state: what the call for the steps before returned; 0 if None.
        weight: w; row j holds what neuron j gets from each input.
        decay: of the currents per step; its ``keep`` is a number, or a tensor [O, I] with one for
            each synapse, [O, 1] for each neuron, or [1, I] for each input.
    Shape:
        x_seq [T, N, I], weight [O, I] -> y_seq [T, N, O], state [N, O, I]; [N, O] if the decay is a
        number or [O, 1]; [N, I] if it is [1, I]

    Returns:
        The sums of every step, and the state after the last, with the dtype of x_seq; half
        precision is computed in float32 and rounded at the end. A state [N, O, I] or [N, O] holds
        currents, one [N, I] traces of the inputs.

    Raises:
        ValueError: no time axis; x_seq is not floating point; a shape that does not fit another.
    Source:
        Deng et al., NeurIPS 2025 (arXiv 2508.11644), eqs. 5 and 8.

    Example:
        >>> impulse = torch.tensor([1.0, 0.0, 0.0])[:, None, None].expand(3, 1, 2)
        >>> decay = Decay(torch.tensor([[0.5, 0.0]]))
        >>> synapses(impulse, weight=torch.tensor([[4.0, 8.0]]), decay=decay)[0].flatten().tolist()
        [12.0, 2.0, 1.0]
    """
    kind = check_synapses(x_seq, state, weight, decay)
    weight, keep = effective(weight.to(wide(x_seq).dtype), decay)
    now = None if state is None else wide(state)
    sums = []
    for x in steps(wide(x_seq)):
        y, now = synapses_step(x, now, weight=weight, keep=keep, kind=kind)
        sums.append(y.to(x_seq.dtype))
    assert now is not None
    return sequence(sums), now.to(x_seq.dtype)


def synapses_step(
    x: Tensor, state: Tensor | None, *, weight: Tensor, keep: Value, kind: Sharing
) -> tuple[Tensor, Tensor]:
    """One step of :func:`synapses`.

    Shape:
        x [N, I], weight [O, I] -> y [N, O], state as of :func:`synapses`
    """
    if kind == "synapse":
        current = weight * x[:, None]
        current = current if state is None else keep * state + current
        return current.sum(-1), current
    flat = keep.flatten() if isinstance(keep, Tensor) else keep
    new = linear(x, weight) if kind == "neuron" else x
    new = new if state is None else flat * state + new
    return (new if kind == "neuron" else linear(new, weight)), new


def effective(weight: Tensor, decay: Decay) -> tuple[Tensor, Value]:
    """Weights that hold the gain of the input, and the share that is kept."""
    keep = decay.keep
    keep = keep.to(weight.dtype) if isinstance(keep, Tensor) else keep
    return (weight * (1.0 - keep) if decay.decay_input else weight), keep


def sharing(keep: Value, weight: Tensor) -> Sharing:
    """Which synapses share a decay: those of a neuron, of an input, or none.

    Shape:
        weight [O, I]; keep [O, I], [O, 1], [1, I] or of one number
    Raises:
        ValueError: a decay of another shape.
    """
    if not isinstance(keep, Tensor) or keep.numel() == 1:
        return "neuron"
    outputs, inputs = weight.shape
    shapes: dict[tuple[int, ...], Sharing] = {
        (outputs, inputs): "synapse", (1, inputs): "input", (outputs, 1): "neuron",
    }  # fmt: skip
    if (kind := shapes.get(tuple(keep.shape))) is None:
        raise ValueError(
            f"the decay of synapses has shape {tuple(keep.shape)} for weights "
            f"{tuple(weight.shape)}; expected a number, [O, I], [O, 1] or [1, I]"
        )
    return kind


def state_shape(kind: Sharing, batch: int, weight: Tensor) -> tuple[int, ...]:
    """Of the state of :func:`synapses`."""
    outputs, inputs = weight.shape
    sizes = {"synapse": (outputs, inputs), "neuron": (outputs,), "input": (inputs,)}
    return batch, *sizes[kind]


def check_synapses(x_seq: Tensor, state: Tensor | None, weight: Tensor, decay: Decay) -> Sharing:
    """Raise ValueError unless all fit; says which synapses share a decay."""
    check_sequence(x_seq, least=3)
    if not x_seq.is_floating_point():
        raise ValueError(f"x_seq is {x_seq.dtype}, expected floating point: pass x_seq.float()")
    if x_seq.dim() != 3 or weight.dim() != 2 or weight.shape[1] != x_seq.shape[2]:
        raise ValueError(
            f"synapses map [T, N, I] with weights [O, I], got {tuple(x_seq.shape)} and "
            f"{tuple(weight.shape)}; flatten samples to one axis, or build the layer with "
            "the width of its input"
        )
    kind = sharing(decay.keep, weight)
    expected = state_shape(kind, x_seq.shape[1], weight)
    if state is not None and tuple(state.shape) != expected:
        raise ValueError(
            f"the carried state has shape {tuple(state.shape)}, these synapses one of {expected}; "
            "pass the state that came back with the same batch"
        )
    return kind
