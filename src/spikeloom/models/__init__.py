"""Networks, one family a file: sequences [T, N, C, H, W] in, logits of every step [T, N, K] out."""

from spikeloom.models.diehl_cook import DiehlCook
from spikeloom.models.ei_network import RecurrentEI
from spikeloom.models.first_spike import FirstSpike
from spikeloom.models.graded_mlp import GradedMLP
from spikeloom.models.hetsyn_mlp import HetSynMLP
from spikeloom.models.nerf import NeRF
from spikeloom.models.radiance_field import RadianceField
from spikeloom.models.spiking_densenet import SpikingDenseNet
from spikeloom.models.spiking_mlp import SpikingMLP
from spikeloom.models.spiking_resnet import SpikingResNet
from spikeloom.models.spiking_vgg import SpikingVGG
from spikeloom.models.stmixer import STMixer

__all__ = [
    "DiehlCook",
    "FirstSpike",
    "GradedMLP",
    "HetSynMLP",
    "NeRF",
    "RadianceField",
    "RecurrentEI",
    "STMixer",
    "SpikingDenseNet",
    "SpikingMLP",
    "SpikingResNet",
    "SpikingVGG",
]
