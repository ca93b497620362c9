"""Cutmix and random erasing."""

import pytest
import torch

from spikeloom.data import Augment
from spikeloom.registry import find

CutMix, Erase = find("augment", "cutmix").build, find("augment", "erase").build


def labelled(count=12):
    """Images that hold the number of their class in every pixel."""
    y = torch.arange(count) % 4
    return (y / 10).view(-1, 1, 1, 1).expand(count, 3, 16, 16).clone(), y


@pytest.mark.parametrize("soft", [False, True])
def test_targets_are_mixed_as_the_pixels_are(soft):
    x, y = labelled()
    target = torch.eye(4)[y] if soft else y
    for seed in range(5):
        torch.manual_seed(seed)
        mixed, found = CutMix(4)(x, target)
        shares = torch.stack([(mixed == k / 10).float().mean((1, 2, 3)) for k in range(4)], 1)
        torch.testing.assert_close(found, shares, rtol=0, atol=1e-6)
    assert (found.max(1).values < 1).any()


def test_a_batch_is_left_alone_with_probability_one_minus_p():
    x, y = labelled()
    mixed, found = CutMix(4, p=0.0)(x, y)
    assert torch.equal(mixed, x)
    assert torch.equal(found, torch.eye(4)[y])


def test_erasing_blanks_a_rectangle_of_a_share_of_the_images():
    x = torch.ones(400, 3, 16, 16)
    erased, y = Erase(p=0.25, scale=(0.1, 0.2))(x, torch.arange(400))
    blank = (erased == 0).float().mean((1, 2, 3))
    assert (blank > 0).float().mean().item() == pytest.approx(0.25, abs=0.08)
    assert blank.max() < 0.25
    assert torch.equal(y, torch.arange(400))


@pytest.mark.parametrize("step", [lambda: CutMix(4), lambda: Erase(p=1.0)], ids=["cutmix", "erase"])
def test_the_state_of_torch_repeats_the_images(step):
    augment, (x, y) = Augment([step()]), labelled()
    state = torch.get_rng_state()
    first = augment(x, y)
    augment(x, y)
    torch.set_rng_state(state)
    for one, other in zip(first, augment(x, y), strict=True):
        assert torch.equal(one, other)


def test_impossible_arguments_are_refused():
    for wrong in ({"alpha": 0.0}, {"p": 2.0}):
        with pytest.raises(ValueError, match="cutmix needs"):
            CutMix(4, **wrong)
    with pytest.raises(ValueError, match="expected targets"):
        CutMix(4)(torch.rand(2, 3, 8, 8), torch.rand(2, 3))
    for wrong in ({"p": -1.0}, {"scale": (0.5, 0.1)}, {"ratio": (0.0, 1.0)}):
        with pytest.raises(ValueError, match="erase needs"):
            Erase(**wrong)
