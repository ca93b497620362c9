"""Layers: parameters and one call over a sequence [T, N, *]."""

from spikeloom.layers.base import Neuron, Rule, ruled
from spikeloom.layers.dropout import Dropout
from spikeloom.layers.images import Conv2d, MaxPool2d
from spikeloom.layers.membrane import Membrane
from spikeloom.layers.neurons import ALIF, IF, LIF, CubaLIF, ParametricLIF, ReLU
from spikeloom.layers.norms import BatchNorm, NoNorm, StepBatchNorm, ThresholdBatchNorm, of_sum
from spikeloom.layers.over_time import OverTime, is_constant
from spikeloom.layers.readout import LI
from spikeloom.layers.stack import Stack

__all__ = [
    "ALIF",
    "IF",
    "LI",
    "LIF",
    "BatchNorm",
    "Conv2d",
    "CubaLIF",
    "Dropout",
    "MaxPool2d",
    "Membrane",
    "Neuron",
    "NoNorm",
    "OverTime",
    "ParametricLIF",
    "ReLU",
    "Rule",
    "Stack",
    "StepBatchNorm",
    "ThresholdBatchNorm",
    "is_constant",
    "of_sum",
    "ruled",
]
