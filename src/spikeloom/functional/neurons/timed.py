"""Double-exponential neurons with the gradient of their spike times, for event-driven learning.

Every gradient here is written as that of a spike's value, g = dL/ds; the gradient of its time is
-g where a spike was emitted ("more of this spike" means "earlier"), and nothing elsewhere. In
these terms poolings, additions and dropout between two layers keep their ordinary backward.
"""

from typing import Any

import torch
from torch import Tensor

from spikeloom.functional.decay import Value
from spikeloom.functional.neurons.double_exponential import Response, response
from spikeloom.functional.neurons.inputs import check_inputs, wide
from spikeloom.functional.sequence import sequence, steps

LARGEST = 123456789.0  # of 1/q, where that of 1/du is ``clip``
RISE = 0.05  # least rise of the potential at which a supervised spike is put


def timed(
    x_seq: Tensor,
    link_seq: Tensor | None = None,
    *,
    tau_m: float = 5.0,
    tau_s: float = 3.0,
    tau_grad: float = 2.5,
    v_threshold: Value = 1.0,
    clip: float = 4.0,
) -> Tensor:
    """Spikes of :func:`double_exponential` from rest, with gradients of their times.

    For an input at step t let the neuron's first spike at or after t lie k steps later, and g be
    what arrives at that spike. Then, with eps(k) as in :func:`double_exponential`,

        gradient of x_seq at t    = g min(1/du, clip) eps(k)                 for the weights
        gradient of link_seq at t = g (1/q) keep_g^(k+1)                     for the input spikes

    and 0 without such a spike. du = h[t] - h[t-1] is the last rise of the potential before the
    spike, h taken after reset; q[t] = keep_g (q[t-1] + x[t]), cleared by spikes, stands in for du
    where the derivative of eps would change its sign. Where du or q is negative its factor is 0.

    Both gradients belong to the same current. ``x_seq`` carries its values and what reached it
    from the weights; ``link_seq`` is what reached it from the input spikes, and only its gradient
    is used.

    Args:
        x_seq: input current [v_threshold].
        link_seq: takes the second gradient; None where no input wants one.
        tau_m: time constant of the slow trace [steps].
        tau_s: time constant of the fast trace [steps].
        tau_grad: time constant of the gradients of input spikes [steps], > 1: at 1 nothing would
            reach them.
        v_threshold: firing threshold; a number or a tensor that broadcasts against [N, *].
        clip: largest 1/du.
    Shape:
        x_seq [T, N, *], link_seq [T, N, *] -> spike_seq [T, N, *]

    Raises:
        ValueError: as :func:`double_exponential`; tau_grad <= 1; clip <= 0; link_seq of another
            shape.
    Source:
        Zhu et al., NeurIPS 2022 and 2023, and their code, whose gradients of times have the other
        sign.

    Example:
        >>> x_seq = torch.ones(4, 1, requires_grad=True)
        >>> timed(x_seq, v_threshold=0.75).sum().backward()
        >>> x_seq.grad.flatten().tolist()[0] > x_seq.grad.flatten().tolist()[1] > 0
        True
    """
    given, keep_g = prepared(x_seq, link_seq, tau_m, tau_s, tau_grad, v_threshold, clip)
    spike_seq: Tensor = _Timed.apply(x_seq, link_seq, given, keep_g, v_threshold, clip, False)  # type: ignore[no-untyped-call]
    return spike_seq


def supervised(
    spike_seq: Tensor,
    x_seq: Tensor,
    link_seq: Tensor | None,
    y: Tensor,
    *,
    tau_m: float = 5.0,
    tau_s: float = 3.0,
    tau_grad: float = 2.5,
    v_threshold: Value = 1.0,
    clip: float = 4.0,
) -> Tensor:
    """The spikes of :func:`timed` with one more for the class of every sample.

    It comes at the last step where the potential rises by more than 0.05 (the first step if none),
    unless the potential does not move there, and is one of those that are there if these coincide.
    It is added afterwards and resets nothing; inputs count towards it as towards any other spike.

    Args:
        spike_seq: what ``timed`` gave for the rest, with the arguments that are told again.
        y: classes of the samples.
    Shape:
        spike_seq, x_seq, link_seq [T, N, K], y [N] -> [T, N, K]
    Raises:
        ValueError: as :func:`timed`.
    Source:
        The code of Zhu et al., NeurIPS 2023.
    """
    given, keep_g = prepared(x_seq, link_seq, tau_m, tau_s, tau_grad, v_threshold, clip)
    index = y.view(1, -1, 1).expand(len(x_seq), -1, 1)
    x, link = (None if seq is None else seq.gather(2, index) for seq in (x_seq, link_seq))
    if isinstance(v_threshold, Tensor):
        v_threshold = v_threshold.expand(x_seq.shape[1:]).gather(1, y.view(-1, 1))
    of_label: Tensor = _Timed.apply(x, link, given, keep_g, v_threshold, clip, True)  # type: ignore[no-untyped-call]
    return spike_seq.scatter(2, index, of_label)


