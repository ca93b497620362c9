"""Every shipped recipe parses, builds and takes one step, on made-up images of its shape."""

from functools import partial, wraps
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spikeloom.data import (
    Bins,
    Events,
    RayPlan,
    Recordings,
    Source,
    TensorImages,
    TensorNumbers,
    Views,
)
from spikeloom.functional.radiance import RAY, orbit
from spikeloom.layers import Grades
from spikeloom.learning import Progress
from spikeloom.registry import Entry, entries
from spikeloom.run import build as building
from spikeloom.run.board import Both
from spikeloom.run.config import load, recipes
from spikeloom.run.distributed import Processes
from spikeloom.run.loop import Training
from spikeloom.run.session import Silent
from spikeloom.run.task import prepare

RECORDED = (  # sequences
    "nmnist", "dmts", "randman", "sequential_mnist", "shd", "fsdd_spikes", "fsdd", "braille",
)  # fmt: skip
SHAPES = {
    "digits": ((1, 8, 8), 10),
    "mnist": ((1, 28, 28), 10),
    "fashion_mnist": ((1, 28, 28), 10),
    "kmnist": ((1, 28, 28), 10),
    "cifar10": ((3, 32, 32), 10),
    "cifar100": ((3, 32, 32), 100),
    "mnist_radial": ((1, 28, 28), 10),
    "photo": ((2,), 3),
    "image_folder": ((3, 224, 224), 1000),
    "nmnist": ((2, 32, 32), 10),
    "dmts": ((30, 1, 1), 2),
    "randman": ((20, 1, 1), 10),
    "sequential_mnist": ((28, 1, 1), 10),
    "shd": ((700, 1, 1), 20),
    "fsdd_spikes": ((700, 1, 1), 10),
    "fsdd": ((496, 1, 1), 10),
    "braille": ((2, 12, 1), 27),
}
SCENES = ("blender", "llff", "tiny_nerf")
# Of numbers: shape of a sample, outputs and measure.
NUMBERS = {
    "sines": ((1,), 1, "rse"),
    "manifold": ((2,), 1, "rse"),
    "photo": ((2,), 3, "psnr"),
    "mnist_radial": ((1, 28, 28), 10, "rse"),
    "painting": ((26,), 3, "psnr"),
}


def made_up_events(shape: tuple[int, ...], number: int) -> Events:
    """A hundred events anywhere."""
    draw = np.random.default_rng(number)
    return Events(np.arange(100), tuple(draw.integers(0, side, 100) for side in shape))


def made_up_numbers(name: str) -> Source:
    shape, outputs, measure = NUMBERS[name]
    x = torch.rand(24, *shape)
    x = (255 * x).byte() if len(shape) == 3 else x
    part = TensorNumbers(x, torch.rand(24, outputs))
    return Source(name, part, part, shape, measure=measure, outputs=outputs)


def made_up_rays(name: str) -> Source:
    poses = orbit(3, radius=4.0)
    part = Views(torch.rand(3, 4, 4, 3), poses, 5.0, 2.0, 6.0, partial(orbit, radius=4.0))
    plan = RayPlan(4, (4, 4))
    return Source(name, part, part, (RAY,), measure="psnr", outputs=3, plan=plan)


def made_up(name: str, T: int) -> Source:
    if name in SCENES:
        return made_up_rays(name)
    if name in NUMBERS:
        return made_up_numbers(name)
    shape, classes = SHAPES[name]
    images = torch.randint(0, 256, (24, *shape), dtype=torch.uint8)
    part: Any = TensorImages(images, torch.arange(24) % classes)
    if name in RECORDED:
        part = Recordings(range(24), part.labels, partial(made_up_events, shape), Bins(T, shape))
    names = tuple(map(str, range(classes)))
    middle = (0.5,) * shape[0]
    return Source(name, part, part, shape, names, middle, middle)


@pytest.mark.parametrize("name", recipes())
def test_recipe_takes_a_step(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    find = building.find
    wanted = load(name).data.name
    if wanted not in {entry.name for entry in entries("dataset")}:
        pytest.skip(f"there is no data set {wanted} yet")

    def found(kind: str, wanted: str) -> Entry:
        entry = find(kind, wanted)
        if kind != "dataset":
            return entry

        @wraps(entry.build)  # its arguments are checked
        def source(root: Path | None = None, T: int = 0, **_: Any) -> Source:
            return made_up(wanted, T)

        return Entry(kind, wanted, source, entry.summary)

    monkeypatch.setattr(building, "find", found)
    config = load(
        name, ["data.val=4", "data.train=20", "data.test=4", "data.batch=4", "data.cache=false"]
    )
    task = prepare(config, Processes(), torch.device("cpu"), None)
    training = Training(task, tmp_path, Both(Silent(), Silent()))
    batch = next(task.load("train", task.order("train")))
    loss, _ = training._update([batch], Progress(0, 1, 1, 2))
    assert torch.isfinite(torch.tensor(loss))
    model = training.stage.model
    closed = {f".{at}." for at in range(1, len(model))} if isinstance(model, Grades) else set()
    for parameter_name, parameter in model.named_parameters():
        rests = parameter_name.endswith(".proxy")  # has a gradient at every so many updates
        rests = rests or any(parameter_name.partition(".")[2].startswith(at[1:]) for at in closed)
        assert rests or parameter.grad is not None or not parameter.requires_grad, parameter_name


def test_recipe_names_are_the_methods_folder_and_a_stem() -> None:
    assert "bptt/digits_vgg" in recipes()
    assert load("digits_vgg") == load("bptt/digits_vgg")


def test_no_two_recipes_share_a_short_name() -> None:
    short = [name.partition("/")[2] for name in recipes()]
    assert len(set(short)) == len(short)
