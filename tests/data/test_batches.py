import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spikeloom.data import Order, TensorImages, batches


def order(count: int, batch: int, **given) -> Order:
    given = {"seed": 0, "epoch": 0, "shuffle": True, **given}
    return Order(torch.arange(count) + 100, batch, **given)


@given(
    count=st.integers(0, 60),
    batch=st.integers(1, 20),
    seed=st.integers(0, 2**60),
    epoch=st.integers(0, 999),
    shuffle=st.booleans(),
)
def test_every_image_comes_once_an_epoch(count, batch, seed, epoch, shuffle):
    given = order(count, batch, seed=seed, epoch=epoch, shuffle=shuffle)
    lists = list(given)
    seen = [index for one in lists for index in one]
    assert len(lists) == len(given)
    assert len(set(seen)) == len(seen)
    assert set(seen) <= set(range(100, 100 + count))
    assert len(seen) == count
    assert all(len(one) == batch for one in lists[: -1 if lists else None])
    assert shuffle or seen == sorted(seen)


@given(
    count=st.integers(0, 60),
    share=st.integers(1, 6),
    world=st.integers(1, 4),
    shuffle=st.booleans(),
)
def test_ranks_together_see_the_batch_of_one_process(count, share, world, shuffle):
    given = {"epoch": 3, "shuffle": shuffle}
    whole = list(order(count, share * world, **given))
    ranks = [
        list(order(count, share * world, rank=rank, world=world, **given)) for rank in range(world)
    ]
    assert {len(lists) for lists in ranks} == {len(whole)}
    for batch, *shares in zip(whole, *ranks, strict=True):
        assert sorted(index for one in shares for index in one) == sorted(batch)
        sizes = [len(one) for one in shares]
        assert max(sizes) - min(sizes) <= 1


@given(start=st.integers(0, 7), world=st.sampled_from([1, 2]))
def test_an_epoch_goes_on_where_it_stopped(start, world):
    given = {"seed": 5, "epoch": 2, "rank": world - 1, "world": world}
    whole = order(53, 8, **given)
    rest = order(53, 8, start=start, **given)
    assert list(rest) == list(whole)[start:]
    assert len(rest) == len(whole) - start
    assert [rest.size(step) for step in range(len(rest))] == [8, 8, 8, 8, 8, 8, 5][start:]


def test_the_order_depends_on_seed_and_epoch_alone():
    first = list(order(40, 8, seed=3, epoch=1))
    torch.manual_seed(99)
    again = order(40, 8, seed=3, epoch=1)
    assert list(again) == list(again) == first
    others = [list(order(40, 8, seed=s, epoch=e)) for s, e in ((3, 2), (1, 3), (4, 1), (3, 0))]
    assert all(one != first for one in others)


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"batch": 0}, "batch = 0"),
        ({"batch": 9, "world": 2}, "cannot be shared evenly by world = 2"),
        ({"rank": 2, "world": 2}, r"rank is 2; with world = 2 it must be 0\.\.1"),
        ({"rank": -1}, "rank is -1"),
        ({"seed": -1}, "seed and epoch must be >= 0"),
        ({"epoch": -1}, "seed and epoch must be >= 0"),
        ({"start": 6}, "start = 6, but the epoch has 5 batches"),
        ({"start": -1}, "start = -1"),
    ],
)
def test_an_order_that_cannot_be_is_refused(wish, message):
    with pytest.raises(ValueError, match=message):
        order(40, **{"batch": 8, **wish})


def test_indices_of_another_kind_are_refused():
    with pytest.raises(ValueError, match=r"int64 \[M\]"):
        Order(torch.zeros(3), 1, seed=0, epoch=0, shuffle=False)


@pytest.fixture
def images() -> TensorImages:
    pixels = torch.arange(200, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 2, 2)
    return TensorImages(pixels.contiguous(), torch.arange(200))


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("workers", [0, 2])
def test_the_loader_gives_the_images_in_order(images, workers):
    given = order(40, 16)
    loader = batches(images, given, workers=workers)
    assert len(loader) == 3
    for indices, (x, y) in zip(given, loader, strict=True):
        assert y.tolist() == indices == x[:, 0, 0, 0].tolist()
        assert (x.shape[1:], x.dtype, y.dtype) == ((3, 2, 2), torch.uint8, torch.int64)


def test_going_through_the_loader_draws_nothing_global(images):
    before = torch.get_rng_state()
    for _ in batches(images, order(40, 16)):
        pass
    assert torch.equal(torch.get_rng_state(), before)


def test_an_empty_share_is_an_empty_batch(images):
    *_, (x, y) = batches(images, order(5, 4, rank=1, world=2))
    assert x.shape == (0, 3, 2, 2)
    assert y.shape == (0,)


def test_several_passes_are_epochs_one_after_the_other():
    indices = torch.arange(10)
    once = [
        list(Order(indices, 4, seed=3, epoch=epoch, shuffle=True)) for epoch in (6, 7, 8)
    ]  # fmt: skip
    long = Order(indices, 4, seed=3, epoch=2, shuffle=True, passes=3)
    assert list(long) == [batch for epoch in once for batch in epoch]
    assert [long.size(step) for step in range(len(long))] == [4, 4, 2] * 3
    late = Order(indices, 4, seed=3, epoch=2, shuffle=True, passes=3, start=5)
    assert list(late) == list(long)[5:]
    assert [late.size(step) for step in range(len(late))] == [2, 4, 4, 2]
    with pytest.raises(ValueError, match="passes must be >= 1"):
        Order(indices, 4, seed=0, epoch=0, shuffle=True, passes=0)
