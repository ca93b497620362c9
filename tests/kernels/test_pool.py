"""The pool hands memory out again, keeps a bounded amount, and gives it back when told."""

import gc

import pytest
import torch

from spikeloom.kernels import door, limit_pool, pool_size, release
from spikeloom.kernels.cpu import native, pool

pytestmark = pytest.mark.skipif(native.OPENED is None, reason=native.PROBLEM)
MIB = 1 << 20


@pytest.fixture(autouse=True)
def emptied():
    gc.collect()
    release()
    yield
    limit_pool(pool._default_limit())
    release()


def large(mib=2, dtype=torch.float32):
    count = mib * MIB // dtype.itemsize
    return pool.empty((count,), (1,), dtype)


def test_a_dead_tensor_s_memory_serves_the_next():
    first = large()
    address = first.data_ptr()
    assert pool_size() == 0
    del first
    assert pool_size() == 2 * MIB
    assert large().data_ptr() == address


def test_memory_lives_as_long_as_any_view_of_it():
    whole = large()
    part = whole[5:10]
    del whole
    assert pool_size() == 0
    part.fill_(1.0)
    del part
    assert pool_size() == 2 * MIB


def test_release_gives_everything_back():
    tensors = [large(), large(3)]
    del tensors
    assert release() == 5 * MIB
    assert pool_size() == 0


def test_no_more_than_the_limit_is_kept():
    limit_pool(4 * MIB)
    tensors = [large(2) for _ in range(5)]
    del tensors
    assert pool_size() == 4 * MIB
    limit_pool(0)
    assert pool_size() == 0


def test_a_small_tensor_does_not_take_a_large_piece():
    big = large(64)
    del big
    small = large(2)
    assert pool_size() == 64 * MIB
    del small


def test_parts_of_a_piece_serve_smaller_tensors_and_grow_together_again():
    whole = large(8)
    address = whole.data_ptr()
    del whole
    parts = [large(4), large(2), large(2)]
    assert sorted(part.data_ptr() - address for part in parts) == [0, 4 * MIB, 6 * MIB]
    assert pool_size() == 0
    del parts[1], parts
    assert pool_size() == 8 * MIB
    assert large(8).data_ptr() == address


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_shape_strides_and_dtype_are_those_asked_for(dtype):
    strides = (3 * 512 * 512, 1, 3 * 512, 3)
    image = pool.empty((2, 3, 512, 512), strides, dtype)
    assert (image.shape, image.stride(), image.dtype) == ((2, 3, 512, 512), strides, dtype)
    assert image.is_contiguous(memory_format=torch.channels_last)
    assert image.data_ptr() % 64 == 0


def test_a_training_step_leaves_its_memory_to_the_next():
    x_seq = torch.randn(4, 64, 2048, requires_grad=True)

    def step():
        x_seq.grad = None
        door("lif")(x_seq)[0].sum().backward()

    step()
    after_one = pool_size()
    for _ in range(3):
        step()
    assert 0 < pool_size() <= after_one + 3 * MIB


def test_impossible_sizes_raise():
    with pytest.raises(MemoryError, match=r"no memory for a torch\.float32 tensor"):
        pool.empty((1 << 50,), (1,), torch.float32)
