"""In smooth mode every gradient agrees with finite differences, in float64."""

import pytest
import torch

from spikeloom.functional import Arctan, Decay, Sigmoid, Smooth, euler, exponential, lif

T, SHAPE = 3, (2, 2)


def double(*shape, seed):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return x.requires_grad_()


@pytest.mark.parametrize("decay_input", [False, True])
@pytest.mark.parametrize("surrogate", [Arctan(), Sigmoid(alpha=2.0)], ids=["arctan", "sigmoid"])
def test_input_state_and_parameters(case, tensor_options, decay_input, surrogate):
    neuron, reset = case
    fixed = neuron.options(reset, Smooth(surrogate))
    options, leaves = tensor_options(neuron, (SHAPE[-1],), decay_input=decay_input)
    states = tuple(double(*SHAPE, seed=1 + k) for k in range(neuron.states))

    def run(x_seq, *rest):
        given, chosen = (
            rest[: neuron.states],
            dict(zip(options, rest[neuron.states :], strict=True)),
        )
        learned = {
            name: Decay(value, decay_input) if name in neuron.decays else value
            for name, value in chosen.items()
        }
        out, after = neuron(x_seq, given, **learned, **fixed)
        return out, *after

    assert torch.autograd.gradcheck(run, (double(T, *SHAPE, seed=0), *states, *leaves))


@pytest.mark.parametrize("build", [euler, exponential])
def test_time_constants(build):
    tau = torch.tensor([1.5, 4.0], dtype=torch.float64, requires_grad=True)
    x_seq = double(T, *SHAPE, seed=0)

    def run(tau):
        return lif(x_seq, decay=build(tau, decay_input=True), surrogate=Smooth(Sigmoid()))

    assert torch.autograd.gradcheck(run, tau)


def test_traces(traced_case):
    neuron, reset = traced_case
    options = neuron.options(reset, Smooth(Sigmoid()))
    x_seq = double(T, *SHAPE, seed=3)
    assert torch.autograd.gradcheck(lambda x: tuple(neuron.trace(x, **options)), x_seq)
