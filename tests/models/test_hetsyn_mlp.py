"""Networks of HetSyn: their cells, sizes and read-outs."""

from typing import Any

import pytest
import torch

from spikeloom.models import HetSynMLP

T, N = 20, 3
CELLS = ("hetsyn", "het_neu", "hom_neu", "hom_neu_alif")


def size(**options: Any) -> int:
    net = HetSynMLP(in_shape=(700,), num_classes=20, recurrent=True, **options)
    return sum(p.numel() for p in net.parameters())


def test_the_published_network_has_as_many_numbers_as_published() -> None:
    assert size(hidden=(128, 64)) == 239_104


def test_baselines_have_a_decay_for_each_neuron_or_none() -> None:
    weights = 239_104 // 2
    assert size(hidden=(128, 64), cell="hom_neu") == weights
    assert size(hidden=(128, 64), cell="het_neu") == weights + 128 + 64 + 20


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("decision", ["last", "softmax", "spikes"])
def test_every_cell_trains(cell: Any, recurrent: bool, decision: Any) -> None:
    net = HetSynMLP(
        (16, 8), in_shape=(5, 2), num_classes=4, cell=cell, recurrent=recurrent,
        decision=decision, tau=(5.0, 20.0), draw="uniform", dropout=0.1,
    )  # fmt: skip
    out = net((torch.rand(T, N, 5, 2) < 0.6).float())
    assert out.shape == (T, N, 4)
    (out * torch.randn_like(out)).sum().backward()
    for name, p in net.named_parameters():
        assert p.grad is not None, name
        assert p.grad.isfinite().all(), name


def test_levels_replace_the_decays_of_feed_forward_synapses() -> None:
    net = HetSynMLP((16,), in_shape=(5,), num_classes=4, levels=4)
    assert net(torch.rand(T, N, 5)).shape == (T, N, 4)
    assert sum(p.numel() for p in net.parameters()) == 16 * 5 + 4 * 16


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "cell": ({"cell": "lif"}, "cell is"),
    "levels": ({"levels": 4, "cell": "het_neu"}, "levels"),
    "decision": ({"decision": "first"}, "decision"),
    "skip": ({"skip": 3}, "softmax"),
    "dropout": ({"dropout": 1.0}, "dropout"),
    "tied": ({"tie_reset": True}, "own"),
}


@pytest.mark.parametrize("name", BAD)
def test_options_that_do_not_go_together_are_refused(name: str) -> None:
    options, words = BAD[name]
    with pytest.raises(ValueError, match=words):
        HetSynMLP(in_shape=(5,), num_classes=4, **options)


def test_an_input_of_another_shape_is_refused() -> None:
    net = HetSynMLP(in_shape=(5,), num_classes=4)
    with pytest.raises(ValueError, match="in_shape"):
        net(torch.rand(T, N, 6))
