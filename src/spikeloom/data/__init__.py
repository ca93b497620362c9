"""Datasets, their splits, batches and augmentation."""

from spikeloom.data.augment import Augment, normalise, unit
from spikeloom.data.autoaugment import AutoAugment
from spikeloom.data.batches import Order, batches
from spikeloom.data.blender import blender
from spikeloom.data.cifar import cifar10, cifar100
from spikeloom.data.digits import digits
from spikeloom.data.dmts import dmts
from spikeloom.data.drawn import Drawn
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
from spikeloom.data.functions import manifold, sines
from spikeloom.data.idx import fashion_mnist, kmnist, mnist
from spikeloom.data.llff import llff
from spikeloom.data.nmnist import nmnist
from spikeloom.data.painting import painting
from spikeloom.data.patterns import Patterns
from spikeloom.data.photo import photo
from spikeloom.data.radial_noise import mnist_radial
from spikeloom.data.randman import randman
from spikeloom.data.ray_plan import RayPlan
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
    "cifar10",
    "cifar100",
    "data_root",
    "digits",
    "dmts",
    "fashion_mnist",
    "image_folder",
    "kmnist",
    "llff",
    "manifold",
    "mnist",
    "mnist_radial",
    "nmnist",
    "normalise",
    "painting",
    "photo",
    "randman",
    "roll",
    "sequential_mnist",
    "sines",
    "split",
    "time_roll",
    "tiny_nerf",
    "unit",
    "unit_roll",
]
