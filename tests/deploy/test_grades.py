"""After training a network in grades is one network: exported whole, or refused with the reason."""

import pytest
import torch

from spikeloom.deploy import to_exported, to_nir, to_onnx
from spikeloom.models import GradedMLP
from spikeloom.registry import Unsupported
from tests.small import neuron, norm


def network(neurons: str = "relu") -> GradedMLP:
    net = GradedMLP(
        3, (8, 6), in_shape=(2,), num_classes=2, neuron=neuron(neurons), norm=norm("none")
    )
    net.open(1)
    net.gain[1] = 0.25  # as after rescaling
    return net.eval()


@pytest.mark.parametrize("neurons", ["relu", "lif"])
def test_torch_export_keeps_the_sum_of_open_grades(neurons):
    net, x_seq = network(neurons), torch.rand(3, 5, 2)
    torch.testing.assert_close(to_exported(net, x_seq).module()(x_seq), net(x_seq))


def test_onnx_keeps_the_sum_of_open_grades(tmp_path):
    pytest.importorskip("onnxruntime")
    found = to_onnx(network(), tmp_path / "grades.onnx", torch.rand(1, 5, 2))
    assert found.agreeing == found.count == 5


@pytest.mark.parametrize(
    ("neurons", "reason"),
    [("relu", "no primitive rectifies"), ("lif", "between layers values can only be added")],
)
def test_nir_cannot_say_gains_and_rectifiers(tmp_path, neurons, reason):
    pytest.importorskip("nir")
    with pytest.raises(Unsupported, match=reason):
        to_nir(network(neurons), tmp_path / "grades.nir", torch.rand(4, 5, 2))
