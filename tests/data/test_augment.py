import random

import numpy as np
import pytest
import torch

from spikeloom.data import (
    Augment,
    AutoAugment,
    Crop,
    Cutout,
    Flip,
    Mixup,
    Order,
    TensorImages,
    batches,
    normalise,
    roll,
    unit,
)
from spikeloom.data.rectangles import CutMix, Erase
from spikeloom.registry import entries
from tests.data.test_event_steps import IN_TIME

ALL = {
    "crop": Crop(),
    "roll": roll(),
    "flip": Flip(),
    "cutout": Cutout(8),
    "autoaugment": AutoAugment(),
    "mixup": Mixup(10, alpha=0.4),
    "cutmix": CutMix(10),
    "erase": Erase(p=1.0),
}


@pytest.fixture
def batch():
    source = torch.Generator().manual_seed(3)
    x = torch.rand(24, 3, 16, 20, generator=source)
    return x, torch.randint(10, (24,), generator=source)


def test_every_registered_step_is_tried_here():
    assert {entry.name for entry in entries("augment")} == set(ALL) | set(IN_TIME)


@pytest.mark.parametrize("name", ALL)
def test_a_restored_state_repeats_the_images_exactly(batch, name):
    step = Augment([ALL[name]])
    torch.manual_seed(1)
    step(*batch)  # whatever came before
    state = torch.get_rng_state()
    first, then = step(*batch), step(*batch)
    torch.set_rng_state(state)
    again, after = step(*batch), step(*batch)
    for one, other in zip((*first, *then), (*again, *after), strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(first[0], then[0])


@pytest.mark.parametrize("name", ALL)
def test_no_other_source_of_randomness_is_touched(batch, name):
    random.seed(0)
    np.random.seed(0)
    before = random.getstate(), np.random.get_state()[1].tolist()
    ALL[name](*batch)
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before


@pytest.mark.parametrize("name", ALL)
def test_images_keep_shape_type_and_range_and_the_input_stays(batch, name):
    x, y = batch
    kept = x.clone()
    out, target = ALL[name](x, y)
    assert (out.shape, out.dtype) == (x.shape, x.dtype)
    assert 0 <= out.min() <= out.max() <= 1 + 1e-6
    assert torch.equal(x, kept)
    assert len(target) == len(y)


@pytest.mark.parametrize("name", ALL)
def test_the_images_of_a_batch_are_changed_each_in_its_own_way(name):
    one = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    pattern = one.expand(64, -1, -1, -1)
    if name in ("mixup", "cutmix"):
        pattern = pattern * torch.linspace(0, 1, 64)[:, None, None, None]
    torch.manual_seed(0)
    out, _ = ALL[name](pattern, torch.zeros(64, dtype=torch.int64))
    kinds = len(out.flatten(1).unique(dim=0))
    assert kinds >= (2 if name == "flip" else 20)


@pytest.mark.parametrize("name", ALL)
def test_grey_images_and_a_batch_of_one_are_fine(name):
    for count in (0, 1, 5):
        x, y = torch.rand(count, 1, 8, 8), torch.zeros(count, dtype=torch.int64)
        assert ALL[name](x, y)[0].shape == x.shape


@pytest.mark.gpu
@pytest.mark.parametrize("name", ALL)
def test_a_gpu_makes_the_same_images(batch, name):
    x, y = batch
    torch.manual_seed(5)
    here = ALL[name](x, y)
    torch.manual_seed(5)
    there = ALL[name](x.cuda(), y.cuda())
    for one, other in zip(here, there, strict=True):
        torch.testing.assert_close(one, other.cpu(), atol=2 / 255, rtol=0)


def test_a_run_that_goes_on_within_an_epoch_sees_the_same_images():
    images = TensorImages(torch.randint(256, (40, 3, 8, 8), dtype=torch.uint8), torch.arange(40))
    augment = Augment([Crop(), Flip(), AutoAugment(), Cutout(4), Mixup(40)])

    def run(start: int) -> list[torch.Tensor]:
        order = Order(torch.arange(40), 8, seed=1, epoch=2, shuffle=True, start=start)
        seen = []
        for step, (x, y) in enumerate(batches(images, order), start + 1):
            seen += augment(unit(x), y)
            if step == 2:
                saved.append(torch.get_rng_state())
        return seen

    saved: list[torch.Tensor] = []
    whole = run(0)
    torch.manual_seed(99)
    torch.set_rng_state(saved[0])
    rest = run(2)
    assert len(rest) == 6
    for one, other in zip(rest, whole[4:], strict=True):
        assert torch.equal(one, other)


def test_steps_run_one_after_another(batch):
    x, y = batch
    torch.manual_seed(2)
    both = Augment([Crop(2), Mixup(10)])(x, y)
    torch.manual_seed(2)
    apart = Mixup(10)(*Crop(2)(x, y))
    assert torch.equal(both[0], apart[0])
    assert torch.equal(both[1], apart[1])


def test_no_steps_change_nothing(batch):
    x, y = Augment()(*batch)
    assert x is batch[0]
    assert y is batch[1]


def test_stored_pixels_are_refused_until_scaled():
    with pytest.raises(TypeError, match=r"scale with unit\(x\)"):
        Augment([Flip()])(torch.zeros(1, 1, 4, 4, dtype=torch.uint8), torch.zeros(1))


def test_unit_scales_to_one():
    assert unit(torch.tensor([0, 51, 255], dtype=torch.uint8)).tolist() == pytest.approx(
        [0, 0.2, 1]
    )
    with pytest.raises(TypeError, match="expected uint8"):
        unit(torch.zeros(3))


def test_normalise_takes_stored_or_scaled_pixels():
    x = torch.randint(256, (6, 3, 4, 5), dtype=torch.uint8)
    mean, std = (0.1, 0.5, 0.9), (0.2, 0.3, 0.4)
    want = torch.stack(
        [(x[:, c].float() / 255 - mean[c]) / std[c] for c in range(3)],
        dim=1,
    )
    torch.testing.assert_close(normalise(x, mean, std), want)
    torch.testing.assert_close(normalise(unit(x), list(mean), list(std)), want)


def test_normalise_wants_a_mean_and_std_for_each_channel():
    with pytest.raises(ValueError, match="x has 3 channels, but there are 1 means and 3 stds"):
        normalise(torch.zeros(1, 3, 2, 2), (0.5,), (0.5, 0.5, 0.5))


def test_a_sequence_is_changed_in_all_its_steps_alike():
    x = torch.rand(6, 1, 2, 8, 8).repeat(1, 3, 1, 1, 1)
    steps = [Crop(2), Flip(), Cutout(3)]
    found, _ = Augment(steps)(x, torch.arange(6))
    assert found.shape == x.shape
    assert torch.equal(found, found[:, :1].expand_as(found))
    assert not torch.equal(found, x)
