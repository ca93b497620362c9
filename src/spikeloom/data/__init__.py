"""Datasets, their splits, batches and augmentation."""

from spikeloom.data.augment import Augment, normalise, unit
from spikeloom.data.autoaugment import AutoAugment
from spikeloom.data.batches import Order, batches
from spikeloom.data.blender import blender
from spikeloom.data.braille import braille
from spikeloom.data.cache import cached
from spikeloom.data.cifar import cifar10, cifar100
from spikeloom.data.cifar10_dvs import cifar10_dvs
from spikeloom.data.digits import digits
from spikeloom.data.dmts import dmts
from spikeloom.data.drawn import Drawn
from spikeloom.data.dvs_gesture import dvs_gesture
from spikeloom.data.event_steps import (
    AddEvents,
    DropEvents,
    Jitter,
    TimeFlip,
    TimeWarp,
    time_roll,
    unit_roll,
)
from spikeloom.data.events import Bins, Events, Recordings
from spikeloom.data.files import data_root
from spikeloom.data.folder import image_folder
from spikeloom.data.fsdd import LevelCrossing, fsdd
from spikeloom.data.functions import manifold, sines
from spikeloom.data.idx import fashion_mnist, kmnist, mnist
from spikeloom.data.llff import llff
from spikeloom.data.ncaltech101 import ncaltech101
from spikeloom.data.nmnist import nmnist
from spikeloom.data.painting import painting
from spikeloom.data.patterns import Patterns
from spikeloom.data.photo import photo
from spikeloom.data.radial_noise import mnist_radial
from spikeloom.data.randman import randman
from spikeloom.data.ray_plan import RayPlan
from spikeloom.data.recorded import recorded_source
from spikeloom.data.rectangles import CutMix, Erase
from spikeloom.data.sequential import sequential_mnist
from spikeloom.data.source import (
    Images,
    Plan,
    Plot,
    Source,
    Splits,
    TensorImages,
    TensorNumbers,
    split,
)
from spikeloom.data.spike_files import fsdd_spikes, shd, ssc
from spikeloom.data.steps import Crop, Cutout, Flip, Mixup, roll
from spikeloom.data.tiny_nerf import tiny_nerf
from spikeloom.data.views import Views

__all__ = [
    "AddEvents",
    "Augment",
    "AutoAugment",
    "Bins",
    "Crop",
    "CutMix",
    "Cutout",
    "Drawn",
    "DropEvents",
    "Erase",
    "Events",
    "Flip",
    "Images",
    "Jitter",
    "LevelCrossing",
    "Mixup",
    "Order",
    "Patterns",
    "Plan",
    "Plot",
    "RayPlan",
    "Recordings",
    "Source",
    "Splits",
    "TensorImages",
    "TensorNumbers",
    "TimeFlip",
    "TimeWarp",
    "Views",
    "batches",
    "blender",
    "braille",
    "cached",
    "cifar10",
    "cifar10_dvs",
    "cifar100",
    "data_root",
    "digits",
    "dmts",
    "dvs_gesture",
    "fashion_mnist",
    "fsdd",
    "fsdd_spikes",
    "image_folder",
    "kmnist",
    "llff",
    "manifold",
    "mnist",
    "mnist_radial",
    "ncaltech101",
    "nmnist",
    "normalise",
    "painting",
    "photo",
    "randman",
    "recorded_source",
    "roll",
    "sequential_mnist",
    "shd",
    "sines",
    "split",
    "ssc",
    "time_roll",
    "tiny_nerf",
    "unit",
    "unit_roll",
]
