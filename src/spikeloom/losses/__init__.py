"""Losses: logits (or spikes) of every step [T, N, K] and targets in, one number out."""

from spikeloom.losses.counts import (
    Count,
    CountPlus,
    CountZero,
    CrossEntropyPlus,
    SpikeKernel,
    TimeToFirstSpike,
)
from spikeloom.losses.ltmd import TwoPassCrossEntropy
from spikeloom.losses.numbers import MSE
from spikeloom.losses.photometric import Photometric
from spikeloom.losses.rate import (
    CountMSE,
    RateCrossEntropy,
    SumCrossEntropy,
    TemporalEfficientTraining,
)

__all__ = [
    "MSE",
    "Count",
    "CountMSE",
    "CountPlus",
    "CountZero",
    "CrossEntropyPlus",
    "Photometric",
    "RateCrossEntropy",
    "SpikeKernel",
    "SumCrossEntropy",
    "TemporalEfficientTraining",
    "TimeToFirstSpike",
    "TwoPassCrossEntropy",
]
