"""What is noted of output spikes: the balance of their time gradients, and silence."""

import pytest
import torch
from torch import nn

from spikeloom.callbacks import OutputTimes
from spikeloom.learning import Batch, Progress, Unsupported
from spikeloom.losses import Count, CountZero

AT = Progress(0, 1, 0, 1)


class Answers(nn.Module):
    def __init__(self, spike_seq):
        super().__init__()
        self.spike_seq = spike_seq

    def forward(self, x_seq):
        return self.spike_seq[:, : x_seq.shape[1]].clone()


def noted(spike_seq, y, loss):
    asked = []

    def probe(samples):
        asked.append(samples)
        return Batch(torch.zeros(len(spike_seq), len(y), 1), y)

    found = OutputTimes(samples=7).epoch(Answers(spike_seq), probe, loss, AT)
    assert asked == [7]
    return found


def test_balance_and_silence_are_those_of_the_definition():
    spike_seq = torch.zeros(5, 2, 3)
    spike_seq[0, 0, 0] = 1  # the label, once: e = (1 - 4) / 5
    spike_seq[:3, 0, 1] = 1  # another, three times: e = 2 / 5
    spike_seq[1, 1, 2] = 1  # another, once as wanted: no error
    found = noted(spike_seq, torch.tensor([0, 1]), Count(desired=4.0, boost=False))
    assert found["output balance"] == pytest.approx((0.6 - 3 * 0.4) / (0.6 + 3 * 0.4))
    assert found["output silent"] == pytest.approx(3 / 6)


def test_the_control_is_balanced_at_zero_and_silence_is_no_number_over_zero():
    spike_seq = (torch.rand(5, 20, 3, generator=torch.Generator().manual_seed(0)) < 0.4).float()
    found = noted(spike_seq, torch.arange(20) % 3, CountZero())
    assert found["output balance"] == pytest.approx(0, abs=1e-6)
    found = noted(torch.zeros(5, 2, 3), torch.tensor([0, 1]), Count())
    assert found == {"output balance": 0.0, "output silent": 1.0}


def test_logits_and_no_samples_are_refused():
    with pytest.raises(Unsupported, match='readout = "spikes"'):
        noted(torch.full((5, 2, 3), 0.5), torch.tensor([0, 1]), Count())
    with pytest.raises(ValueError, match="samples must be >= 1"):
        OutputTimes(samples=0)
