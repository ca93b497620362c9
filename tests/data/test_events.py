"""Events become steps: where they fall, what is counted, what is refused."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spikeloom.data import Bins, Events, Order, Recordings, batches


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


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Bins(0, (1,)), "T and all sides must be >= 1"),
        (lambda: Bins(1, (1,), by="size"), "use 'time' or 'count'"),
        (lambda: Bins(1, (1,), value="sum"), "use 'count' or 'binary'"),
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
