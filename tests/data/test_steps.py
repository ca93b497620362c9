import pytest
import torch
import torch.nn.functional as F

from spikeloom.data import Crop, Cutout, Flip, Mixup, roll

LABELS = torch.zeros(40, dtype=torch.int64)


@pytest.fixture
def x() -> torch.Tensor:
    return torch.rand(40, 3, 7, 9, generator=torch.Generator().manual_seed(0)) + 0.1


@pytest.mark.parametrize("mode", ["constant", "reflect", "circular"])
def test_a_crop_is_a_window_of_the_padded_image(x, mode):
    out, _ = Crop(2, mode)(x, LABELS)
    padded = F.pad(x, (2, 2, 2, 2), mode=mode)
    places = set()
    for image, wide in zip(out, padded, strict=True):
        fits = [
            (i, j)
            for i in range(5)
            for j in range(5)
            if torch.equal(image, wide[:, i : i + 7, j : j + 9])
        ]
        assert len(fits) == 1
        places.add(fits[0])
    assert len(places) > 10
    assert {i for i, _ in places} == {j for _, j in places} == set(range(5))


def test_a_roll_loses_no_pixel(x):
    out, _ = roll(3)(x, LABELS)
    assert torch.equal(out.flatten(1).sort().values, x.flatten(1).sort().values)
    assert not torch.equal(out, x)


def test_a_flip_mirrors_about_half_of_the_images():
    x = torch.arange(4.0).expand(1000, 1, 2, 4)
    out, _ = Flip()(x, torch.zeros(1000))
    mirrored = out[:, 0, 0, 0] == 3
    assert torch.equal(out[mirrored], x[mirrored].flip(-1))
    assert torch.equal(out[~mirrored], x[~mirrored])
    assert 400 < mirrored.sum() < 600


@pytest.mark.parametrize(("p", "mirrored"), [(0.0, False), (1.0, True)])
def test_a_flip_can_be_certain(x, p, mirrored):
    out, _ = Flip(p)(x, LABELS)
    assert torch.equal(out, x.flip(-1) if mirrored else x)


@pytest.mark.parametrize("size", [1, 4, 5, 50])
def test_cutout_blanks_one_square_that_may_stick_out(size):
    x = torch.ones(300, 3, 8, 8)
    out, _ = Cutout(size)(x, torch.zeros(300))
    blank = out[:, 0] == 0
    assert torch.equal(out[:, 0], out[:, 2])
    rows, columns = blank.any(2), blank.any(1)
    assert torch.equal(blank, rows[:, :, None] & columns[:, None, :])
    assert int(rows.sum(1).max()) == min(size, 8)
    assert int(rows.sum(1).min()) == min(-(-size // 2), 8)
    assert (rows.diff(dim=1).sum(1) <= 2).all()


def test_cutout_fills_with_the_colour_given():
    fill = (0.2, 0.4, 0.6)
    out, _ = Cutout(100, fill)(torch.ones(2, 3, 4, 4), torch.zeros(2))
    torch.testing.assert_close(out[1, :, 2, 2], torch.tensor(fill))


def test_mixup_blends_images_and_targets_in_the_same_shares():
    torch.manual_seed(0)
    x = torch.eye(6)[:, :, None, None].expand(-1, -1, 2, 2)  # image k is hot in channel k
    out, soft = Mixup(6, alpha=0.7)(x, torch.arange(6))
    torch.testing.assert_close(out.mean((2, 3)), soft)
    torch.testing.assert_close(soft.sum(1), torch.ones(6))
    assert (soft.diagonal() > 0).all()
    assert len(soft.diagonal().unique()) > 1


def test_mixup_of_soft_targets_blends_them_again():
    soft = torch.softmax(torch.randn(5, 4), 1)
    _, out = Mixup(4)(torch.rand(5, 1, 2, 2), soft)
    torch.testing.assert_close(out.sum(1), torch.ones(5))


def test_a_small_alpha_blends_little():
    _, soft = Mixup(2000, alpha=0.02)(torch.rand(2000, 1, 1, 1), torch.arange(2000))
    assert (soft.amax(1) > 0.99).float().mean() > 0.8


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Crop(0), "pad must be >= 1"),
        (lambda: Crop(2, "white"), "mode is 'white'; use one of constant"),
        (lambda: Flip(1.5), "p is a probability"),
        (lambda: Cutout(0), "size must be >= 1"),
        (lambda: Mixup(10, alpha=0), "alpha > 0"),
        (lambda: Mixup(0), "num_classes must be >= 1"),
        (lambda: Mixup(3)(torch.rand(2, 1, 1, 1), torch.rand(2, 4)), r"got \(2, 4\)"),
    ],
)
def test_what_cannot_be_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
