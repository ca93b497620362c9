"""Layers: parameters and one call over a sequence [T, N, *]."""

from spikeloom.layers.base import Neuron, Rule, Temporal, ruled, standing_in
from spikeloom.layers.binary import Binary, Codes
from spikeloom.layers.carry import carry, units, unrolled, whole_only
from spikeloom.layers.decision import Latest, Softmax
from spikeloom.layers.double_exponential import DoubleExponential, EarlySpikes
from spikeloom.layers.dropout import Dropout
from spikeloom.layers.ei_network import EINetwork
from spikeloom.layers.extractors import (
    Extractor,
    Intensities,
    OnOff,
    SoftHebb,
    SpikingConvolution,
)
from spikeloom.layers.first_spike import FirstSpikes
from spikeloom.layers.grades import FirstGrades, Grades
from spikeloom.layers.hetsyn import GroupedSynapses, HetSynLIF, Synapses
from spikeloom.layers.images import Conv2d, MaxPool2d
from spikeloom.layers.late_spikes import late_spikes
from spikeloom.layers.learnable import neuron_values
from spikeloom.layers.linear import Linear
from spikeloom.layers.ltmd import LTMD
from spikeloom.layers.ltmd_head import Graded, Lateral, LTMDHead
from spikeloom.layers.membrane import Firing, Leaking, Membrane, Resetting, set_surrogate
from spikeloom.layers.moderate_dropout import ModerateDropout
from spikeloom.layers.neurons import ALIF, IF, LIF, CubaLIF, ParametricLIF, ReLU
from spikeloom.layers.norms import BatchNorm, NoNorm, StepBatchNorm, ThresholdBatchNorm, of_sum
from spikeloom.layers.over_time import OverTime, is_constant
from spikeloom.layers.readout import LI, Head, NoReadout, spikes
from spikeloom.layers.recurrent import RecurrentLIF
from spikeloom.layers.stack import Stack
from spikeloom.layers.sub_bit import OSQuant, SubBit, codes_of
from spikeloom.layers.tebn import TemporalEffectiveBatchNorm
from spikeloom.layers.ternary import ShiftedTernaryLIF, TernaryLIF, TernarySpike
from spikeloom.layers.tokens import TokenMixing
from spikeloom.layers.weights import (
    Place,
    Standardised,
    plain_weights,
    transform_of,
    transform_weights,
)

__all__ = [
    "ALIF",
    "IF",
    "LI",
    "LIF",
    "LTMD",
    "BatchNorm",
    "Binary",
    "Codes",
    "Conv2d",
    "CubaLIF",
    "DoubleExponential",
    "Dropout",
    "EINetwork",
    "EarlySpikes",
    "Extractor",
    "Firing",
    "FirstGrades",
    "FirstSpikes",
    "Graded",
    "Grades",
    "GroupedSynapses",
    "Head",
    "HetSynLIF",
    "Intensities",
    "LTMDHead",
    "Lateral",
    "Latest",
    "Leaking",
    "Linear",
    "MaxPool2d",
    "Membrane",
    "ModerateDropout",
    "Neuron",
    "NoNorm",
    "NoReadout",
    "OSQuant",
    "OnOff",
    "OverTime",
    "ParametricLIF",
    "Place",
    "ReLU",
    "RecurrentLIF",
    "Resetting",
    "Rule",
    "ShiftedTernaryLIF",
    "SoftHebb",
    "Softmax",
    "SpikingConvolution",
    "Stack",
    "Standardised",
    "StepBatchNorm",
    "SubBit",
    "Synapses",
    "Temporal",
    "TemporalEffectiveBatchNorm",
    "TernaryLIF",
    "TernarySpike",
    "ThresholdBatchNorm",
    "TokenMixing",
    "carry",
    "codes_of",
    "is_constant",
    "late_spikes",
    "neuron_values",
    "of_sum",
    "plain_weights",
    "ruled",
    "set_surrogate",
    "spikes",
    "standing_in",
    "transform_of",
    "transform_weights",
    "units",
    "unrolled",
    "whole_only",
]
