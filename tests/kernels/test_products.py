"""Spikes as bits, and products with them."""

import pytest
import torch

from spikeloom.kernels.cpu import native, products

pytestmark = pytest.mark.skipif(native.OPENED is None, reason=native.PROBLEM)


@pytest.mark.parametrize("shape", [(1, 1), (3, 64), (65, 63), (130, 257), (0, 5)])
def test_bits_are_packed_turned_and_unpacked(shape):
    x = (torch.rand(shape) < 0.3).float()
    bits, ones = products.pack(x)
    assert ones == x.sum()
    assert torch.equal(products.unpack(bits, shape[1]), x)
    if x.numel():
        turned = products.transposed(bits, shape[1])
        assert torch.equal(products.unpack(turned, shape[0]), x.t())
        x[-1, -1] = 0.5
        assert products.pack(x) is None
