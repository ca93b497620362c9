"""Spikes that arrive late: what an asynchronous chip may do to a trained network."""

import torch
from torch import Tensor

from spikeloom.layers.base import Rule, State, Temporal, dynamics


def arrivals(spike_seq: Tensor, late_seq: Tensor) -> tuple[Tensor, Tensor]:
    """What arrives at every step when some of the spikes come one step later.

    out[t] = s[t] (1 - d[t]) + s[t-1] d[t-1]

    Args:
        spike_seq: s, what is sent.
        late_seq: d, whether what is sent at a step is late.
    Shape:
        spike_seq [T, N, *], late_seq bool [T, N, *] -> [T, N, *], [N, *]
    Returns:
        What arrives, and what does not because it would come after the last step: the sum of both
        is that of what was sent.
    """
    late = spike_seq * late_seq
    begin = torch.zeros_like(late[:1])
    return spike_seq - late + torch.cat([begin, late[:-1]]), late[-1]


def late_spikes(p: float, *, generator: torch.Generator | None = None) -> Rule:
    """A rule for :func:`ruled`: each spike arrives one step later with probability ``p``.

    See :func:`arrivals`, with d ~ Bernoulli(p) for each spike. Neurons fire as ever; it is what
    they send that is late. Two spikes that arrive together count as 2, and what would arrive after
    the last step is lost. For inference: a product of spikes with spikes, and max-pooling, suffer
    more from it than layers that add up weights. ``spikeloom faults FOLDER --delay P`` says how a
    whole run does under delays, and how many spikes are lost.

    Args:
        p: probability of being late, in [0, 1].
        generator: of the random numbers, on the device of the spikes; torch's own if None.
    Raises:
        ValueError: p outside [0, 1].
    Source:
        After the delays that Deng, Wu, Du and Gu, NeurIPS 2024, have in mind; the form is inferred.
    Example:
        >>> from spikeloom.layers import LIF, ruled
        >>> net, x_seq = LIF(), torch.full((3, 1, 1), 5.0)
        >>> with ruled(net, late_spikes(1.0)):
        ...     net(x_seq).flatten().tolist()
        [0.0, 1.0, 1.0]
    """
    if not 0 <= p <= 1:
        raise ValueError(f"p is a probability, 0..1, got {p}")

    def rule(layer: Temporal, x_seq: Tensor, state: State) -> tuple[Tensor, State]:
        spike_seq, state = dynamics(layer, x_seq, state)
        late_seq = torch.empty_like(spike_seq).bernoulli_(p, generator=generator).bool()
        return arrivals(spike_seq, late_seq)[0], state

    return rule
