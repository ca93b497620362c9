"""Counts of networks that can be counted by hand."""

import pytest
import torch
from torch import Tensor, nn

from spikeloom.deploy.energy import Counts, LayerCounts, count_operations
from spikeloom.functional import spike_attention
from spikeloom.layers import (
    IF,
    LI,
    LIF,
    BatchNorm,
    Conv2d,
    CubaLIF,
    Linear,
    NoNorm,
    OverTime,
    RecurrentLIF,
    StepBatchNorm,
    TemporalEffectiveBatchNorm,
    TokenMixing,
    ruled,
)
from spikeloom.models.residual import Block
from spikeloom.models.spiking_densenet import DenseLayer
from spikeloom.registry import Unsupported
from tests.small import neuron, norm, small


def counted(model: nn.Module, x_seq: Tensor) -> dict[str, LayerCounts]:
    return {layer.name: layer for layer in count_operations(model, [x_seq]).layers}


def steps(*rows: list[float]) -> Tensor:
    """A sequence of one sample."""
    return torch.tensor(rows, dtype=torch.float32)[:, None]


def ones(layer: nn.Module) -> nn.Module:
    """The layer over time, its weights 1 and its biases 0."""
    for name, parameter in layer.named_parameters():
        nn.init.constant_(parameter, 0.0 if name == "bias" else 1.0)
    return OverTime(layer)


def test_three_neurons_by_hand() -> None:
    model = nn.Sequential(ones(Linear(3, 2)), LIF(tau=2.0, v_threshold=0.5))
    found = counted(model, steps([1, 0, 1], [0, 0, 0], [0, 1, 0]))
    first, second = found["0.module"], found["1"]
    assert (first.inputs, first.steps, first.events) == ("binary", 3, 3)
    assert (first.dense, first.acs, first.macs) == (18, 6, 0)
    assert first.adds == 6  # the bias, at every step
    assert (second.updates, second.touched) == (6, 4)
    assert (second.neurons, second.states, second.leaks) == (2, 1, True)
    assert second.spikes == 4  # h = 1, 0, 0.5


@pytest.mark.parametrize(("place", "due"), [((0, 0), 4), ((0, 1), 6), ((1, 1), 9)])
def test_an_edge_has_fewer_synapses(place: tuple[int, int], due: int) -> None:
    x_seq = torch.zeros(1, 1, 1, 3, 3)
    x_seq[0, 0, 0, place[0], place[1]] = 1
    found = counted(ones(Conv2d(1, 1, 3, padding=1)), x_seq)["module"]
    assert found.acs == due
    assert found.dense == 49


def test_stride_and_groups_by_hand() -> None:
    x_seq = torch.zeros(1, 1, 2, 4, 4)
    x_seq[0, 0, 0, 0, 0] = x_seq[0, 0, 1, 1, 1] = 1
    strided = counted(ones(Conv2d(2, 3, 2, stride=2)), x_seq)["module"]
    assert (strided.acs, strided.dense) == (6, 4 * 8 * 3)  # one window each, three channels
    grouped = counted(ones(Conv2d(2, 4, 2, stride=2, groups=2)), x_seq)["module"]
    assert (grouped.acs, grouped.dense) == (4, 4 * 4 * 4)


@pytest.mark.parametrize(
    ("values", "kind", "macs", "acs"),
    [
        ([0.0, 1.0, 1.0], "binary", 0, 4),
        ([0.0, 0.5, 0.5], "binary", 0, 4),  # the amplitude goes into the weights
        ([-1.0, 0.0, 1.0], "ternary", 0, 4),
        ([0.5, 1.0, 0.0], "graded", 4, 0),
        ([0.0, 0.0, 0.0], "binary", 0, 0),
    ],
)
def test_values_tell_accumulates_from_multiplications(
    values: list[float], kind: str, macs: int, acs: int
) -> None:
    found = counted(ones(Linear(3, 2)), steps(values))["module"]
    assert (found.inputs, found.macs, found.acs) == (kind, macs, acs)


def test_one_graded_sample_makes_the_layer_graded() -> None:
    x = [steps([1.0, 0.0, 1.0]), steps([0.5, 1.0, 0.0])]
    (found,) = count_operations(ones(Linear(3, 2)), x).layers
    assert (found.inputs, found.macs, found.acs) == ("graded", 4, 0)


