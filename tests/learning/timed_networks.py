"""Small networks of neurons that learn by their spike times, and a batch for them."""

from functools import partial

import torch

from spikeloom.layers import DoubleExponential, EarlySpikes, NoNorm, Standardised, transform_weights
from spikeloom.learning import Batch, Progress
from spikeloom.models import SpikingVGG

START = Progress(epoch=0, epochs=1, update=0, updates=1)
neurons = partial(DoubleExponential, per="channel", v_threshold=0.6)


def vgg(**more):
    torch.manual_seed(0)
    options = {"neuron": neurons, "norm": NoNorm, "in_shape": (1, 8, 8), "num_classes": 3}
    options |= {"readout": partial(EarlySpikes, neuron=neurons), "kernel": 5}
    return transform_weights(SpikingVGG((4, "P", 6, "P"), (16,), **options | more), Standardised)


def batch(N=6, T=5, seed=1):
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(N, 1, 8, 8, generator=generator)
    return Batch(x.expand(T, *x.shape), torch.arange(N) % 3)
