"""Energy: what a network does for one sample, and what that costs on a stated machine."""

from spikeloom.deploy.energy.constants import Constants, Precision, read_constants
from spikeloom.deploy.energy.counter import count_operations
from spikeloom.deploy.energy.counts import Counts, LayerCounts
from spikeloom.deploy.energy.price import LayerEnergy, Machine, price
from spikeloom.deploy.energy.quantise import quantised

__all__ = [
    "Constants",
    "Counts",
    "LayerCounts",
    "LayerEnergy",
    "Machine",
    "Precision",
    "count_operations",
    "price",
    "quantised",
    "read_constants",
]
