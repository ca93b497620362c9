"""The digits that come with scikit-learn: small enough for a first run, no download."""

from pathlib import Path

import numpy as np
import torch

from spikeloom.data.resize import resized
from spikeloom.data.source import Source, TensorImages, pixel_mean_std
from spikeloom.registry import register

TEST_COUNT = 360
SEED = 0
SIDE = 8


@register("dataset", "digits")
def digits(root: Path | None = None, *, download: bool = False, side: int = SIDE) -> Source:
    """Handwritten digits, 8 x 8 grey, 1,437 + 360; part of scikit-learn, so nothing to fetch.

    Values 0..16 become 0..255. The set has no split of its own: the same fifth of each class, drawn
    once with seed 0, is the test set; the training images are in drawn order, so that
    the last ones hold all classes and serve as a validation split.

    Args:
        root: not needed, taken so that all datasets are built alike.
        download: not needed.
        side: pixels along each side; other than 8 they are resized, bilinear with anti-aliasing.
    Source:
        Alpaydin & Kaynak (1998), Optical Recognition of Handwritten Digits, UCI; the 1,797 images
        of its test part.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    del root, download
    bunch = load_digits()
    order = np.arange(len(bunch.target))
    train, test = train_test_split(
        order, test_size=TEST_COUNT, stratify=bunch.target, random_state=SEED
    )
    images = torch.from_numpy(np.rint(bunch.images * (255 / 16)).astype(np.uint8))[:, None]
    labels = torch.from_numpy(bunch.target.astype(np.int64))
    parts = (TensorImages(images[at], labels[at]) for at in (train, test))
    learn, report = (resized(part, side) for part in parts)
    mean, std = pixel_mean_std(learn.images)
    return Source("digits", learn, report, (1, side, side), tuple("0123456789"), mean, std)
