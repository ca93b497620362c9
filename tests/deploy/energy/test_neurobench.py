"""NeuroBench's harness on our networks, and its numbers beside ours."""

import sys
from typing import Any

import pytest
import torch

from spikeloom.deploy import count_operations, neurobench_model, run_neurobench
from spikeloom.registry import Unsupported
from tests.small import small

here = pytest.mark.filterwarnings("ignore")  # what its own dependencies warn of


def harness(model: Any, x_seq: torch.Tensor) -> dict[str, Any]:
    pytest.importorskip("neurobench", reason="needs pip install 'spikeloom[neurobench]'")
    return run_neurobench(model, [(x_seq, torch.arange(x_seq.shape[1]) % 5)])


@here
@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("spiking_vgg5", {}),
        ("spiking_vgg5", {"pool": "max"}),
        ("spiking_vgg5", {"neurons": "relu"}),
        ("spiking_resnet18", {"residual": "sew"}),
        ("spiking_mlp", {"in_shape": (12,)}),
    ],
)
def test_both_count_the_same(name: str, more: dict[str, Any]) -> None:
    model = small(name, **more).eval()
    x_seq = torch.rand(3, 4, *more.get("in_shape", (3, 32, 32)))
    theirs, ours = harness(model, x_seq), count_operations(model, [x_seq]).neurobench()
    assert theirs["Footprint"] == ours["footprint"]
    assert theirs["ParameterCount"] == ours["parameter_count"]
    assert theirs["ConnectionSparsity"] == ours["connection_sparsity"] == 0
    assert theirs["ActivationSparsity"] == pytest.approx(ours["activation_sparsity"])
    assert theirs["SynapticOperations"] == pytest.approx(ours["synaptic_operations"])


@here
def test_theirs_are_updates_that_change_a_potential() -> None:
    model = small("spiking_vgg5").eval()
    x_seq = torch.rand(3, 4, 3, 32, 32)
    ours = count_operations(model, [x_seq]).neurobench()["membrane_updates"]
    assert 0 < harness(model, x_seq)["MembraneUpdates"] <= ours


@here
def test_they_do_not_see_products_of_spikes() -> None:
    more = {"mixer": "attention", "dim": 32, "heads": 4, "depth": 1, "width": 1.0}
    model = small("stmixer", **more).eval()
    x_seq = torch.rand(2, 2, 3, 32, 32)
    counts = count_operations(model, [x_seq])
    products = sum(layer.dense for layer in counts.layers if layer.role == "product")
    theirs = harness(model, x_seq)["SynapticOperations"]
    assert products == 2 * 2 * 32 * 64 * 64
    assert theirs["Dense"] == counts.total("dense") - products


def test_without_it_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "neurobench", None)
    for name in [name for name in sys.modules if name.startswith("neurobench.")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(Unsupported, match=r"pip install 'spikeloom\[neurobench\]'"):
        neurobench_model(small("spiking_mlp"))
