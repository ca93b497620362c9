"""What cannot be packed is refused by name and with the reason."""

import pytest
import torch
from torch import nn

from spikeloom.deploy import Unsupported, infer
from spikeloom.layers import (
    LIF,
    BatchNorm,
    OverTime,
    ReLU,
    StepBatchNorm,
    TemporalEffectiveBatchNorm,
    ruled,
)

X = torch.rand(2, 3, 4, 6, 6)


def network(*middle):
    return nn.Sequential(OverTime(nn.Conv2d(4, 8, 3)), *middle)


class Recurrent(nn.Module):
    """A layer with a loop of its own."""

    def forward(self, x_seq):
        return x_seq.cumsum(0)


class Own(LIF):
    """A neuron that does more than its function."""

    def forward(self, x_seq):
        return super().forward(2 * x_seq)


class Masked(nn.Conv2d):
    """A convolution that is not quite one."""


class Scaling(nn.Module):
    """Something between the layers that is no addition."""

    def __init__(self):
        super().__init__()
        self.conv, self.neurons = OverTime(nn.Conv2d(4, 8, 3)), LIF()

    def forward(self, x_seq):
        return self.neurons(2.0 * self.conv(x_seq))


CASES = {
    "1: Recurrent.* no such form": lambda: network(Recurrent()),
    "1: StepBatchNorm scales each step": lambda: network(StepBatchNorm(8, T=2), LIF()),
    "1: Temporal.* scales each step": lambda: network(TemporalEffectiveBatchNorm(8, T=2), LIF()),
    "1: ReLU.* no such form": lambda: network(ReLU()),
    "1: Own has a forward of its own": lambda: network(Own()),
    "1: Tanh.* no such form": lambda: network(OverTime(nn.Tanh())),
    "1: MaxPool3d.* no such form": lambda: network(OverTime(nn.MaxPool3d(1))),
    "1: Masked.* no such form": lambda: network(OverTime(Masked(8, 4, 3))),
    "1: maps 4 values": lambda: network(OverTime(nn.Linear(4, 2))),
    "0: pads by": lambda: nn.Sequential(OverTime(nn.Conv2d(4, 8, 3, padding="same"))),
    "the model calls .*mul.* after conv": Scaling,
    "has no layer that computes": lambda: nn.Sequential(
        OverTime(nn.Identity()), OverTime(nn.Flatten())
    ),
}


@pytest.mark.parametrize("message", CASES)
def test_the_layer_and_the_reason_are_named(message):
    with pytest.raises(Unsupported, match=message):
        infer(CASES[message](), X)


def test_a_replaced_rule_is_refused():
    model = network(BatchNorm(8), LIF())
    with (
        ruled(model, lambda neuron, x_seq, state: (x_seq, state)),
        pytest.raises(Unsupported, match=r"2: its rule was replaced"),
    ):
        infer(model, X)
    infer(model, X)


def hooked(module):
    module.register_forward_hook(lambda module, inputs, out: 2 * out)


def prepared(module):
    module.register_forward_pre_hook(lambda module, inputs: (2 * inputs[0],))


def replaced(module):
    module.forward = lambda x: 2 * type(module).forward(module, x)


@pytest.mark.parametrize(
    ("change", "reason"),
    [(hooked, "has forward hooks"), (prepared, "has forward hooks"), (replaced, "was replaced")],
)
@pytest.mark.parametrize("which", ["0", "0.module", "1", "2", "3.module"])
def test_a_layer_that_does_more_than_its_class_is_refused(which, change, reason):
    model = network(BatchNorm(8), LIF(), OverTime(nn.Identity()))
    infer(model, X)
    change(model.get_submodule(which))
    with pytest.raises(Unsupported, match=f"cannot be packed: {which[0]}: .*{reason}"):
        infer(model, X)


def test_a_sample_without_time_or_content_is_refused():
    with pytest.raises(ValueError, match="time"):
        infer(network(LIF()), torch.rand(3))
    with pytest.raises(ValueError, match="must hold something"):
        infer(network(LIF()), X[:, :0])


def test_the_model_is_in_training_mode_again_after_a_refusal():
    model = network(ReLU()).train()
    with pytest.raises(Unsupported):
        infer(model, X)
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks for module in model.modules())
