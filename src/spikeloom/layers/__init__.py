"""Layers: parameters and one call over a sequence [T, N, *]."""

from spikeloom.layers.dropout import Dropout
from spikeloom.layers.neurons import LIF, Neuron, ruled
from spikeloom.layers.norms import BatchNorm, NoNorm, StepBatchNorm, ThresholdBatchNorm
from spikeloom.layers.over_time import OverTime, is_constant

__all__ = [
    "LIF",
    "BatchNorm",
    "Dropout",
    "Neuron",
    "NoNorm",
    "OverTime",
    "StepBatchNorm",
    "ThresholdBatchNorm",
    "is_constant",
    "ruled",
]