def test_pruned_weights_take_part_in_nothing() -> None:
    model = ones(Linear(3, 2))
    with torch.no_grad():
        model.get_parameter("module.weight")[0, 0] = 0
    counts = count_operations(model, [steps([1, 1, 0])])
    assert (counts.total("acs"), counts.total("dense")) == (3, 6)
    assert counts.neurobench()["connection_sparsity"] == pytest.approx(1 / 6)


def test_an_average_pool_hands_on_numbers() -> None:
    x_seq = torch.zeros(1, 1, 1, 4, 4)
    x_seq[0, 0, 0, 0, 0] = x_seq[0, 0, 0, 0, 1] = x_seq[0, 0, 0, 3, 3] = 1
    model = nn.Sequential(OverTime(nn.AvgPool2d(2)), ones(Conv2d(1, 1, 1)))
    found = counted(model, x_seq)
    pool, conv = found.values()
    assert (pool.adds, pool.dense_adds, pool.written, pool.out_kind) == (3, 16, 2, "graded")
    assert (conv.inputs, conv.macs) == ("graded", 2)
    maximum = nn.Sequential(OverTime(nn.MaxPool2d(2)), ones(Conv2d(1, 1, 1)))
    assert counted(maximum, x_seq)["1.module"].acs == 2


def test_recurrent_weights_hear_the_step_before() -> None:
    layer = RecurrentLIF((2,), tau=2.0, v_threshold=0.5)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.0, 1.0], [0.0, 1.0]]))
    found = counted(layer, steps([1, 0], [0, 1], [0, 0]))
    neurons, recurrent = found["RecurrentLIF"], found["RecurrentLIF (recurrent)"]
    # neuron 0 fires first and reaches nobody; 1 fires second and reaches both
    assert (recurrent.acs, recurrent.dense, recurrent.zeros) == (2, 12, 2)
    assert neurons.touched == 1 + 1 + 2
    assert (neurons.states, neurons.parameters, recurrent.parameters) == (2, 0, 4)


def test_a_residual_sum_adds_where_the_sparser_side_is() -> None:
    block = Block(nn.Sequential(IF(v_threshold=1.5)), nn.Sequential(), nn.Identity())
    found = counted(block, steps([1, 1, 0], [1, 0, 0]))
    (name,) = (name for name in found if "shortcut" in name)
    # the body fires at neuron 0 in step 2, the shortcut carries three spikes
    assert (found[name].adds, found[name].dense_adds) == (1, 6)


@pytest.mark.parametrize(
    ("layer", "folded", "multiplies"),
    [
        (BatchNorm(2), True, 0),
        (NoNorm(2, bias=True), True, 0),
        (TemporalEffectiveBatchNorm(2, T=2), True, 4),
        (StepBatchNorm(2, T=2), False, 4),
    ],
)
def test_a_norm_costs_what_does_not_fold(layer: nn.Module, folded: bool, multiplies: int) -> None:
    model = nn.Sequential(ones(Linear(3, 2, bias=False)), layer, LIF())
    counts = count_operations(model, [steps([1, 0, 1], [0, 0, 1])])
    assert ("1 folded" in counts.layers[0].note) == folded
    assert counts.total("multiplies") == multiplies
    assert counts.total("adds") == 4


def test_a_norm_of_what_others_read_too_is_not_folded() -> None:
    dense = DenseLayer(2, 2, 2, (4, 4), neuron("lif"), norm("bn"))
    model = nn.Sequential(OverTime(Conv2d(2, 2, 1, bias=False)), dense)
    found = counted(model, torch.rand(2, 1, 2, 4, 4))
    assert "no map to fold into" in found["1.body.0"].note  # its input is appended to, as well
    assert found["1.body.0"].multiplies == 2 * 2 * 16
    assert "1.body.3 folded" in found["1.body.2.module"].note


class Attention(nn.Module):
    def forward(self, x_seq: Tensor) -> Tensor:
        return spike_attention(x_seq, x_seq, x_seq, heads=1)


def test_products_of_spikes_count_pairs() -> None:
    x_seq = torch.tensor([[1.0, 1.0, 0.0], [0.0, 1.0, 0.0]]).view(1, 1, 2, 3)  # [D, tokens]
    first, second = count_operations(Attention(), [x_seq]).layers
    # channel 0: two tokens with two; channel 1: one with one
    assert (first.acs, first.dense, first.note) == (5, 2 * 9, "AND-accumulate")
    # alike[m, n] is not zero for m, n in {0, 1}: two sums for each of three spikes
    assert (second.acs, second.dense) == (6, 2 * 9)
    assert second.note == "accumulate where a spike is"


