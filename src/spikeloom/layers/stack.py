"""Layers one after the other, where a batch norm and the LIF after it run as one operator."""

from itertools import pairwise

from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook

from spikeloom.kernels import door, operator_of
from spikeloom.layers.base import Neuron, dynamics
from spikeloom.layers.norms import BatchNorm, ThresholdBatchNorm

_bn_lif = door("bn_lif")


class Stack(nn.Sequential):
    """``nn.Sequential`` that runs a batch norm and the LIF that follows it as ``bn_lif``.

    Results and names of parameters are those of ``nn.Sequential``; the norm's output is not stored.
    Whatever looks between the two (a hook on either, a ``rule``, a subclass with a ``forward`` of
    its own) has them run one after the other, and so have batch statistics over several processes.

    Shape:
        x_seq [T, N, *] -> [T, N, *]
    Example:
        >>> import torch
        >>> from spikeloom.layers import LIF
        >>> Stack(BatchNorm(3), LIF())(torch.zeros(4, 2, 3, 5, 5)).shape
        torch.Size([4, 2, 3, 5, 5])
    """

    def forward(self, x_seq: Tensor) -> Tensor:
        passed = None
        for layer, following in pairwise([*self, None]):
            if layer is passed:
                passed = None
            elif _as_one(layer, following, x_seq):
                x_seq, passed = _norm_neuron(layer, following, x_seq), following
            else:
                assert layer is not None
                x_seq = layer(x_seq)
        return x_seq


def _as_one(norm: nn.Module | None, neuron: nn.Module | None, x_seq: Tensor) -> bool:
    """Whether the two may run as one operator without anyone who would notice."""
    return (
        type(norm) in (BatchNorm, ThresholdBatchNorm)
        and isinstance(norm, BatchNorm)
        and isinstance(neuron, Neuron)
        and operator_of(neuron.function) == "lif"
        and neuron.rule is dynamics
        and type(neuron).forward is Neuron.forward
        and not any(_watched(module) for module in (norm, neuron))
        and not _has_any_global_hook()
        and not norm.together
        and x_seq.dim() > 2
        and x_seq.shape[2] == norm.channels
    )


def _watched(module: nn.Module) -> bool:
    hooks = (
        module._forward_hooks, module._forward_pre_hooks,
        module._backward_hooks, module._backward_pre_hooks,
    )  # fmt: skip
    return any(hooks) or "forward" in vars(module)


def _norm_neuron(norm: nn.Module | None, neuron: nn.Module | None, x_seq: Tensor) -> Tensor:
    assert isinstance(norm, BatchNorm)
    assert isinstance(neuron, Neuron)
    spike_seq: Tensor = _bn_lif(
        x_seq, norm.scaled_weight(), norm.bias, norm.running_mean, norm.running_var,
        training=norm.training, momentum=norm.momentum, eps=norm.eps, **neuron.arguments(),
    )[0]  # fmt: skip
    return spike_seq
