"""The token mixing layer."""

import pytest
import torch

from spikeloom.functional import token_mixing
from spikeloom.layers import OverTime, TokenMixing


def test_places_are_tokens_in_rows_from_the_top():
    layer, x_seq = TokenMixing(8, 12, heads=2), torch.rand(3, 2, 8, 3, 4)
    expected = token_mixing(x_seq.flatten(3), layer.weight).view_as(x_seq)
    torch.testing.assert_close(OverTime(layer)(x_seq), expected)
    last = x_seq[0].contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(layer(last), expected[0])


def test_weights_start_with_the_deviation_of_kaiming_fan_out():
    weight = TokenMixing(32, 64, heads=32).weight
    assert weight.shape == (32, 64, 64)
    assert weight.std().item() == pytest.approx((2 / 64) ** 0.5, rel=0.02)


def test_a_repeated_image_is_mixed_once():
    layer = TokenMixing(8, 4, heads=2)
    calls = []
    layer.register_forward_hook(lambda module, x, y: calls.append(len(y)))
    y_seq = OverTime(layer)(torch.rand(2, 8, 2, 2).expand(5, 2, 8, 2, 2))
    assert y_seq.shape == (5, 2, 8, 2, 2)
    assert calls == [2]


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="8 channels cannot be shared by 3 heads"):
        TokenMixing(8, 4, heads=3)
    with pytest.raises(ValueError, match="for 4 tokens"):
        TokenMixing(8, 4, heads=2)(torch.zeros(1, 8, 3, 3))
