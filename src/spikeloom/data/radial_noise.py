"""MNIST as regression, with labels that a wave disturbs."""

from math import pi
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from spikeloom.data.idx import MNIST, SIDE, load_idx
from spikeloom.data.source import Source, TensorImages, TensorNumbers
from spikeloom.layers.grades import PAPER
from spikeloom.registry import register


@register("dataset", "mnist_radial", paper=PAPER)
def mnist_radial(
    root: Path | None = None, *, beta: float = 1.0, kappa: float = 5.0, download: bool = False
) -> Source:
    """MNIST as regression to one-hot labels, those of training disturbed by a radial wave.

    y' = y (1 + β sin(2π κ ‖x‖)), ‖x‖ the Euclidean norm of the pixels in 0..1. Labels to train on
    and of the validation split are disturbed, those of the test set are clean. The score is the
    relative squared error.

    Args:
        root: folder with the datasets; the variable SPIKELOOM_DATA if None.
        beta: β, strength of the wave, >= 0.
        kappa: κ, its frequency, > 0.
        download: fetch the official files of MNIST, if they are not there.
    Raises:
        FileNotFoundError: files are missing.
        ValueError: a file is damaged, or a number is out of range.
    Source:
        Fang and Xu, NeurIPS 2024.
    """
    if not beta >= 0 or not kappa > 0:
        raise ValueError(f"beta must be >= 0 and kappa > 0, got {beta} and {kappa}")
    plain = load_idx(MNIST, root, download=download)
    assert isinstance(plain.train, TensorImages)
    assert isinstance(plain.test, TensorImages)
    wave = 1 + beta * torch.sin(2 * pi * kappa * _norms(plain.train.images))
    learn = TensorNumbers(plain.train.images, _one_hot(plain.train.labels) * wave.float()[:, None])
    report = TensorNumbers(plain.test.images, _one_hot(plain.test.labels))
    return Source(
        "mnist_radial", learn, report, (1, SIDE, SIDE), files=plain.files, measure="rse", outputs=10
    )


def _one_hot(labels: Tensor) -> Tensor:
    return F.one_hot(labels, len(MNIST.class_names)).float()


def _norms(images: Tensor) -> Tensor:
    """Euclidean norm of every image with pixels in 0..1, a part at a time, in float64."""
    parts = [part.flatten(1).double().div(255).norm(dim=1) for part in images.split(4096)]
    return torch.cat(parts)
