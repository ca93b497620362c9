"""One call for all steps, and one step for a sequence that repeats it."""

import pytest
import torch
from torch import nn

from spikeloom.functional.encode import constant
from spikeloom.layers import OverTime, is_constant


class Probe(nn.Linear):
    """Remembers the batch sizes it saw."""

    def __init__(self) -> None:
        super().__init__(3, 2)
        self.batches: list[int] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.batches.append(len(x))
        return super().forward(x)


@pytest.mark.parametrize("T", [1, 4])
@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (nn.Linear(6, 4), (6,)),
        (nn.Conv2d(2, 3, 3, stride=2, padding=1), (2, 7, 5)),
        (nn.AvgPool2d(2), (2, 6, 6)),
        (nn.AdaptiveAvgPool2d(1), (2, 5, 3)),
        (nn.Flatten(), (2, 3, 4)),
    ],
)
def test_equals_a_loop_over_the_steps(module, shape, T):
    x_seq = torch.randn(T, 3, *shape)
    expected = torch.stack([module(x) for x in x_seq])
    torch.testing.assert_close(OverTime(module)(x_seq), expected)


def test_calls_its_module_once_with_all_steps():
    probe = Probe()
    OverTime(probe)(torch.randn(4, 5, 3))
    assert probe.batches == [20]


def test_computes_a_constant_sequence_once_and_repeats_it():
    probe, x = Probe(), torch.randn(5, 3)
    y_seq = OverTime(probe)(constant(x, 4))
    assert probe.batches == [5]
    assert is_constant(y_seq)
    torch.testing.assert_close(y_seq, OverTime(probe)(x.repeat(4, 1, 1)))


def test_constant_sequences_pass_the_same_gradients():
    x, weights = torch.randn(5, 3), torch.randn(4, 5, 2)
    module, grads = nn.Linear(3, 2), []
    for repeated in (constant(x, 4), x.repeat(4, 1, 1)):
        module.zero_grad()
        (OverTime(module)(repeated) * weights).sum().backward()
        grads.append(module.weight.grad.clone())
    torch.testing.assert_close(*grads)


def test_a_module_that_mixes_samples_sees_every_step_of_a_constant_sequence():
    norm = nn.BatchNorm1d(3)  # its running variance depends on the number of samples
    x = torch.randn(5, 3)
    OverTime(norm)(constant(x, 4))
    expected = 0.9 + 0.1 * x.repeat(4, 1).var(0)
    torch.testing.assert_close(norm.running_var, expected)


@pytest.mark.parametrize("shape", [(3,), (0, 2, 3)])
def test_refuses_what_has_no_steps(shape):
    with pytest.raises(ValueError, match="time-first sequence"):
        OverTime(nn.Linear(3, 2))(torch.zeros(shape))


def test_one_step_is_no_constant_sequence():
    assert not is_constant(torch.zeros(1, 2, 3))
    assert not is_constant(torch.zeros(4, 2, 3))
    assert is_constant(torch.zeros(2, 3).expand(4, 2, 3))
