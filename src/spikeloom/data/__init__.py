"""Datasets, their splits, batches and augmentation."""

from spikeloom.data.augment import Augment, normalise, unit
from spikeloom.data.autoaugment import AutoAugment
from spikeloom.data.batches import Order, batches
from spikeloom.data.cifar import cifar10, cifar100
from spikeloom.data.digits import digits
from spikeloom.data.dmts import dmts
from spikeloom.data.drawn import Drawn
from spikeloom.data.events import Bins, Events, Recordings
from spikeloom.data.files import data_root
from spikeloom.data.folder import image_folder
from spikeloom.data.idx import fashion_mnist, kmnist, mnist
from spikeloom.data.nmnist import nmnist
from spikeloom.data.patterns import Patterns
from spikeloom.data.randman import randman
from spikeloom.data.rectangles import CutMix, Erase
from spikeloom.data.sequential import sequential_mnist
from spikeloom.data.source import Images, Source, Splits, TensorImages, split
from spikeloom.data.steps import Crop, Cutout, Flip, Mixup, roll

__all__ = [
    "Augment",
    "AutoAugment",
    "Bins",
    "Crop",
    "CutMix",
    "Cutout",
    "Drawn",
    "Erase",
    "Events",
    "Flip",
    "Images",
    "Mixup",
    "Order",
    "Patterns",
    "Recordings",
    "Source",
    "Splits",
    "TensorImages",
    "batches",
    "cifar10",
    "cifar100",
    "data_root",
    "digits",
    "dmts",
    "fashion_mnist",
    "image_folder",
    "kmnist",
    "mnist",
    "nmnist",
    "normalise",
    "randman",
    "roll",
    "sequential_mnist",
    "split",
    "unit",
]
