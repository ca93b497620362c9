"""Losses: logits (or spikes) of every step [T, N, K] and targets in, one number out."""

from spikeloom.losses.ltmd import TwoPassCrossEntropy
from spikeloom.losses.rate import CountMSE, RateCrossEntropy, TemporalEfficientTraining

__all__ = ["CountMSE", "RateCrossEntropy", "TemporalEfficientTraining", "TwoPassCrossEntropy"]
