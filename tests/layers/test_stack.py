"""A stack is ``nn.Sequential`` whose norms and neurons run as one where nobody looks between."""

import pytest
import torch
from torch import nn

from spikeloom.kernels import use
from spikeloom.kernels.cpu import native
from spikeloom.layers import (
    ALIF,
    LIF,
    BatchNorm,
    NoNorm,
    OverTime,
    ParametricLIF,
    Stack,
    StepBatchNorm,
    ThresholdBatchNorm,
    norms,
    ruled,
    stack,
)


def layers(norm=BatchNorm, neuron=LIF):
    torch.manual_seed(0)
    return (
        OverTime(nn.Conv2d(2, 6, 3, bias=False)), norm(6), neuron(),
        OverTime(nn.MaxPool2d(2)), OverTime(nn.Flatten()), OverTime(nn.Linear(54, 5)), norm(5),
        neuron(),
    )  # fmt: skip


@pytest.fixture
def fused(monkeypatch):
    """How often a norm and a neuron ran as one."""
    calls = []

    def counted(*args, run=stack._bn_lif, **options):
        calls.append(args[0].shape)
        return run(*args, **options)

    monkeypatch.setattr(stack, "_bn_lif", counted)
    return calls


def outcome(model, x_seq):
    out = model(x_seq)
    out.sum().backward()
    grads = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    return [out.detach(), *grads, *(b.clone() for b in model.buffers())]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("neuron", [LIF, ParametricLIF])
@pytest.mark.parametrize("norm", [BatchNorm, ThresholdBatchNorm])
def test_it_equals_the_layers_one_after_the_other(norm, neuron, training, fused):
    x_seq = torch.randn(4, 3, 2, 8, 8)
    plain = nn.Sequential(*layers(norm, neuron)).train(training)
    model = Stack(*layers(norm, neuron)).train(training)
    model.load_state_dict(plain.state_dict())
    for ours, theirs in zip(outcome(model, x_seq), outcome(plain, x_seq), strict=True):
        torch.testing.assert_close(ours, theirs)
    assert len(fused) == 2


def test_names_of_parameters_are_those_of_a_sequential():
    assert Stack(*layers()).state_dict().keys() == nn.Sequential(*layers()).state_dict().keys()


@pytest.mark.parametrize("norm", [NoNorm, lambda c: StepBatchNorm(c, T=4)])
def test_other_norms_run_on_their_own(norm, fused):
    Stack(*layers(norm))(torch.randn(4, 3, 2, 8, 8))
    assert not fused


def test_other_neurons_and_subclasses_run_on_their_own(fused):
    class Doubled(LIF):
        def forward(self, x_seq):
            return super().forward(2 * x_seq)

    class Shifted(BatchNorm):
        def forward(self, x_seq):
            return super().forward(x_seq) + 1

    x_seq = torch.randn(4, 3, 6)
    for pair in ((BatchNorm(6), ALIF()), (BatchNorm(6), Doubled()), (Shifted(6), LIF())):
        assert torch.equal(Stack(*pair)(x_seq), pair[1](pair[0](x_seq)))
    assert not fused


@pytest.mark.parametrize("place", [1, 2])
@pytest.mark.parametrize(
    "kind", ["register_forward_hook", "register_forward_pre_hook", "register_full_backward_hook"]
)
def test_a_hook_on_norm_or_neuron_sees_what_passes(place, kind, fused):
    model, seen = Stack(*layers()), []
    handle = getattr(model[place], kind)(lambda module, *rest: seen.append(rest))
    outcome(model, torch.randn(4, 3, 2, 8, 8))
    assert len(seen) == len(fused) == 1
    handle.remove()
    model(torch.randn(4, 3, 2, 8, 8))
    assert len(fused) == 3


def test_a_hook_for_all_modules_sees_norms_and_neurons(fused):
    model, seen = Stack(*layers()), []
    handle = nn.modules.module.register_module_forward_hook(lambda m, *_: seen.append(m))
    model(torch.randn(4, 3, 2, 8, 8))
    handle.remove()
    assert set(model) <= set(seen)
    assert not fused


def test_a_rule_takes_the_place_of_the_neurons(fused):
    model = Stack(*layers())
    with ruled(model, lambda neuron, x_seq, state: (torch.zeros_like(x_seq), state)):
        assert not model(torch.randn(4, 3, 2, 8, 8)).any()
    assert not fused


def test_statistics_of_several_processes_are_left_to_the_norm(monkeypatch, fused):
    monkeypatch.setattr(norms, "_processes", lambda: 2)
    monkeypatch.setattr(norms, "_sum_over_processes", lambda x: 2 * x)
    model = Stack(BatchNorm(6), LIF())
    model(torch.randn(4, 3, 6))
    assert not fused
    model.eval()(torch.randn(4, 3, 6))
    assert len(fused) == 1


def test_a_wrong_number_of_channels_is_told():
    with pytest.raises(ValueError, match="built for 6 channels"):
        Stack(BatchNorm(6), LIF())(torch.randn(4, 3, 5))


def test_bfloat16_passes_through_with_statistics_in_float32():
    model = Stack(OverTime(nn.Conv2d(2, 6, 3, bias=False)), BatchNorm(6), LIF())
    with torch.autocast("cpu", torch.bfloat16):
        out = model(torch.randn(4, 3, 2, 8, 8))
    assert out.dtype == torch.bfloat16
    out.sum().backward()
    assert {b.dtype for b in model.buffers()} == {torch.float32}
    assert {p.grad.dtype for p in model.parameters()} == {torch.float32}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("training", [True, False])
def test_it_compiles_into_one_graph(training):
    model, x_seq = Stack(*layers()).train(training), torch.randn(4, 3, 2, 8, 8)
    with use("cpu" if native.OPENED else None):
        start = {name: value.clone() for name, value in model.state_dict().items()}
        want = outcome(model, x_seq)
        model.load_state_dict(start)
        compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
        for ours, theirs in zip(outcome(compiled, x_seq), want, strict=True):
            torch.testing.assert_close(ours, theirs)


@pytest.mark.skipif(native.OPENED is None, reason=native.PROBLEM)
@pytest.mark.filterwarnings("ignore")
def test_it_exports_with_the_operator_in_the_graph():
    model, x_seq = Stack(*layers()).eval(), torch.randn(4, 3, 2, 8, 8)
    exported = torch.export.export(model, (x_seq,))
    assert "spikeloom.bn_lif" in exported.graph_module.code
    assert torch.equal(exported.module()(x_seq), model(x_seq))