def prepared(
    x_seq: Tensor,
    link_seq: Tensor | None,
    tau_m: float,
    tau_s: float,
    tau_grad: float,
    v_threshold: Value,
    clip: float,
) -> tuple[Response, float]:
    """The numbers that :func:`timed` computes with, once its arguments are checked."""
    check_inputs(x_seq, v_threshold=v_threshold)
    if link_seq is not None and link_seq.shape != x_seq.shape:
        raise ValueError(
            f"link_seq has shape {tuple(link_seq.shape)}, x_seq {tuple(x_seq.shape)}; both stand "
            "for the same current"
        )
    if not tau_grad > 1 or not clip > 0:
        raise ValueError(f"need tau_grad > 1 and clip > 0, got {tau_grad} and {clip}")
    return response(tau_m, tau_s), 1 - 1 / tau_grad


def early(spike_seq: Tensor) -> Tensor:
    """Spikes weighted so that of equal counts the earlier one is larger.

    score[t] = s[t] (1.1 - t / (10 T)), t = 0 ... T - 1.

    Shape:
        spike_seq [T, N, K] -> [T, N, K]
    Source:
        The code of Zhu et al., NeurIPS 2023.
    """
    T = spike_seq.shape[0]
    t = torch.arange(T, device=spike_seq.device, dtype=spike_seq.dtype)
    return spike_seq * (1.1 - t / (10 * T)).view(-1, *[1] * (spike_seq.dim() - 1))


def simulate(
    x_seq: Tensor, given: Response, keep_g: float, v_threshold: Value
) -> tuple[Tensor, Tensor, Tensor]:
    """Spikes, rises du of the potential, and filtered slopes q; a spike clears all.

    Shape:
        x_seq [T, N, *] -> spike_seq, du_seq, q_seq, each [T, N, *]
    """
    keep_m, keep_s, gain = given
    a = b = q = h = torch.zeros_like(x_seq[0])
    found = []
    for x in steps(x_seq):
        a, b, q = keep_m * (a + x), keep_s * (b + x), keep_g * (q + x)
        before, h = h, gain * (a - b)
        s = h >= v_threshold
        found.append((s.to(x.dtype), h - before, q))
        a, b, q, h = (part.masked_fill(s, 0.0) for part in (a, b, q, h))
    spike_seq, du_seq, q_seq = (sequence(list(part)) for part in zip(*found, strict=True))
    return spike_seq, du_seq, q_seq


def forced(spike_seq: Tensor, du_seq: Tensor) -> Tensor:
    """The spikes with a supervised one for every neuron.

    Shape:
        spike_seq [T, N, *], du_seq [T, N, *] -> [T, N, *]
    """
    t = torch.arange(len(du_seq), device=du_seq.device).view(-1, *[1] * (du_seq.dim() - 1))
    at = torch.where(du_seq > RISE, t, 0).amax(0)
    return torch.where((t == at) & (du_seq != 0), 1.0, spike_seq)


class _Timed(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x_seq: Tensor,
        link_seq: Tensor | None,
        given: Response,
        keep_g: float,
        v_threshold: Value,
        clip: float,
        force: bool,
    ) -> Tensor:
        spike_seq, du_seq, q_seq = simulate(wide(x_seq), given, keep_g, v_threshold)
        if force:
            spike_seq = forced(spike_seq, du_seq)
        ctx.save_for_backward(spike_seq, du_seq.reciprocal().clamp(0, clip),
                              q_seq.reciprocal().clamp(0, LARGEST))  # fmt: skip
        ctx.given, ctx.keep_g, ctx.linked = given, keep_g, link_seq is not None
        return spike_seq.to(x_seq.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        """The forward mirrored in time: traces that a spike sets and that fade towards the past."""
        keep_m, keep_s, gain = ctx.given
        keep_g = ctx.keep_g
        g_seq = wide(grads[0])
        m = s = i = torch.zeros_like(g_seq[0])
        of_weights, of_inputs = [], []
        for spike, per_du, per_q, g in reversed([*zip(*ctx.saved_tensors, g_seq, strict=True)]):
            fired = spike > 0
            w = gain * (g * per_du)
            m = keep_m * torch.where(fired, w, m)
            s = keep_s * torch.where(fired, w, s)
            i = keep_g * torch.where(fired, g * per_q, i)
            of_weights.append(m - s)
            of_inputs.append(i)
        found = (sequence(part[::-1]).to(grads[0].dtype) for part in (of_weights, of_inputs))
        x_grad, link_grad = found
        return x_grad, link_grad if ctx.linked else None, *(None,) * 5
