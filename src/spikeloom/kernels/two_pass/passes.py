"""The sweeps themselves, step by step on whole tensors: readable, on any device, of any dtype.

With i[t] = r i[t-1] + w x[t], y[t] = sum_i i[t], and d[t] the gradient of y[t], so of each i[t]:

    l[t] = d[t] + r l[t+1]                  errors, backwards:  grad x[t]_i = sum_j w_ji l[t]_ji
    e[t] = r e[t-1] + x[t]                  traces, forwards:   grad w = sum_t d[t] e[t]
    f[t] = r f[t-1] + i[t-1]                                    grad r = sum_t d[t] f[t]

A carried state adds its current to i, and the gradient of the last state stands beside d[T-1].
"""

from typing import NamedTuple

import torch
from torch import Tensor

Maybe = Tensor | None


def sums(x_seq: Tensor, w: Tensor, r: Tensor, state: Maybe) -> tuple[Tensor, Tensor]:
    """Y of every step, and the currents after the last.

    Shape:
        x_seq [T, N, I], w and r [O, I], state [N, O, I] -> y_seq [T, N, O], [N, O, I]
    """
    T, N, _ = x_seq.shape
    y_seq = x_seq.new_empty(T, N, w.shape[0])
    i = x_seq.new_zeros(N, *w.shape) if state is None else state.clone()
    for t in range(T):
        i.mul_(r).add_(w * x_seq[t, :, None])
        y_seq[t] = i.sum(-1)
    return y_seq, i


def input_errors(
    d_seq: Tensor, w: Tensor, r: Tensor, grad_state: Maybe = None
) -> tuple[Tensor, Tensor]:
    """Gradients of x of every step, and of the state before the first.

    Shape:
        d_seq [T, N, O], w and r [O, I], grad_state [N, O, I] -> [T, N, I], [N, O, I]
    """
    T, N, _ = d_seq.shape
    grad_x = d_seq.new_empty(T, N, w.shape[1])
    left = d_seq.new_zeros(N, *w.shape) if grad_state is None else grad_state.clone()  # r l[t+1]
    for t in reversed(range(T)):
        left.add_(d_seq[t, :, :, None])
        grad_x[t] = (left * w).sum(1)
        left.mul_(r)
    return grad_x, left


def weight_errors(
    x_seq: Tensor,
    d_seq: Tensor,
    w: Tensor,
    r: Tensor,
    state: Maybe = None,
    grad_state: Maybe = None,
) -> tuple[Tensor, Tensor]:
    """Gradients of w and r.

    Shape:
        x_seq [T, N, I], d_seq [T, N, O], w and r [O, I], states [N, O, I] -> [O, I], [O, I]
    """
    T, N, _ = x_seq.shape
    e, f = x_seq.new_zeros(2, N, *w.shape)
    i = x_seq.new_zeros(N, *w.shape) if state is None else state.clone()
    grad_w, grad_r = torch.zeros_like(w), torch.zeros_like(r)
    for t in range(T):
        x, d = x_seq[t, :, None], d_seq[t, :, :, None]
        f.mul_(r).add_(i)
        e.mul_(r).add_(x)
        i.mul_(r).add_(w * x)
        grad_w += (d * e).sum(0)
        grad_r += (d * f).sum(0)
    if grad_state is not None:
        grad_w += (grad_state * e).sum(0)
        grad_r += (grad_state * f).sum(0)
    return grad_w, grad_r


class Jump(NamedTuple):
    """A current that jumps with every spike: reset or adaptation.

    Shape:
        keep a number or [O]; state [N, O]
    """

    keep: float | Tensor
    amount: float
    state: Maybe = None


class Cells(NamedTuple):
    """Neurons of HetSyn: recurrent synapses if any, currents of their spikes, how they fire.

    Shape:
        weight, keep [O, O]; synapses [N, O, O], spike [N, O] before the first step
    """

    weight: Maybe
    keep: Maybe
    synapses: Maybe
    spike: Maybe
    jumps: tuple[Jump, ...]
    v_threshold: float
    strict: bool
    detach: bool


class Ends(NamedTuple):
    """Currents after the last step, or their gradients; of no recurrent synapses None."""

    synapses: Maybe
    jumps: tuple[Maybe, ...]


def spikes(x_seq: Tensor, cells: Cells) -> tuple[Tensor, Tensor, Ends]:
    """Spikes and potentials of every step, and the state after the last.

    Shape:
        x_seq [T, N, O] -> spike_seq, h_seq [T, N, O], ...
    """
    T, N, width = x_seq.shape
    spike_seq, h_seq = torch.empty_like(x_seq), torch.empty_like(x_seq)
    rest = x_seq.new_zeros(N, width)
    s = rest if cells.spike is None else cells.spike
    jumps = [rest if jump.state is None else jump.state for jump in cells.jumps]
    i = cells.synapses
    if cells.weight is not None:
        i = x_seq.new_zeros(N, width, width) if i is None else i.clone()
    for t in range(T):
        h = x_seq[t]
        if i is not None and cells.weight is not None and cells.keep is not None:
            i.mul_(cells.keep).add_(cells.weight * s[:, None])
            h = h + i.sum(-1)
        for k, jump in enumerate(cells.jumps):
            jumps[k] = jump.keep * jumps[k] + jump.amount * s
            h = h - jumps[k]
        u = h - cells.v_threshold
        s = (u > 0 if cells.strict else u >= 0).to(x_seq.dtype)
        spike_seq[t], h_seq[t] = s, h
    return spike_seq, h_seq, Ends(i, tuple(jumps))


def errors(
    grad_seq: Tensor, slope_seq: Tensor, cells: Cells, grads: Ends | None = None
) -> tuple[Tensor, Tensor, Ends]:
    """Gradients of the potentials, which are those of x; and of spikes and state before the first.

    Shape:
        grad_seq (of spikes), slope_seq (of the surrogate) [T, N, O] -> d_seq [T, N, O],
        [N, O], ...
    """
    T, N, width = grad_seq.shape
    d_seq = torch.empty_like(grad_seq)
    grads = grads or Ends(None, (None,) * len(cells.jumps))
    back = grad_seq.new_zeros(N, width)  # from step t + 1 to the spikes of t
    left = grad_seq.new_zeros(N, width, width) if grads.synapses is None else grads.synapses.clone()
    jumps = [back if jump is None else jump for jump in grads.jumps]
    for t in reversed(range(T)):
        d = slope_seq[t] * (grad_seq[t] + back)
        d_seq[t] = d
        back = torch.zeros_like(d)
        for k, jump in enumerate(cells.jumps):
            later = jumps[k] - d
            back = back + (0 if cells.detach else jump.amount) * later
            jumps[k] = jump.keep * later
        if cells.weight is not None and cells.keep is not None:
            left.add_(d[:, :, None])
            back = back + (left * cells.weight).sum(1)
            left.mul_(cells.keep)
    return d_seq, back, Ends(None if cells.weight is None else left, tuple(jumps))
