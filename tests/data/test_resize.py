"""Images of another size, made when they are read."""

import pytest
import torch

from spikeloom.data import TensorImages, digits
from spikeloom.data.resize import resized


def test_constant_images_stay_constant_and_labels_stay():
    images = torch.arange(3, dtype=torch.uint8).mul(100).view(3, 1, 1, 1).expand(3, 1, 28, 28)
    found = resized(TensorImages(images.contiguous(), torch.tensor([4, 5, 6])), 15)
    assert found.images.shape == (3, 1, 15, 15)
    assert [image.unique().tolist() for image in found.images] == [[0], [100], [200]]
    assert found.labels.tolist() == [4, 5, 6]


def test_the_same_size_is_the_same_images():
    part = TensorImages(torch.zeros(2, 1, 28, 28, dtype=torch.uint8), torch.zeros(2).long())
    assert resized(part, 28) is part


def test_a_data_set_says_the_size_that_it_has():
    source = digits(side=15)
    assert source.shape == (1, 15, 15)
    assert source.train.images.shape[1:] == (1, 15, 15)
    plain = digits().train.images.float().mean()
    assert source.train.images.float().mean() == pytest.approx(plain.item(), rel=0.02)
    with pytest.raises(ValueError, match="side is in pixels"):
        digits(side=0)
