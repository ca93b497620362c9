"""Events become steps: where they fall, what is counted, what is refused."""

import doctest

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spikeloom.data import Bins, Events, Order, Recordings, batches
from spikeloom.data import events as module


def events(time, unit=None):
    time = np.asarray(time)
    return Events(time, (np.zeros(len(time), int) if unit is None else np.asarray(unit),))


def test_equal_times_cut_from_the_first_event_to_the_last():
    steps = Bins(4, (1,))(events([100, 124, 125, 150, 175, 199, 200]))
    assert steps[:, 0].tolist() == [2, 1, 1, 3]


def test_equal_counts_share_events_in_order_of_time():
    bins = Bins(3, (2,), by="count")
    steps = bins(events([5, 900, 1, 2, 3, 4], [0, 1, 0, 0, 0, 1]))
    assert steps.sum(1).tolist() == [2, 2, 2]
    assert steps[:, 1].tolist() == [0, 1, 1]


def test_a_width_counts_from_the_start_and_leaves_out_what_comes_later():
    steps = Bins(3, (1,), width=10.0)(events([9, 10, 29, 30, 500]))
    assert steps[:, 0].tolist() == [1, 1, 1]


def test_binary_says_whether_there_was_any_and_counts_end_at_255():
    many = events([0] * 300 + [9])
    assert Bins(2, (1,))(many)[:, 0].tolist() == [255, 1]
    assert Bins(2, (1,), value="binary")(many)[:, 0].tolist() == [1, 1]


def test_places_of_a_camera_and_of_spike_trains_are_binned_alike():
    time, p, y, x = np.arange(6), *np.array([[0, 1] * 3, [0, 0, 1, 1, 2, 2], [3, 2, 1, 0, 3, 2]])
    camera = Bins(2, (2, 3, 4))(Events(time, (p, y, x)))
    units = Bins(2, (24,))(Events(time, (12 * p + 4 * y + x,)))
    assert torch.equal(camera.flatten(1), units)


@given(
    st.lists(st.integers(0, 10_000), min_size=1, max_size=200),
    st.integers(1, 20),
    st.sampled_from(["time", "count"]),
)
def test_no_event_is_lost_and_order_in_the_file_does_not_matter(time, T, by):
    found = events(time)
    steps = Bins(T, (1,), by=by)(found)
    assert int(steps.sum()) == len(time)
    assert torch.equal(Bins(T, (1,), by=by)(events(sorted(time))), steps)


def test_a_voxel_grid_shares_events_between_the_steps_next_to_them():
    grid = Bins(5, (1,), value="voxel")(events([0, 10, 25, 40]))
    assert grid.dtype == torch.float32
    # T - 1 = 4 steps of 10: 25 is half way between the third and the fourth
    assert grid[:, 0].tolist() == [1, 1, 0.5, 0.5, 1]
    by_count = Bins(3, (1,), by="count", value="voxel")(events([0, 1, 500, 501, 502]))
    assert by_count[:, 0].tolist() == [1.5, 2, 1.5]
    width = Bins(2, (1,), value="voxel", width=10.0)(events([0, 5, 15, 20]))
    assert width[:, 0].tolist() == [1.5, 1]


def test_a_signed_grid_counts_the_second_polarity_up_and_the_first_down():
    time, p, x = np.array([0, 3, 6]), np.array([1, 0, 1], np.uint8), np.array([0, 0, 1])
    signed = Bins(3, (2, 2), value="signed")
    steps = signed(Events(time, (p, x)))
    assert (steps.shape, signed.step) == ((3, 1, 2), (1, 2))
    both = Bins(3, (2, 2), value="voxel")(Events(time, (p, x)))
    torch.testing.assert_close(steps[:, 0], both[:, 1] - both[:, 0])


@given(
    st.lists(st.integers(0, 10_000), min_size=1, max_size=200),
    st.integers(1, 20),
    st.sampled_from(["time", "count"]),
)
def test_a_voxel_grid_loses_nothing_of_an_event(time, T, by):
    grid = Bins(T, (1,), by=by, value="voxel")(events(time))
    assert grid.min() >= 0
    assert grid.sum().item() == pytest.approx(len(time))


def test_a_recording_with_a_width_may_be_silent():
    assert Bins(3, (2,), width=1.0)(events([])).tolist() == [[0, 0]] * 3
    assert Bins(3, (2,), width=1.0, value="voxel")(events([])).dtype == torch.float32


def test_the_example_runs():
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Bins(0, (1,)), "T and all sides must be >= 1"),
        (lambda: Bins(1, (1,), by="size"), "by is 'size'; use one of .'time', 'count'"),
        (lambda: Bins(1, (1,), value="sum"), "value is 'sum'; use one of .*'voxel', 'signed'"),
        (lambda: Bins(1, (3, 2), value="signed"), "has 3 places, not 2"),
        (lambda: Bins(1, (1,), by="count", width=1.0), "width"),
        (lambda: Bins(1, (1,), width=0.0), "width"),
        (lambda: Bins(1, (1,))(events([])), "without events"),
        (lambda: Bins(2, (1,), width=5.0)(events([-1, 3])), "times begin at -1"),
        (lambda: Bins(1, (2,))(events([0], [2])), "on an axis of 2 places"),
        (lambda: Bins(1, (2, 2))(events([0])), "places have 1 axes"),
        (lambda: Events(np.zeros(2), (np.zeros(3),)), "one entry in each array"),
    ],
)
def test_what_cannot_be_binned_is_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_recordings_are_read_when_asked_for_and_say_which_is_damaged():
    asked = []

    def read(name):
        asked.append(name)
        return events([0, 1] if name != "bad" else [])

    found = Recordings(("a", "b", "bad"), torch.tensor([1, 0, 1]), read, Bins(2, (1,)))
    assert (len(found), asked) == (3, [])
    order = Order(torch.tensor([1, 0]), 2, seed=0, epoch=0, shuffle=False)
    ((x, y),) = batches(found, order)
    assert (x.shape, x.dtype, y.tolist(), asked) == ((2, 2, 1), torch.uint8, [0, 1], ["b", "a"])
    assert found.__getitems__([])[0].shape == (0, 2, 1)
    with pytest.raises(ValueError, match=r"^bad: a recording without events"):
        found.__getitems__([2])
