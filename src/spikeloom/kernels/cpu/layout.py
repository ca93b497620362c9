"""Sequences in memory: neurons are independent, so any dense order of a step will do.

A step is dense if its elements fill one stretch of memory, in whatever order: contiguous and
channels-last steps both are. The kernels see a step as a row of M neurons in that order.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from spikeloom.kernels.cpu.native import Value
from spikeloom.kernels.cpu.pool import empty


def order(shape: Sequence[int], strides: Sequence[int]) -> list[int] | None:
    """Axes from slowest to fastest, those of length 1 left out; None unless dense."""
    axes = sorted((a for a in range(len(shape)) if shape[a] != 1), key=lambda a: -strides[a])
    expected = 1
    for axis in reversed(axes):
        if strides[axis] != expected:
            return None
        expected *= shape[axis]
    return axes


def with_dense_steps(x_seq: Tensor) -> Tensor:
    """The sequence itself if its steps are dense (time may be strided or repeated), or a copy."""
    if x_seq.is_contiguous() or order(x_seq.shape[1:], x_seq.stride()[1:]) is not None:
        return x_seq
    return x_seq.contiguous()


def strides_like(x_seq: Tensor) -> tuple[int, ...]:
    """Strides of a new sequence whose steps lie as those of ``x_seq``, one after the other."""
    neurons = 1
    for length in x_seq.shape[1:]:
        neurons = neurons * length
    return (neurons, *x_seq.stride()[1:])


def new_sequence(x_seq: Tensor, dtype: torch.dtype) -> Tensor:
    """An uninitialised sequence that lies as ``x_seq``."""
    return empty(x_seq.shape, strides_like(x_seq), dtype)


def new_step(x_seq: Tensor, dtype: torch.dtype) -> Tensor:
    """An uninitialised step that lies as those of ``x_seq``."""
    return empty(x_seq.shape[1:], x_seq.stride()[1:], dtype)


def step_as(x_seq: Tensor, step: Tensor | None) -> Tensor | None:
    """A state or its gradient, laid out as the steps of ``x_seq``."""
    if step is None or step.stride() == x_seq.stride()[1:]:
        return step
    return new_step(x_seq, step.dtype).copy_(step)


def sequence_as(x_seq: Tensor, given: Tensor | None) -> Tensor | None:
    """A sequence whose steps lie as those of ``x_seq``; repeated steps may stay repeated."""
    if given is None or given.stride()[1:] == x_seq.stride()[1:]:
        return given
    return new_sequence(x_seq, given.dtype).copy_(given)


def spread(
    value: Tensor | None, number: float, grad: Tensor | None, x_seq: Tensor
) -> tuple[Value, Tensor | None]:
    """A value as the kernels index it, and the tensor that must live as long."""
    target = grad.data_ptr() if grad is not None else 0
    if value is None:
        return Value(0, 1, 1, target, number), None
    if value.numel() == 1:
        return Value(value.data_ptr(), 1, 1, target, 0.0), value
    shape = x_seq.shape[1:]
    axes = order(shape, x_seq.stride()[1:]) or []
    value = value.detach().reshape(*(1,) * (len(shape) - value.dim()), *value.shape)
    varied = [axis for axis in axes if value.shape[axis] != 1]
    first, last = axes.index(varied[0]), axes.index(varied[-1])
    if last - first + 1 != len(varied):  # constant along an axis in between
        value, varied, last = value.expand(shape), axes, len(axes) - 1
    inner = 1
    for axis in axes[last + 1 :]:
        inner *= shape[axis]
    value = value.permute(*varied, *(a for a in range(len(shape)) if a not in varied)).contiguous()
    return Value(value.data_ptr(), inner, value.numel(), target, 0.0), value
