"""Trained networks elsewhere: as bits where they run fastest, and on chips with faults."""

from spikeloom.deploy.faults import Faults, faulty
from spikeloom.deploy.packed import Packed, infer
from spikeloom.registry import Unsupported as Unsupported

__all__ = ["Faults", "Packed", "faulty", "infer"]
