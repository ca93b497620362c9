"""Modules and state dicts of SpikingJelly and snnTorch: same spikes, or the reason why not.

The stand-ins have the names and attributes of the real classes; the numbers in GOLDEN are spikes
of SpikingJelly 2.0.0 and snnTorch 1.0.0 (``python tests/deploy/golden_peers.py`` prints them).
"""

import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from spikeloom.deploy import DamagedFileError, Unsupported, fit_weights, from_modules, read_weights
from spikeloom.functional import factor
from spikeloom.layers import LIF, BatchNorm, Linear, OverTime, ParametricLIF
from spikeloom.models import SpikingMLP
from tests.deploy.golden_peers import CASES, GOLDEN, currents


def stand_in(package: str, name: str, **attributes):
    """A module with the class name and attributes of a library that is not installed."""
    module = type(name, (nn.Module,), {"__module__": f"{package}.some.where"})()
    for key, value in attributes.items():
        setattr(module, key, value)
    return module


@pytest.mark.parametrize("case", CASES)
def test_neurons_spike_as_in_their_library(case):
    package, name, attributes = CASES[case]
    attributes = {k: torch.tensor(v) if isinstance(v, list) else v for k, v in attributes.items()}
    for key in ("beta", "threshold", "graded_spikes_factor"):
        if key in attributes:
            attributes[key] = torch.as_tensor(attributes[key])
    if "w" in attributes:
        attributes["w"] = nn.Parameter(torch.tensor(attributes["w"]))
    identity = nn.Linear(2, 2, bias=False)
    identity.weight.data = torch.eye(2)
    net = from_modules(nn.Sequential(identity, stand_in(package, name, **attributes)))
    with torch.no_grad():
        spikes = net(currents())
    assert "".join(str(int(s)) for s in spikes.flatten()) == GOLDEN[case]


def test_names_values_and_mode_stay():
    tree = nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1, bias=False), nn.BatchNorm2d(2, affine=False),
        nn.Sequential(nn.MaxPool2d(2), nn.Flatten()), nn.Linear(8, 3),
    ).eval()  # fmt: skip
    net = from_modules(tree)
    x = torch.rand(5, 1, 4, 4)
    torch.testing.assert_close(net(x[None])[0], tree(x))
    assert [name for name, _ in net.named_children()] == ["0", "1", "2", "3"]
    assert not net.training


def test_all_that_does_not_convert_is_listed():
    tree = nn.Sequential(
        nn.Sequential(nn.GELU()), stand_in("snntorch", "Synaptic"),
        nn.BatchNorm1d(3, track_running_stats=False),
    )  # fmt: skip
    with pytest.raises(Unsupported) as refused:
        from_modules(tree)
    text = str(refused.value)
    assert "0.0 (GELU): no such layer" in text
    assert "1 (Synaptic): its resets touch the synapse" in text
    assert "2 (BatchNorm1d): it keeps no running averages" in text


def mlp(neuron) -> SpikingMLP:
    return SpikingMLP((5,), in_shape=(4,), num_classes=3, neuron=neuron, norm=BatchNorm)


def test_a_state_dict_goes_layer_by_layer(tmp_path):
    torch.manual_seed(0)
    theirs = nn.Sequential(
        nn.Linear(4, 5, bias=False), nn.BatchNorm1d(5), nn.Identity(), nn.Linear(5, 3)
    )
    state = {**theirs.state_dict(), "2.w": torch.tensor(0.7)}
    order = sorted(state, key=lambda key: int(key[0]))
    torch.save({key: state[key] for key in order}, tmp_path / "net.pt")
    model = mlp(ParametricLIF)
    fit_weights(model, read_weights(tmp_path / "net.pt"))
    assert torch.equal(model.stages[0][0].module.weight, theirs[0].weight)
    assert torch.equal(model.readout[0].module.bias, theirs[3].bias)
    keep = model.stages[0][2].decay.now().keep
    torch.testing.assert_close(1 - keep, torch.sigmoid(torch.tensor(0.7)))


def test_values_of_snntorch_neurons_must_be_those_of_the_model():
    state = {
        "0.weight": torch.rand(3, 4), "1.beta": torch.tensor(0.9), "1.threshold": torch.tensor(1.0),
        "1.graded_spikes_factor": torch.tensor(1.0),
    }  # fmt: skip
    same = nn.Sequential(OverTime(Linear(4, 3, bias=False)), LIF(decay=factor(0.9)))
    fit_weights(same, state)
    assert torch.equal(same[0].module.weight, state["0.weight"])
    other = nn.Sequential(OverTime(Linear(4, 3, bias=False)), LIF(decay=factor(0.5)))
    before = other[0].module.weight.clone()
    with pytest.raises(Unsupported, match=r"1.beta is 0.8999.* decay=factor\(beta\)"):
        fit_weights(other, state)
    assert torch.equal(other[0].module.weight, before)  # nothing by halves


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"0.weight": torch.rand(5, 9)}, r"0.weight has shape \(5, 9\)"),
        ({"0.weight": torch.rand(5, 4, 3, 3)}, "is a conv2d, but .* is a linear"),
        ({"0.weight": torch.rand(5, 4), "0.bias": torch.rand(5)}, "0 has .*bias"),
        ({"0.gamma": torch.rand(5)}, "belong to no layer"),
        ({"0.weight": torch.rand(5, 4)}, "the file has 1 layers"),
    ],
)
def test_state_dicts_that_do_not_fit_are_refused(state, words):
    with pytest.raises(Unsupported, match=words):
        fit_weights(mlp(LIF), state)


class Harmful:
    def __reduce__(self):
        return (print, ("run",))


def test_nothing_in_a_file_is_executed(tmp_path, capsys):
    (tmp_path / "evil.pt").write_bytes(pickle.dumps(Harmful(), protocol=2))
    torch.save({"a": Harmful()}, tmp_path / "evil2.pt")
    for name in ("evil.pt", "evil2.pt"):
        with pytest.raises(DamagedFileError, match="no plain tensors"):
            read_weights(tmp_path / name)
    assert "run" not in capsys.readouterr().out
    torch.save([1], tmp_path / "list.pt")
    with pytest.raises(DamagedFileError, match="expected a state dict"):
        read_weights(tmp_path / "list.pt")
    (tmp_path / "net.safetensors").write_bytes(b"no")
    with pytest.raises(DamagedFileError):
        read_weights(tmp_path / "net.safetensors")
    with pytest.raises(FileNotFoundError):
        read_weights(tmp_path / "none.pt")
    save_file({"a": torch.ones(2)}, tmp_path / "net.safetensors")
    assert read_weights(tmp_path / "net.safetensors")["a"].tolist() == [1, 1]
