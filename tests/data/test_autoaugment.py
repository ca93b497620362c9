"""Every operation against Pillow, on the grid of 8-bit values."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps

from spikeloom.data import AutoAugment
from spikeloom.data.autoaugment import _operation

H, W = 20, 32
GREY = (128, 128, 128)


@pytest.fixture
def picture() -> Image.Image:
    """Smooth colours with an edge, not using the full range."""
    rows, columns = np.mgrid[0:H, 0:W]
    planes = [30 + 5 * rows, 20 + 6 * columns, 100 + 3 * rows + 2 * columns * (columns > 12)]
    return Image.fromarray(np.stack(planes, -1).clip(0, 255).astype(np.uint8))


def affine(*coefficients):
    return lambda im: im.transform(
        im.size, Image.Transform.AFFINE, coefficients, Image.Resampling.NEAREST, fillcolor=GREY
    )


def enhance(kind):
    return lambda s: lambda im: kind(im).enhance(1 + 0.9 * s)


PILLOW = {
    "invert": lambda s: ImageOps.invert,
    "auto_contrast": lambda s: ImageOps.autocontrast,
    "equalize": lambda s: ImageOps.equalize,
    "solarize": lambda s: lambda im: ImageOps.solarize(im, 255 * (1 - abs(s))),
    "posterize": lambda s: lambda im: ImageOps.posterize(im, 8 - round(4 * abs(s))),
    "contrast": enhance(ImageEnhance.Contrast),
    "brightness": enhance(ImageEnhance.Brightness),
    "color": enhance(ImageEnhance.Color),
    "sharpness": enhance(ImageEnhance.Sharpness),
    "rotate": lambda s: lambda im: im.rotate(30 * s, fillcolor=GREY),
    "shear_x": lambda s: affine(1, 0.3 * s, 0, 0, 1, 0),
    "shear_y": lambda s: affine(1, 0, 0, 0.3 * s, 1, 0),
    "translate_x": lambda s: affine(1, 0, 150 / 331 * s * W, 0, 1, 0),
    "translate_y": lambda s: affine(1, 0, 0, 0, 1, 150 / 331 * s * H),
}
# Pillow rounds its enhancements to whole values along the way.
ROUNDED = {"contrast", "color", "sharpness", "brightness", "auto_contrast", "equalize"}


@pytest.mark.parametrize("strength", [-1.0, -4 / 9, 2 / 9, 8 / 9])
@pytest.mark.parametrize("name", PILLOW)
def test_an_operation_does_what_pillow_does(picture, name, strength):
    want = np.asarray(PILLOW[name](strength)(picture)).astype(int)
    x = torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1)[None] / 255
    out = _operation(name)(x, torch.tensor([strength]))[0].permute(1, 2, 0)
    error = np.abs((out * 255).round().numpy().astype(int) - want)
    # A nearest pixel may be another one where the place falls between two.
    assert (error > (2 if name in ROUNDED else 1)).mean() < 0.03


def test_every_operation_of_every_policy_is_compared():
    for policy in ("cifar10", "svhn", "imagenet"):
        assert set(AutoAugment(policy).names) <= set(PILLOW)


@pytest.mark.parametrize("name", PILLOW)
def test_strengths_are_those_of_each_image(name):
    x = torch.rand(5, 3, 12, 12)
    strength = torch.tensor([-1.0, -0.5, 0.1, 0.6, 1.0])
    together = _operation(name)(x, strength)
    apart = torch.cat([_operation(name)(x[i : i + 1], strength[i : i + 1]) for i in range(5)])
    torch.testing.assert_close(together, apart)


def test_a_channel_of_one_value_keeps_it():
    x = torch.full((2, 3, 5, 5), 0.3)
    for name in ("auto_contrast", "equalize"):
        torch.testing.assert_close(_operation(name)(x, torch.ones(2)), x)


def test_pairs_come_as_often_as_they_should():
    step = AutoAugment("cifar10")
    assert step.which.shape == (25, 2)
    x = torch.full((20000, 1, 3, 3), 0.25)
    torch.manual_seed(0)
    out, _ = step(x, torch.zeros(20000))
    # Flat grey becomes 0.75 by inversion, in two of 25 pairs done with 0.1, and by solarizing
    # from 1/9 on, in one pair done with 0.2. Three standard errors are 0.0027.
    share = ((out - 0.75).abs() < 1e-3).flatten(1).all(1).float().mean()
    assert abs(share - (0.1 + 0.1 + 0.2) / 25) < 0.0027


def test_directions_go_both_ways():
    x = torch.zeros(600, 1, 9, 9)
    x[:, :, 4, 4] = 1
    torch.manual_seed(0)
    out, _ = AutoAugment()(x, torch.zeros(600))
    row = (out[:, 0] == 1).float()
    alone = row.flatten(1).sum(1) == 1
    place = row[alone].flatten(1).argmax(1)
    assert {int(p) // 9 < 4 for p in place if int(p) // 9 != 4} == {True, False}
    assert {int(p) % 9 < 4 for p in place if int(p) % 9 != 4} == {True, False}


def test_an_unknown_policy_is_refused():
    with pytest.raises(ValueError, match="policy is 'mnist'; use one of cifar10, svhn, imagenet"):
        AutoAugment("mnist")
