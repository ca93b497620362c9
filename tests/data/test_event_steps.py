"""Augmentation that sees the time axis: exact to resume, for sequences only, events for events."""

import pytest
import torch
from torch import Tensor

from spikeloom.data import (
    AddEvents,
    Augment,
    Crop,
    DropEvents,
    Flip,
    Jitter,
    Mixup,
    Order,
    TimeFlip,
    TimeWarp,
    batches,
    time_roll,
    unit,
    unit_roll,
)
from spikeloom.data.randman import SpikeTimes
from spikeloom.registry import entries
from spikeloom.run import session
from spikeloom.run.config import ConfigError, validate
from tests.run.recipe import tiny

IN_TIME = {
    "drop_events": DropEvents(0.3),
    "add_events": AddEvents(0.05),
    "jitter": Jitter(2.0),
    "time_warp": TimeWarp(0.5),
    "time_flip": TimeFlip(),
    "time_roll": time_roll(3),
    "unit_roll": unit_roll(2),
}
LOSELESS = ("jitter", "time_flip", "time_roll", "unit_roll")


def sequences(count: int = 24) -> Tensor:
    x = torch.poisson(torch.full((count, 9, 6, 2, 2), 0.3), torch.Generator().manual_seed(3))
    return unit(x.to(torch.uint8))


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    return sequences(), torch.zeros(24, dtype=torch.int64)


def test_every_step_in_time_is_tried_here():
    found = {e.name for e in entries("augment") if "event_steps" in e.build.__module__}
    assert found == set(IN_TIME)


@pytest.mark.parametrize("name", IN_TIME)
def test_a_restored_state_repeats_the_sequences_exactly(batch, name):
    step = Augment([IN_TIME[name]])
    torch.manual_seed(1)
    step(*batch)
    state = torch.get_rng_state()
    first, then = step(*batch)[0], step(*batch)[0]
    torch.set_rng_state(state)
    assert torch.equal(step(*batch)[0], first)
    assert torch.equal(step(*batch)[0], then)
    assert not torch.equal(first, then)


@pytest.mark.parametrize("name", IN_TIME)
def test_counts_stay_counts_of_the_same_shape(batch, name):
    x, y = batch
    kept = x.clone()
    out, target = Augment([IN_TIME[name]])(x, y)
    assert out.shape == x.shape
    assert out.dtype == x.dtype
    assert torch.equal(x, kept)
    assert target is y
    torch.testing.assert_close(255 * out, (255 * out).round())
    if name in LOSELESS:
        assert (255 * out).sum().round() == (255 * x).sum().round()


@pytest.mark.parametrize("name", ["add_events", "jitter", "time_warp"])
def test_binary_sequences_stay_binary(name):
    x = (sequences() > 0).float() / 255
    assert (255 * IN_TIME[name](x, torch.zeros(24))[0]).max().round() == 1


@pytest.mark.parametrize("name", IN_TIME)
def test_the_sequences_of_a_batch_are_changed_each_in_its_own_way(name):
    out, _ = IN_TIME[name](sequences(1).expand(64, -1, -1, -1, -1), torch.zeros(64))
    assert len(out.flatten(1).unique(dim=0)) >= (2 if name == "time_flip" else 5)


@pytest.mark.parametrize("name", IN_TIME)
def test_empty_batches_pass_and_images_are_refused(name):
    assert IN_TIME[name](sequences(0), torch.zeros(0))[0].shape == (0, 9, 6, 2, 2)
    with pytest.raises(ValueError, match="has no steps"):
        IN_TIME[name](torch.rand(2, 3, 8, 8), torch.zeros(2))


def test_other_steps_still_see_one_image(batch):
    x, y = batch
    torch.manual_seed(2)
    together, _ = Augment([Crop(1), Jitter(1.0), Flip()])(x, y)
    torch.manual_seed(2)
    cut = Crop(1)(x.flatten(1, 2), y)[0].unflatten(1, x.shape[1:3])
    apart, _ = Flip()(Jitter(1.0)(cut, y)[0].flatten(1, 2), y)
    assert torch.equal(together, apart.view_as(x))


def test_a_flip_plays_backwards():
    x = sequences()
    assert torch.equal(TimeFlip(1.0)(x, x)[0], x.flip(1))
    assert torch.equal(TimeFlip(0.0)(x, x)[0], x)


def test_blended_counts_are_refused(batch):
    with pytest.raises(ValueError, match="before steps that blend"):
        Augment([Mixup(3), DropEvents()])(*batch)


@pytest.mark.parametrize(
    "make",
    [
        lambda: DropEvents(2.0), lambda: AddEvents(-1.0), lambda: Jitter(-1.0),
        lambda: TimeWarp(0.0), lambda: TimeFlip(-0.1), lambda: time_roll(0),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(make):
    with pytest.raises(ValueError, match="got"):
        make()


def test_a_run_that_goes_on_within_an_epoch_sees_the_same_sequences():
    times = torch.randint(7, (40, 5), generator=torch.Generator().manual_seed(0))
    images = SpikeTimes(times, torch.arange(40), 7)
    augment = Augment(list(IN_TIME.values()))
    saved: list[Tensor] = []

    def run(start: int) -> list[Tensor]:
        order = Order(torch.arange(40), 8, seed=1, epoch=2, shuffle=True, start=start)
        seen = []
        for step, (x, y) in enumerate(batches(images, order), start + 1):
            seen.append(augment(unit(x), y)[0])
            if step == 2:
                saved.append(torch.get_rng_state())
        return seen

    whole = run(0)
    torch.manual_seed(99)
    torch.set_rng_state(saved[0])
    for one, other in zip(run(2), whole[2:], strict=True):
        assert torch.equal(one, other)


def recorded(*augment: str, **data: object) -> object:
    return validate(
        {
            "model": {"name": "spiking_mlp", "hidden": [8], "T": 6, "encoder": "recorded"},
            "data": {
                "name": "randman", "classes": 2, "count": 30, "inputs": 5, "val": 6, "batch": 12,
                "augment": list(augment), **data,
            },
            "phase": [{"epochs": 1}],
            "run": {"threads": 1},
        }
    )  # fmt: skip


def test_a_run_takes_all_of_them(tmp_path):
    assert session.train(recorded(*IN_TIME), tmp_path / "run")["test"]["count"] == 12


def test_runs_on_images_or_other_numbers_refuse_them(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="come from the encoder 'constant'"):
        session.train(tiny(data__augment=["time_flip"]), tmp_path / "images")
    from spikeloom.data import Source

    monkeypatch.setattr(Source, "counts", False)
    with pytest.raises(ConfigError, match="holds other numbers than counts"):
        session.train(recorded("jitter"), tmp_path / "numbers")
    assert session.train(recorded("time_roll"), tmp_path / "rolled")
