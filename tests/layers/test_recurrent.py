"""The recurrent layer is its function, with a weight."""

import pytest
import torch

from spikeloom.functional import euler, recurrent_lif
from spikeloom.layers import NoNorm, RecurrentLIF, ruled
from spikeloom.models import SpikingMLP


def test_is_its_function_with_its_own_weight():
    neuron, x_seq = RecurrentLIF((5,)), 2 * torch.rand(6, 3, 5)
    want, state = recurrent_lif(x_seq, weight=neuron.weight, decay=euler(2.0))
    out, after = neuron.scan(x_seq)
    assert torch.equal(out, want)
    assert torch.equal(neuron(x_seq), want)
    assert torch.equal(neuron.trace(x_seq).spike_seq, want)
    torch.testing.assert_close(tuple(after), tuple(state))
    first, middle = neuron.scan(x_seq[:2])
    assert torch.equal(torch.cat((first, neuron.scan(x_seq[2:], middle)[0])), want)


def test_a_rule_replaces_it():
    neuron, x_seq = RecurrentLIF((5,)), torch.ones(3, 2, 5)
    with ruled(neuron, lambda neuron, x_seq, state: (torch.zeros_like(x_seq), state)):
        assert not neuron(x_seq).any()


@pytest.mark.parametrize(("per", "shape"), [("layer", ()), ("neuron", (5,))])
def test_weight_decay_and_threshold_get_gradients(per, shape):
    neuron = RecurrentLIF((5,), learn=["decay", "v_threshold"], per=per)
    neuron(2 * torch.rand(8, 3, 5)).sum().backward()
    found = {name: p.grad for name, p in neuron.named_parameters()}
    assert found.keys() == {"weight", "decay.keep.raw", "v_threshold.raw"}
    assert found["decay.keep.raw"].shape == shape
    assert all(grad.any() for grad in found.values())


def test_a_state_dict_brings_the_weight_back():
    neuron, other = RecurrentLIF((5,)), RecurrentLIF((5,))
    other.load_state_dict(neuron.state_dict())
    x_seq = 2 * torch.rand(6, 3, 5)
    assert torch.equal(other(x_seq), neuron(x_seq))


def test_without_a_shape_it_says_what_it_needs():
    with pytest.raises(ValueError, match=r"need shape=\(C, \*\)"):
        RecurrentLIF()


def test_a_model_takes_it_as_its_neuron():
    model = SpikingMLP((7,), in_shape=(4,), num_classes=3, neuron=RecurrentLIF, norm=NoNorm)
    model(3 * torch.rand(5, 2, 4)).sum().backward()
    (recurrent,) = (m for m in model.modules() if isinstance(m, RecurrentLIF))
    assert recurrent.weight.shape == (7, 7)
    assert recurrent.weight.grad is not None
