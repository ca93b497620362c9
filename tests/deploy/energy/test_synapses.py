"""Counts of synapses whose currents decay, by hand."""

import pytest
import torch
from torch import Tensor, nn

from spikeloom.deploy.energy import LayerCounts, count_operations, price, quantised, read_constants
from spikeloom.layers import GroupedSynapses, HetSynLIF, Latest, Softmax, Synapses
from spikeloom.models import HetSynMLP

T, INPUTS, OUTPUTS = 5, 4, 3


def spikes(n: int = 2) -> Tensor:
    return (torch.rand(T, n, INPUTS, generator=torch.Generator().manual_seed(0)) < 0.4).float()


def counted(model: nn.Module, x_seq: Tensor) -> dict[str, LayerCounts]:
    return {layer.name: layer for layer in count_operations(model, [x_seq]).layers}


def test_a_spike_adds_to_a_current_for_each_output_and_all_currents_decay() -> None:
    layer, x_seq = Synapses(INPUTS, OUTPUTS), spikes()
    with torch.no_grad():
        layer.weight[0, 1] = 0
    found = counted(nn.Sequential(layer, Latest()), x_seq)
    assert list(found) == ["0", "0 (currents)"]
    map_, held = found.values()
    n = x_seq.sum((0, 1)) / 2
    assert map_.acs == float(n.sum() * OUTPUTS - n[1])
    assert map_.macs == 0
    assert map_.dense == T * INPUTS * OUTPUTS
    assert (map_.inputs, map_.weights, map_.zeros) == ("binary", 12, 1)
    assert map_.out_size == INPUTS * OUTPUTS
    assert held.updates == T * OUTPUTS
    assert (held.states, held.decays, held.leaks) == (INPUTS, INPUTS, True)
    assert held.parameters == INPUTS * OUTPUTS


def test_each_current_costs_a_multiplication_and_an_addition_a_step() -> None:
    counts = count_operations(Synapses(INPUTS, OUTPUTS), [spikes()])
    costs = read_constants()
    one = costs.arithmetic("float32")
    *_, held = price(counts, costs, "float32", "event-driven")
    currents = T * INPUTS * OUTPUTS
    more = T * OUTPUTS * one.state_add  # as for every read-out: one addition more a sum
    assert held.compute == pytest.approx(currents * (one.state_multiply + one.state_add) + more)
    # each current is read and written, its decay read
    assert sum(held.traffic.values()) == 3 * currents * one.state_bits / 8


def test_graded_inputs_multiply() -> None:
    found = counted(Synapses(INPUTS, OUTPUTS), torch.rand(T, 1, INPUTS) + 0.1)
    assert found["Synapses"].macs == T * INPUTS * OUTPUTS


def test_a_decay_for_each_neuron_leaves_one_current_each() -> None:
    held = counted(Synapses(INPUTS, OUTPUTS, own="neuron"), spikes())["Synapses (currents)"]
    assert (held.states, held.decays, held.neurons) == (1, 0, OUTPUTS)


def test_shared_by_inputs_it_is_their_traces_that_decay() -> None:
    x_seq = spikes(1)
    found = counted(Synapses(INPUTS, OUTPUTS, own="input"), x_seq)
    held, map_ = found["Synapses (traces)"], found["Synapses"]
    active = float((x_seq.cumsum(0) > 0).sum())  # traces that a spike has reached do not die out
    assert (held.updates, held.neurons, held.touched) == (T * INPUTS, INPUTS, active)
    assert map_.macs == active * OUTPUTS
    assert map_.inputs == "graded"


@pytest.mark.parametrize("mix", ["fixed", "soft"])
def test_levels_are_traces_of_every_input(mix: str) -> None:
    layer, x_seq = GroupedSynapses(INPUTS, OUTPUTS, levels=2, mix=mix), spikes(1)
    found = counted(layer, x_seq)
    held, map_ = found["GroupedSynapses (traces)"], found["GroupedSynapses"]
    active = float((x_seq.cumsum(0) > 0).sum())
    assert held.updates == 2 * T * INPUTS
    assert map_.macs == active * OUTPUTS * (1 if mix == "fixed" else 2)
    assert map_.dense == T * INPUTS * OUTPUTS * (1 if mix == "fixed" else 2)


def test_recurrent_synapses_decay_too() -> None:
    layer = HetSynLIF((OUTPUTS,), recurrent=True, v_threshold=0.3)
    x_seq = torch.rand(T, 1, OUTPUTS)
    found = counted(layer, x_seq)
    neurons, recurrent = found["HetSynLIF"], found["HetSynLIF (recurrent)"]
    heard = float(layer(x_seq).detach()[:-1].sum())
    assert heard > 0
    assert recurrent.acs == heard * OUTPUTS
    assert recurrent.out_size == OUTPUTS**2
    # a current for each synapse, the reset, the last spike
    assert (neurons.states, neurons.decays) == (OUTPUTS + 2, OUTPUTS)
    assert neurons.updates == T * OUTPUTS
    plain = counted(HetSynLIF((OUTPUTS,)), x_seq)["HetSynLIF"]
    assert (plain.states, plain.decays) == (2, 0)


@pytest.mark.parametrize("cell", ["hetsyn", "het_neu", "hom_neu", "hom_neu_alif"])
@pytest.mark.parametrize("recurrent", [False, True])
def test_whole_networks_are_counted_and_rounded(cell: str, recurrent: bool) -> None:
    net = HetSynMLP(
        (16, 8), in_shape=(INPUTS,), num_classes=OUTPUTS, cell=cell, recurrent=recurrent,
        decision="softmax", v_threshold=0.3,
    )  # fmt: skip
    counts = count_operations(net, [spikes()])
    assert counts.uncounted == ("softmax of readout.1",)
    assert counts.total("macs") == 0
    assert counts.total("acs") > 0
    assert sum(layer.parameters for layer in counts.layers) == counts.parameters
    assert counts.neurobench()["membrane_updates"] == T * (16 + 8)
    with torch.no_grad():
        assert quantised(net, [spikes()])(spikes()).shape == (T, 2, OUTPUTS)
    assert isinstance(net.readout[1], Softmax)
