"""Exponential and logarithm of plain operations agree with the library's to rounding."""

import torch

from spikeloom.functional.elementary import exp64, log64


def test_exponential():
    x = torch.linspace(-600, 600, 100_001, dtype=torch.float64)
    assert (exp64(x) / x.exp() - 1).abs().max() < 1e-15
    assert exp64(torch.zeros(1, dtype=torch.float64)) == 1


def test_logarithm():
    x = torch.logspace(-200, 200, 100_001, dtype=torch.float64)
    off = (log64(x) - x.log()).abs() / x.log().abs().clamp(min=1)
    assert off.max() < 1e-15
    near = 1 + torch.linspace(-1e-3, 1e-3, 1001, dtype=torch.float64)
    assert (log64(near) - near.log()).abs().max() < 1e-18
    assert log64(torch.ones(1, dtype=torch.float64)) == 0
