"""What the tests of kernels share: memory that shows what was not written, and no leaks between."""

import pytest
import torch

from spikeloom.kernels.cpu import native, pool


@pytest.fixture
def fresh_memory_is_nan(monkeypatch):
    """Every tensor of a kernel comes from the pool, filled with NaN."""
    if native.OPENED is None:
        pytest.skip(native.PROBLEM)
    monkeypatch.setattr(pool, "LARGE", 0)
    native.OPENED.spikeloom_pool_poison(1)
    yield
    native.OPENED.spikeloom_pool_poison(0)


@pytest.fixture
def threads():
    """Change torch's number of threads; restored afterwards."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)
