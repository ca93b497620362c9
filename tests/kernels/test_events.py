"""The compiled queue does what the heap does: the same spikes, outputs and counts, to the bit."""

from random import Random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeloom.functional import Late, event_stream
from spikeloom.functional.events import Connection, EventProgram, Weights
from spikeloom.functional.events.stream import events_of
from spikeloom.functional.program import Window
from spikeloom.kernels import CannotServeError, door, explain, use
from spikeloom.kernels.cpu import native
from tests.kernels.event_programs import events, program, rule

pytestmark = pytest.mark.skipif(native.OPENED is None, reason=native.PROBLEM)
fast = door("event_stream")
STEPS = 6


def both(random, **options):
    net = program(random)
    fed = events(random, net, STEPS)
    runs = [event_stream(net, **options)]
    with use("cpu"):
        runs.append(fast(net, **options))
    for run in runs:
        run.feed(fed)
    return runs


def assert_same(truth, kernel):
    assert torch.equal(truth.outputs, kernel.outputs)
    assert torch.equal(truth.spikes(), kernel.spikes())
    assert truth.counts == kernel.counts


@settings(max_examples=150, deadline=None)
@given(
    st.randoms(use_true_random=False),
    st.sampled_from((0.0, 0.3, 1.0)),
    st.sampled_from((None, 0, 7)),
    st.sampled_from((torch.float64, torch.float32)),
)
def test_queue_and_heap_are_the_same_to_the_bit(random, p, seed, dtype):
    late = Late(p, most=random.randint(1, 3), seed=random.randrange(9))
    truth, kernel = both(random, steps=STEPS, dtype=dtype, late=late, seed=seed)
    for until in sorted(random.randint(0, STEPS) for _ in range(3)):
        for run in (truth, kernel):
            run.advance(until)
        assert_same(truth, kernel)
    for run in (truth, kernel):
        run.advance(STEPS)
    assert_same(truth, kernel)


@settings(max_examples=30, deadline=None)
@given(st.randoms(use_true_random=False), st.sampled_from((None, 3)))
def test_a_stream_without_an_end_goes_on_in_the_same_way(random, seed):
    goes_on_in_the_same_way(random, seed)


@pytest.mark.parametrize("number", [876, 1048, 1466])
def test_the_drawn_order_does_not_depend_on_who_looks_ahead(number):
    # neurons just below their threshold, which the heap looks ahead for and the kernel does not
    goes_on_in_the_same_way(Random(number), 3)


def goes_on_in_the_same_way(random, seed):
    truth, kernel = both(random, seed=seed)
    for run in (truth, kernel):
        run.advance(STEPS + 40)
    assert_same(truth, kernel)
    fed = events(random, truth.program, STEPS)
    for run in (truth, kernel):
        run.feed(fed._replace(time=fed.time + STEPS + 40))
        run.advance(2 * STEPS + 40)
    assert_same(truth, kernel)


@pytest.mark.parametrize("name", ["baseline", "avx2", "avx512"])
def test_every_instruction_set_gives_the_same(name):
    before = native.variant()
    if native.variant(name) != name:
        pytest.skip(f"this machine has no {name}")
    try:
        for number in range(20):
            truth, kernel = both(Random(number), steps=STEPS)
            for run in (truth, kernel):
                run.advance(STEPS)
            assert_same(truth, kernel)
    finally:
        native.variant(before)


def test_the_door_serves_it_and_says_so():
    net = program(Random(0))
    assert explain("event_stream", net).startswith("event_stream: cpu (")
    with use("truth"):
        assert type(door("event_stream")(net)) is type(event_stream(net))
    with use("triton"), pytest.raises(CannotServeError, match="only cpu, truth"):
        door("event_stream")(net)


def test_neurons_that_wake_late_look_ahead_more_than_once():
    shape = (1, 1, 1)
    slow = rule(Random(1), "slow", shape)
    one = torch.ones(shape, dtype=torch.float64)
    slow = type(slow)("slow", shape, one, one, one, one / 2048)
    way = Weights(torch.ones(1, 1, 1, 1, dtype=torch.float64), Window(), shape, shape)
    net = EventProgram(shape, (slow,), (Connection(0, 1, (way,)),))
    for make in (event_stream, fast):
        run = make(net)
        run.advance(2100)
        assert run.spikes().tolist() == [[2047, 0, 0]]


def test_neurons_reset_above_their_threshold_fire_in_silence():
    shape = (1, 1, 1)
    one = torch.ones(shape, dtype=torch.float64)
    again = type(rule(Random(1), "again", shape))(
        "again", shape, one, one, one, 0 * one, reset="hard", v_reset=2.0
    )
    way = Weights(torch.ones(1, 1, 1, 1, dtype=torch.float64), Window(), shape, shape)
    net = EventProgram(shape, (again,), (Connection(0, 1, (way,)),))
    for make in (event_stream, fast):
        run = make(net)
        run.feed(events_of(torch.ones(1, 1, dtype=torch.float64)))
        run.advance(4)
        assert run.spikes()[:, 0].tolist() == [0, 1, 2, 3]
