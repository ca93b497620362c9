"""Trained networks in the form that runs them fastest: spikes as bits."""

from spikeloom.deploy.infer import Packed, Unsupported, infer

__all__ = ["Packed", "Unsupported", "infer"]
