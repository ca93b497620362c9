"""What turns samples into features for classifiers of first spikes."""

from spikeloom.layers.extractors.base import Extractor, Intensities, OnOff
from spikeloom.layers.extractors.soft_hebb import SoftHebb
from spikeloom.layers.extractors.spiking_convolution import SpikingConvolution
from spikeloom.layers.extractors.store import FeatureStore

__all__ = [
    "Extractor",
    "FeatureStore",
    "Intensities",
    "OnOff",
    "SoftHebb",
    "SpikingConvolution",
]