def test_token_mixing_by_hand() -> None:
    x_seq = torch.zeros(1, 1, 2, 2, 2)
    x_seq[0, 0, 1, 0, 1] = 1
    found = counted(OverTime(TokenMixing(2, 4, heads=2)), x_seq)["module"]
    assert (found.acs, found.dense, found.parameters) == (4, 2 * 16, 32)


def test_an_image_that_stays_is_computed_once() -> None:
    model = nn.Sequential(ones(Linear(3, 2)), LIF())
    image = torch.rand(1, 1, 3)
    once, again = (counted(model, x) for x in (image.expand(5, 1, 3), image.repeat(5, 1, 1)))
    assert (once["0.module"].steps, once["0.module"].macs) == (1, 6)
    assert (again["0.module"].steps, again["0.module"].macs) == (5, 30)
    assert once["1"] == again["1"]


@pytest.mark.parametrize(
    ("layer", "states", "leaks"),
    [(IF(), 1, False), (LIF(), 1, True), (CubaLIF(), 2, True), (LI(), 1, True)],
)
def test_states_of_neurons(layer: nn.Module, states: int, leaks: bool) -> None:
    (found,) = count_operations(layer, [torch.rand(3, 2, 4)]).layers
    assert (found.states, found.leaks, found.updates) == (states, leaks, 12)


@pytest.mark.parametrize("name", ["spiking_vgg5", "spiking_resnet18", "stmixer"])
def test_counts_for_a_sample_do_not_depend_on_how_many_there_are(name: str) -> None:
    more = {"dim": 32, "heads": 4, "depth": 1, "width": 1.0} if name == "stmixer" else {}
    model = small(name, **more)
    x_seq = torch.rand(2, 2, 3, 32, 32)
    once = count_operations(model, [x_seq])
    assert once.uncounted == ()
    together = count_operations(model, [torch.cat([x_seq, x_seq], 1)])
    apart = count_operations(model, [x_seq[:, :1], x_seq[:, 1:]])
    for other in (together, apart):
        for mine, theirs in zip(once.layers, other.layers, strict=True):
            assert mine == theirs


def test_totals_are_those_of_dense_convolutions() -> None:
    counts = count_operations(small("spiking_vgg5"), [torch.rand(2, 1, 3, 32, 32)])
    for layer in counts.layers:
        assert 0 <= layer.synops <= layer.dense
        assert 0 <= layer.touched <= layer.updates
        assert layer.adds <= layer.dense_adds
    assert counts.parameters == sum(layer.parameters for layer in counts.layers) + 2 * (
        4 + 8 + 8 + 64
    )  # norms that are folded


def test_the_network_stays_as_it_was() -> None:
    model = small("spiking_vgg5").train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    count_operations(model, [torch.rand(2, 1, 3, 32, 32)])
    assert all(module.training for module in model.modules())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


def test_what_is_not_known_is_listed() -> None:
    class Odd(nn.Module):
        def forward(self, x_seq: Tensor) -> Tensor:
            return torch.exp(x_seq)

    counts = count_operations(nn.Sequential(OverTime(nn.Sigmoid()), Odd()), [torch.rand(2, 1, 3)])
    assert counts.uncounted == ("sigmoid after the input", "exp after the input")


@pytest.mark.parametrize(
    ("x", "error", "said"),
    [([], ValueError, "no samples"), ([torch.zeros(3)], ValueError, "time")],
)
def test_inputs_that_cannot_be_counted_on(
    x: list[Tensor], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        count_operations(nn.Sequential(LIF()), x)


def test_a_rule_of_a_training_method_is_refused() -> None:
    model = nn.Sequential(LIF())

    def silent(_layer: nn.Module, x_seq: Tensor, _state: object) -> tuple[Tensor, None]:
        return torch.zeros_like(x_seq), None

    with ruled(model, silent), pytest.raises(Unsupported, match="its rule was replaced"):
        count_operations(model, [torch.rand(2, 1, 3)])


def test_an_account_of_nothing_divides_by_nothing() -> None:
    empty = Counts((), 1, 0, 0)
    assert empty.neurobench()["activation_sparsity"] == 0.0
