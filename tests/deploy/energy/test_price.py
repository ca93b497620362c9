"""Prices that can be worked out by hand, and files of constants."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from spikeloom.deploy.energy import (
    Counts,
    LayerCounts,
    LayerEnergy,
    Machine,
    Precision,
    count_operations,
    price,
    read_constants,
)
from spikeloom.deploy.energy.constants import DEFAULT
from spikeloom.layers import LIF, Linear, OverTime

COSTS = read_constants()
MAP = LayerCounts(
    "map", "map", "Linear", inputs="binary", steps=4, dense=800, acs=100, weights=200,
    in_size=20, events=10, out_size=10,
)  # fmt: skip
NEURONS = LayerCounts(
    "lif", "neurons", "LIF", steps=4, neurons=10, states=1, leaks=True, updates=40, touched=25,
    spikes=8, out_size=10, written=8, out_kind="binary",
)  # fmt: skip


def priced(layer: LayerCounts, precision: Precision, machine: Machine) -> LayerEnergy:
    return price(Counts((layer,), 1, 0, 0), COSTS, precision, machine)[0]


def test_the_numbers_are_those_of_the_source() -> None:
    assert (COSTS.float32.multiply, COSTS.float32.add) == (3.7, 0.9)
    assert (COSTS.int8.multiply, COSTS.int8.add) == (0.2, 0.1)
    assert COSTS.memory.sram == (10, 20, 100)
    assert 1300 <= COSTS.memory.dram <= 2600


def test_an_event_driven_map_by_hand() -> None:
    found = priced(MAP, "float32", "event-driven")
    bit = 10 / 64  # all fits into 8 KB
    assert found.compute == pytest.approx(100 * 0.9)
    assert found.weights == pytest.approx(100 * 32 * bit)
    assert found.sums == pytest.approx(2 * 100 * 32 * bit)
    assert found.activations == pytest.approx(10 * 5 * bit)  # addresses of 20 places
    assert found.traffic == pytest.approx({"SRAM 8 KB": (100 * 32 * 3 + 50) / 8})
    assert found.total == pytest.approx(found.compute + found.memory)


def test_a_clocked_map_by_hand() -> None:
    found = priced(MAP, "int8", "clocked")
    bit = 10 / 64
    assert found.compute == pytest.approx(800 * 0.1)
    assert found.weights == pytest.approx(200 * 4 * 8 * bit)
    assert found.sums == 0
    assert found.activations == pytest.approx(20 * 4 * bit)


def test_neurons_are_updated_at_every_step() -> None:
    for machine in ("event-driven", "clocked"):
        found = priced(NEURONS, "float32", machine)  # type: ignore[arg-type]
        assert found.compute == pytest.approx(40 * (2 * 0.9 + 3.7))
        assert found.states == pytest.approx(2 * 40 * 32 * 10 / 64)
    steady = priced(replace(NEURONS, leaks=False), "float32", "clocked")
    assert steady.compute == pytest.approx(40 * 2 * 0.9)


def test_graded_inputs_multiply_and_run_the_cheaper_way() -> None:
    graded = replace(MAP, inputs="graded", acs=0, macs=100)
    few = priced(graded, "float32", "event-driven")
    assert few.compute == pytest.approx(100 * 4.6)
    all_of_them = replace(graded, macs=800, events=80)
    assert priced(all_of_them, "float32", "event-driven") == priced(
        all_of_them, "float32", "clocked"
    )


@pytest.mark.parametrize(
    ("size", "level", "cost"),
    [(8192, "SRAM 8 KB", 10), (8193, "SRAM 32 KB", 20), (2**20, "SRAM 1 MB", 100)],
)
def test_an_array_lies_in_the_smallest_memory_that_holds_it(
    size: int, level: str, cost: float
) -> None:
    assert COSTS.memory.level(size) == level
    assert COSTS.memory.per_bit(size) == cost / 64
    assert COSTS.memory.level(2**20 + 1) == "DRAM"


def test_a_silent_network_costs_its_updates_alone() -> None:
    model = nn.Sequential(OverTime(Linear(4, 3, bias=False)), LIF())
    counts = count_operations(model, [torch.zeros(5, 2, 4)])
    first, second = price(counts, COSTS, "float32", "event-driven")
    assert first.total == 0
    assert second.total == pytest.approx(second.compute + second.states)


def changed(tmp_path: Path, old: str, new: str) -> Path:
    text = DEFAULT.read_text("utf-8")
    assert old in text
    path = tmp_path / "mine.toml"
    path.write_text(text.replace(old, new, 1), "utf-8")
    return path


def test_another_file_replaces_the_constants(tmp_path: Path) -> None:
    mine = read_constants(changed(tmp_path, "add = 0.9 ", "add = 0.4 "))
    assert mine.float32.add == 0.4
    assert mine != COSTS


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("multiply = 3.7 ", "multiplly = 3.7 ", "Did you mean 'float32.multiply'"),
        ("name =", "nane =", "Did you mean 'name'"),
        ("dram = 1950.0", "", "memory.dram is missing"),
        ("add = 0.9 ", "add = -1 ", "float32.add = -1"),
        ("dram = 1950.0", "dram = 'much'", "memory.dram = 'much'"),
        ("dram = 1950.0", "dram = nan", "memory.dram = nan"),
        ("32768, 1048576]", "1048576]", "2 sizes and sram 3 costs"),
        ("8192, 32768", "32768, 8192", "must rise"),
        ("[memory]", "[memory", "cannot be read"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, old: str, new: str, said: str) -> None:
    with pytest.raises(ValueError, match=r"constants .*mine\.toml") as caught:
        read_constants(changed(tmp_path, old, new))
    assert said in str(caught.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="No such file"):
        read_constants(tmp_path / "none.toml")
