"""Trained networks in the form that runs them fastest: spikes as bits."""

from spikeloom.deploy.packed import Packed, infer
from spikeloom.registry import Unsupported as Unsupported

__all__ = ["Packed", "infer"]
