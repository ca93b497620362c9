"""Spikeloom: train, understand and deploy deep spiking neural networks.

Sequences are time first, ``[T, N, *]``; nothing keeps state between calls.
"""

__version__ = "0.1.0"
