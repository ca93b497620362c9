"""Fully connected spiking networks; with ``neuron=relu`` the same definition is the ReLU twin."""

from collections.abc import Sequence
from math import prod
from typing import ClassVar

from torch import Tensor, nn

from spikeloom.layers import OverTime, Stack
from spikeloom.models.parts import (
    MakeHead,
    MakeNeuron,
    MakeNorm,
    MakeReadout,
    check_input,
    initialise,
    last_layer,
    linear_layer,
    scaled,
)
from spikeloom.registry import register


@register("model", "spiking_mlp")
class SpikingMLP(nn.Module):
    """Linear layers, norms and neurons in a row, then a linear read-out of every step.

    Each hidden layer is one of ``stages``, with ``stage_channels`` neurons.

    Args:
        hidden: widths of the hidden layers.
        in_shape: (C, *) of one sample, of any rank; it is flattened.
        num_classes: K.
        neuron: makes the neurons of a layer from the shape (C,) of one sample.
        norm: makes the norm of a layer from its number of channels.
        readout: makes what follows the last linear map from the shape (K,): leaky integrators
            (``li``), spiking neurons (``spikes``), or nothing.
        head: makes what stands in place of the last linear map,
            from the number of features and K; instead of ``readout``.
        width: multiplies all hidden widths.
        dropout: share of every hidden layer's inputs left out, the same at all steps.
    Shape:
        x_seq [T, N, *in_shape] -> logits_seq [T, N, K], spikes with ``readout=spikes``
    Raises:
        ValueError: when called, an input that does not fit ``in_shape``.
    """

    step_by_step: ClassVar[bool] = True  # time passes only inside the layers

    def __init__(
        self,
        hidden: Sequence[int] = (256,),
        *,
        in_shape: tuple[int, ...],
        num_classes: int,
        neuron: MakeNeuron,
        norm: MakeNorm,
        readout: MakeReadout | None = None,
        head: MakeHead | None = None,
        width: float = 1.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.in_shape = tuple(in_shape)
        self.flatten = OverTime(nn.Flatten())
        self.stages = Stack()
        self.stage_channels = tuple(scaled(item, width) for item in hidden)
        n = prod(in_shape)
        for out in self.stage_channels:
            layer = linear_layer(n, out, neuron=neuron, norm=norm, dropout=dropout)
            self.stages.append(Stack(*layer))
            n = out
        self.readout = nn.Sequential(*last_layer(n, num_classes, readout, head))
        initialise(self)

    def forward(self, x_seq: Tensor) -> Tensor:
        check_input(self, x_seq, self.in_shape)
        logits_seq: Tensor = self.readout(self.stages(self.flatten(x_seq)))
        return logits_seq
