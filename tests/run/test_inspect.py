"""A described recipe has the layers, shapes and sizes that the run would build."""

from pathlib import Path

import pytest
import torch
from torch import nn

from spikeloom.layers import LIF, OverTime
from spikeloom.run.config import ConfigError, load
from spikeloom.run.distributed import Processes
from spikeloom.run.inspect import KNOWN, describe, layers_of
from spikeloom.run.task import prepare
from tests.compose.test_recipes import NUMBERS, SHAPES


def test_description_counts_what_the_run_builds() -> None:
    config = load("digits_vgg")
    built = prepare(config, Processes(), torch.device("cpu"), None).model
    described = describe(config)
    assert described.parameters == sum(p.numel() for p in built.parameters())
    assert described.parameters == sum(layer.parameters for layer in described.layers)
    assert [layer.name for layer in described.layers if layer.neurons] == [
        name for name, module in built.named_modules() if isinstance(module, LIF)
    ]
    assert described.layers[-1].shape == (10,)
    assert (described.in_shape, described.num_classes, described.T) == ((1, 8, 8), 10, 4)


@pytest.mark.parametrize("name", KNOWN)
def test_shapes_known_without_files_are_those_of_the_data_sets(name: str) -> None:
    assert KNOWN[name] == (SHAPES[name] if name in SHAPES else NUMBERS[name][:2])


def test_twin_has_no_neurons() -> None:
    assert describe(load("digits_vgg", ["model.neuron=relu"])).neurons == 0


def test_layers_come_in_the_order_the_sequence_takes() -> None:
    class Crossed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.second = LIF()
            self.first = OverTime(nn.Conv2d(1, 2, 3, stride=2))
            self.gain = nn.Parameter(torch.ones(1))
            self.unused = nn.Linear(2, 2)

        def forward(self, x_seq: torch.Tensor) -> torch.Tensor:
            return self.second(self.first(x_seq) * self.gain)

    layers = layers_of(Crossed(), torch.zeros(3, 1, 1, 5, 5))
    assert [(layer.name, layer.kind) for layer in layers] == [
        ("first", "Conv2d 3x3 / 2"),
        ("second", "LIF"),
        ("Crossed", "Crossed"),
        ("unused", "Linear"),
    ]
    assert [layer.shape for layer in layers] == [(2, 2, 2), (2, 2, 2), (2, 2, 2), None]
    assert [layer.neurons for layer in layers] == [0, 8, 0, 0]
    assert [layer.parameters for layer in layers] == [20, 0, 1, 6]


def test_image_folder_is_read_for_its_shape(tmp_path: Path) -> None:
    from PIL import Image

    for part in ("train", "test"):
        for kind in ("cat", "dog", "emu"):
            (tmp_path / part / kind).mkdir(parents=True)
            Image.new("RGB", (20, 20)).save(tmp_path / part / kind / "a.png")
    config = load("cifar10_vgg9", ["data.name=image_folder", "data.size=16", "model.width=0.05"])
    described = describe(config, tmp_path)
    assert (described.in_shape, described.num_classes) == ((3, 16, 16), 3)


@pytest.mark.parametrize(
    "override", ["data.bacth=3", "model.width=0", "phase.0.loss=c", 'data.augment=["f"]']
)
def test_what_a_run_refuses_is_not_described(override: str) -> None:
    with pytest.raises(ConfigError):
        describe(load("cifar10_vgg9", [override]))
