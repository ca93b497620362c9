"""The sweeps as autograd functions: what is kept, and which sweep gives which gradient."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from spikeloom.functional import Surrogate
from spikeloom.kernels.cpu.ops import only_first
from spikeloom.kernels.two_pass.passes import Cells, Ends, Jump, Maybe


class Passes(NamedTuple):
    """Whose sweeps run: those of ``passes``, or compiled ones."""

    sums: Callable[..., tuple[Tensor, Tensor]]
    input_errors: Callable[..., tuple[Tensor, Maybe]]
    weight_errors: Callable[..., tuple[Tensor, Tensor]]
    spikes: Callable[..., tuple[Tensor, Tensor, Ends]]
    errors: Callable[..., tuple[Tensor, Maybe, Ends]]


class Synapses(torch.autograd.Function):
    """Keeps x, w, r and the state before the first step."""

    @staticmethod
    def forward(
        ctx: Any, passes: Passes, x_seq: Tensor, w: Tensor, r: Tensor, state: Maybe
    ) -> tuple[Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x_seq, w, r, state)
        ctx.passes = passes
        return passes.sums(x_seq, w, r, state)

    @staticmethod
    def backward(ctx: Any, *grads: Maybe) -> tuple[Maybe, ...]:
        only_first("a layer of synapses", *grads)
        x_seq, w, r, state = ctx.saved_tensors
        d_seq, grad_state = grads
        if d_seq is None and grad_state is None:
            return (None,) * 5
        d_seq = x_seq.new_zeros(*x_seq.shape[:2], len(w)) if d_seq is None else d_seq
        _, of_x, of_w, of_r, of_state = ctx.needs_input_grad
        grad_x = grad_w = grad_r = before = None
        if of_x or of_state:
            grad_x, before = ctx.passes.input_errors(d_seq, w, r, grad_state)
        if of_w or of_r:
            grad_w, grad_r = ctx.passes.weight_errors(x_seq, d_seq, w, r, state, grad_state)
        return None, grad_x, grad_w, grad_r, before if of_state else None


class Firing(NamedTuple):
    """What neurons of HetSyn have that is no tensor: of each jump a number and an amount."""

    jumps: tuple[tuple[float, float], ...]
    v_threshold: float
    strict: bool
    detach: bool
    surrogate: Surrogate


class Spiking(torch.autograd.Function):
    """Keeps spikes, potentials and what the state was before the first step.

    ``jumps`` are the share kept, where it is a tensor, and the state of each jump in turn.
    """

    @staticmethod
    def forward(
        ctx: Any,
        passes: Passes,
        firing: Firing,
        x_seq: Tensor,
        weight: Maybe,
        keep: Maybe,
        synapses: Maybe,
        spike: Maybe,
        *jumps: Maybe,
    ) -> tuple[Maybe, ...]:
        ctx.set_materialize_grads(False)
        cells = cells_of(firing, weight, keep, synapses, spike, jumps)
        spike_seq, h_seq, ends = passes.spikes(x_seq, cells)
        ctx.passes, ctx.firing = passes, firing
        ctx.save_for_backward(spike_seq, h_seq, weight, keep, synapses, spike, *jumps)
        return spike_seq, ends.synapses, *ends.jumps

    @staticmethod
    def backward(ctx: Any, *grads: Maybe) -> tuple[Maybe, ...]:
        only_first("a layer of HetSyn neurons", *grads)
        spike_seq, h_seq, weight, keep, synapses, spike, *jumps = ctx.saved_tensors
        if all(grad is None for grad in grads):
            return (None,) * (7 + len(jumps))
        grad_seq, grad_synapses, *grad_jumps = grads
        firing: Firing = ctx.firing
        cells = cells_of(firing, weight, keep, synapses, spike, jumps)
        slope_seq = firing.surrogate.grad(h_seq - firing.v_threshold)
        grad_seq = torch.zeros_like(spike_seq) if grad_seq is None else grad_seq
        ends = Ends(grad_synapses, tuple(grad_jumps))
        d_seq, before, first = ctx.passes.errors(grad_seq, slope_seq, cells, ends)
        heard = heard_seq(spike_seq, spike)
        grad_weight = grad_keep = None
        if weight is not None and any(ctx.needs_input_grad[3:5]):
            grad_weight, grad_keep = ctx.passes.weight_errors(
                heard, d_seq, weight, keep, synapses, grad_synapses
            )
        of_jumps: list[Maybe] = []
        for k, (jump, end) in enumerate(zip(cells.jumps, first.jumps, strict=True)):
            learnt = ctx.needs_input_grad[7 + 2 * k]
            share = keep_error(heard, d_seq, jump, grad_jumps[k]) if learnt else None
            of_jumps += [share, end if ctx.needs_input_grad[8 + 2 * k] else None]
        states = (first.synapses, before)
        wanted = zip(states, ctx.needs_input_grad[5:7], strict=True)
        return (
            None, None, d_seq, grad_weight, grad_keep,
            *(state if want else None for state, want in wanted), *of_jumps,
        )  # fmt: skip


def cells_of(
    firing: Firing,
    weight: Maybe,
    keep: Maybe,
    synapses: Maybe,
    spike: Maybe,
    jumps: tuple[Maybe, ...] | list[Maybe],
) -> Cells:
    """The neurons that a call is about."""
    pairs = zip(jumps[::2], jumps[1::2], firing.jumps, strict=True)
    own = tuple(
        Jump(number if share is None else share, amount, state)
        for share, state, (number, amount) in pairs
    )
    return Cells(
        weight, keep, synapses, spike, own, firing.v_threshold, firing.strict, firing.detach
    )


def heard_seq(spike_seq: Tensor, spike: Maybe) -> Tensor:
    """The spikes that are heard at every step: those of the step before.

    Shape:
        spike_seq [T, N, O], spike [N, O] -> [T, N, O]
    """
    first = torch.zeros_like(spike_seq[0]) if spike is None else spike
    return torch.cat([first[None], spike_seq[:-1]])


def keep_error(heard: Tensor, d_seq: Tensor, jump: Jump, grad_state: Maybe) -> Tensor:
    """The gradient of the share of a reset or adaptation current that is kept.

    With b[t] = keep b[t-1] + amount s[t-1] and g[t] = keep g[t-1] + b[t-1] it is -sum_t d[t] g[t].

    Shape:
        heard, d_seq [T, N, O] -> that of keep
    """
    keep = torch.as_tensor(jump.keep)
    b = torch.zeros_like(heard[0]) if jump.state is None else jump.state
    g, total = torch.zeros_like(b), torch.zeros_like(b)
    for s, d in zip(heard, d_seq, strict=True):
        g = keep * g + b
        b = keep * b + jump.amount * s
        total = total - d * g
    if grad_state is not None:
        total = total + grad_state * g
    return total.sum_to_size(keep.shape)
