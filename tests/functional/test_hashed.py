"""Hashed random numbers: those of SplitMix64, uniform and normal, and of their purpose alone."""

import torch

from spikeloom.functional.events import draws
from spikeloom.functional.hashed import drawn, mixed, normal, uniform


def test_bits_are_those_of_the_integers_without_sign():
    for number in (0, 1, 2**63 - 1):
        assert int(mixed(torch.tensor(number))) % 2**64 == draws.mixed(number)
    assert int(drawn(7, 3, 2**40, 5)) % 2**64 == draws.drawn(7, 3, 2**40, 5)


def test_places_are_broadcast():
    place = torch.arange(5)
    assert drawn(1, 2, place).tolist() == [int(drawn(1, 2, i)) for i in range(5)]


def test_uniform_numbers_are_uniform():
    u = uniform(drawn(3, torch.arange(100_000)))
    assert u.min() >= 0
    assert u.max() < 1
    shares = torch.histc(u, 10, 0, 1) / len(u)
    assert (shares - 0.1).abs().max() < 0.004


def test_normal_numbers_have_mean_0_variance_1_and_hardly_any_kurtosis():
    z = normal(drawn(4, torch.arange(200_000))).double()
    assert abs(z.mean()) < 0.01
    assert abs(z.var() - 1) < 0.015
    assert abs((z**4).mean() - 2.9) < 0.08
    assert z.abs().max() < 6
