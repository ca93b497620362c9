"""Trained networks whose spikes stay single bits, run and as files."""

from spikeloom.deploy.packed.file import bytes_of, read_packed, write_packed
from spikeloom.deploy.packed.network import Packed, infer

__all__ = ["Packed", "bytes_of", "infer", "read_packed", "write_packed"]
