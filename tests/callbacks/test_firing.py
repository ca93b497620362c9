"""The pull of neurons to a firing rate."""

import pytest
import torch
from torch import nn

from spikeloom.callbacks import Firing
from spikeloom.layers import LIF
from spikeloom.learning import Batch
from spikeloom.registry import Unsupported


class Given(nn.Module):
    """Hands on what it gets through its neurons."""

    def __init__(self) -> None:
        super().__init__()
        self.neuron = LIF(tau=1.5, v_threshold=0.4)

    def forward(self, x_seq: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.neuron(x_seq)
        return out


def test_the_term_is_the_mean_squared_relative_distance() -> None:
    net, x_seq = Given(), 2 * torch.rand(10, 4, 6)
    batch = Batch(x_seq, torch.zeros(4, dtype=torch.int64))
    with Firing(rate=0.05, weight=0.01).term(net) as term:
        spike_seq = net(x_seq)
        found = term(batch, spike_seq)
    want = 0.01 * (spike_seq.mean((0, 1)) / 0.05 - 1).square().mean()
    torch.testing.assert_close(found, want)
    assert found is not None
    assert not net.neuron._forward_hooks


@pytest.mark.parametrize(("rate", "weight"), [(0.0, 0.01), (2.0, 0.01), (0.05, 0.0)])
def test_a_rate_out_of_range_is_refused(rate: float, weight: float) -> None:
    with pytest.raises(ValueError, match="per step"):
        Firing(rate=rate, weight=weight)


def test_a_model_without_neurons_is_refused() -> None:
    with (
        pytest.raises(Unsupported, match="has none"),
        Firing(rate=0.05).term(nn.Linear(3, 2)),
    ):
        pass
