"""The readable executor: single neurons and small maps, by hand and beside the clock."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeloom.functional import Events, Late, event_stream, events_of, factor, lif
from spikeloom.functional.events import Connection, EventProgram, Mixing, Pool, Population, Weights
from spikeloom.functional.events.draws import drawn
from spikeloom.functional.program import Window

ONE = (1, 1, 1)


def full(shape, value):
    return torch.full(shape, float(value), dtype=torch.float64)


def neurons(shape=ONE, *, keep=0.5, gain=1.0, threshold=1.0, bias=0.0, **rule):
    values = (full(shape, value) for value in (keep, gain, threshold, bias))
    return Population("neurons", shape, *values, **rule)


def one_to_one(population, delay=0):
    hop = Pool(Window(), population.shape, population.shape)
    return EventProgram(population.shape, (population,), (Connection(0, 1, (hop,), delay),))


def fired(run):
    """Steps in which the only neuron fired."""
    return run.spikes()[:, 0].tolist()


def events(*each):
    time, index, value = zip(*each, strict=True) if each else ((), (), ())
    return Events(torch.tensor(time).long(), torch.tensor(index).long(), torch.tensor(value))


def ran(program, *fed, steps=8, **options):
    run = event_stream(program, steps=steps, **options)
    run.feed(events(*fed))
    run.advance(steps)
    return run


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from((0.0, 0.0, 0.3, 0.8, 1.7)), min_size=12, max_size=12),
    st.sampled_from(("hard", "soft", "none")),
    st.sampled_from((0.0, 0.5, 0.9, 1.0)),
    st.booleans(),
    st.sampled_from((0.0, 0.2, 0.6)),
)
def test_a_neuron_touched_now_and_then_fires_as_under_the_clock(x, reset, keep, strict, bias):
    x_seq = torch.tensor(x, dtype=torch.float64).view(-1, 1, 1)
    options = {"reset": reset, "strict": strict, "v_threshold": 1.0}
    want, _ = lif(x_seq + bias, decay=factor(keep), **options)
    rule = neurons(keep=keep, bias=bias, reset=reset, strict=strict)
    run = event_stream(one_to_one(rule), steps=len(x))
    run.feed(events_of(x_seq[:, 0]))
    run.advance(len(x))
    assert fired(run) == want.flatten().nonzero().flatten().tolist()


def test_soft_reset_leaves_enough_for_a_spike_in_silence():
    run = ran(one_to_one(neurons(keep=1.0, reset="soft")), (0, 0, 3.5))
    assert fired(run) == [0, 1, 2]
    assert run.counts.wakes == 2
    assert run.counts.arrivals == 1


def test_a_constant_current_wakes_a_neuron_at_the_step_where_the_clock_would():
    run = ran(one_to_one(neurons(keep=1.0, bias=0.375)))
    assert fired(run) == [2, 5]  # 0.375, 0.75, 1.125
    assert run.counts.arrivals == run.counts.inputs == 0


def test_at_one_step_a_constant_is_a_lower_threshold():
    x = [(0, 0, value) for value in (-0.5, 0.2, 0.4, 0.6)]
    for _, _, value in x:
        with_bias = ran(one_to_one(neurons(gain=0.5, bias=0.6)), (0, 0, value), steps=1)
        folded = ran(one_to_one(neurons(gain=0.5, threshold=1 - 0.5 * 0.6)), (0, 0, value), steps=1)
        assert fired(with_bias) == fired(folded)
    assert fired(ran(one_to_one(neurons(gain=0.5, bias=2.5)), steps=1)) == [0]


def test_an_arrival_at_rest_potential_leaks_step_by_step():
    program = one_to_one(neurons(keep=0.5, threshold=1.0, v_reset=-1.0, rest=-1.0))
    # h = -1 + (v + 1) / 2 + x: 0.5, in silence -0.25 and -0.625, then -0.8125 + x
    assert fired(ran(program, (0, 0, 1.5), (3, 0, 1.9))) == [3]
    assert fired(ran(program, (0, 0, 1.5), (3, 0, 1.8))) == []


def test_operations_of_a_convolution_are_its_taps_inside_the_image():
    window = Window((3, 3), (1, 1), (1, 1))
    hop = Weights(full((5, 2, 3, 3), 0.1), window, (2, 4, 4), (5, 4, 4))
    rule = neurons((5, 4, 4), threshold=9.0)
    program = EventProgram((2, 4, 4), (rule,), (Connection(0, 1, (hop,)),))
    spike_in_corner, number_inside = (0, 0, 1.0), (1, 16 + 5, 0.5)
    run = ran(program, spike_in_corner, number_inside)
    assert run.counts.accumulates == 4 * 5
    assert run.counts.multiply_accumulates == 9 * 5
    assert (run.counts.inputs, run.counts.events) == (2, 2)


def test_a_weight_of_zero_is_no_synapse():
    weight = torch.tensor([1.0, 0.0, 2.0], dtype=torch.float64).view(3, 1, 1, 1)
    hop = Weights(weight, Window(), ONE, (3, 1, 1))
    program = EventProgram(ONE, (neurons((3, 1, 1)),), (Connection(0, 1, (hop,)),))
    run = ran(program, (0, 0, 1.0))
    assert run.counts.accumulates == 2
    assert run.spikes().tolist() == [[0, 0, 0], [0, 0, 2]]


def test_pooling_before_weights_is_a_smaller_weight_and_a_relay_multiplies():
    shape = (1, 2, 2)
    pool = Pool(Window((2, 2), (2, 2)), shape, ONE, 0.25)
    dense = Weights(full((3, 1, 1, 1), 4.0), Window(), ONE, (3, 1, 1))
    again = Weights(full((2, 3, 1, 1), 1.0), Window(), (3, 1, 1), (2, 1, 1))
    one = EventProgram(shape, (neurons((3, 1, 1)),), (Connection(0, 1, (pool, dense)),))
    two = EventProgram(shape, (neurons((2, 1, 1)),), (Connection(0, 1, (pool, dense, again)),))
    run = ran(one, (0, 3, 1.0))
    assert (run.counts.accumulates, run.counts.multiply_accumulates) == (3, 0)
    assert len(run.spikes()) == 3  # 0.25 x 4 reaches the threshold
    run = ran(two, (0, 3, 1.0))
    assert (run.counts.accumulates, run.counts.multiply_accumulates) == (3, 6)


def test_token_mixing_reaches_all_places_of_one_channel():
    weight = torch.arange(1.0, 10.0, dtype=torch.float64).view(1, 3, 3)
    mixing = Mixing(weight, (2, 1, 3))
    read = neurons((2, 1, 3), keep=0.0, threshold=9e9, fires=False, reset="none")
    program = EventProgram((2, 1, 3), (read,), (Connection(0, 1, (mixing,)),))
    run = ran(program, (0, 4, 1.0), steps=1)  # channel 1, place 1
    assert run.outputs.tolist() == [[0, 0, 0, *weight[0, :, 1].tolist()]]


def test_what_arrives_after_the_last_step_is_dropped_and_counted():
    program = one_to_one(neurons(), delay=3)
    run = ran(program, (0, 0, 2.0), (4, 0, 2.0), (5, 0, 2.0), steps=6)
    assert fired(run) == [3]
    assert run.counts.dropped == 2


def test_late_draws_belong_to_spike_and_seed_and_have_the_wanted_share():
    late = Late(0.3, most=4, seed=5)
    steps = [late.steps(c, n, t) for c in range(10) for n in range(50) for t in range(20)]
    assert steps == [late.steps(c, n, t) for c in range(10) for n in range(50) for t in range(20)]
    share = sum(step > 0 for step in steps) / len(steps)
    assert share == pytest.approx(0.3, abs=0.015)
    assert {1, 2, 3, 4} == set(steps) - {0}
    assert len({drawn(seed, 1) for seed in range(100)}) == 100


def test_in_drawn_order_a_neuron_decides_at_each_arrival():
    weight = torch.tensor([[0.75, -0.75]], dtype=torch.float64).view(1, 2, 1, 1)
    hop = Weights(weight, Window(), (2, 1, 1), ONE)
    rule = neurons(threshold=0.5)
    program = EventProgram((2, 1, 1), (rule,), (Connection(0, 1, (hop,)),))
    both = [(t, i, 1.0) for t in range(8) for i in (0, 1)]
    assert fired(ran(program, *both)) == []  # they cancel, whoever comes first
    counts = [len(ran(program, *both, seed=seed).spikes()) for seed in range(5)]
    assert all(0 < count < 8 for count in counts)  # those steps in which the first came first
    again = ran(program, *both, seed=3).spikes()
    assert torch.equal(again, ran(program, *both, seed=3).spikes())


def test_a_stream_fed_step_by_step_is_the_stream_fed_at_once():
    program = one_to_one(neurons(keep=0.9))
    fed = [(0, 0, 0.7), (3, 0, 0.6), (4, 0, 0.5)]
    run = event_stream(program)
    for step in range(8):
        run.feed(events(*(each for each in fed if each[0] == step)))
        run.advance(step + 1)
    assert torch.equal(run.spikes(), ran(program, *fed).spikes())


def test_the_decision_so_far_is_the_largest_mean():
    read = neurons((2, 1, 1), keep=0.0, threshold=9e9, fires=False, reset="none")
    run = event_stream(one_to_one(read))
    with pytest.raises(ValueError, match="no step is over"):
        _ = run.decision
    run.feed(events((0, 1, 1.0), (1, 0, 3.0)))
    run.advance(1)
    assert run.decision == 1
    run.advance(2)
    assert run.decision == 0
    assert run.outputs.tolist() == [[0, 1], [3, 0]]


@pytest.mark.parametrize(
    ("fed", "reason"),
    [
        (((8, 0, 1.0),), "from step 2 to 7, got 8 to 8"),
        (((1, 0, 1.0),), "from step 2 to 7, got 1 to 1"),
        (((2, 1, 1.0),), "indices 0 to 0, got 1 to 1"),
        (((2, 0, float("nan")),), "finite"),
    ],
)
def test_events_that_do_not_fit_are_refused(fed, reason):
    run = event_stream(one_to_one(neurons()), steps=8)
    run.advance(2)
    with pytest.raises(ValueError, match=reason):
        run.feed(events(*fed))


def test_wrong_kinds_of_events_steps_and_options_are_refused():
    program = one_to_one(neurons())
    run = event_stream(program, steps=8)
    with pytest.raises(ValueError, match="events are whole steps"):
        run.feed(Events(torch.rand(3), torch.zeros(3).long(), torch.ones(3)))
    run.advance(4)
    for until in (3, 9):
        with pytest.raises(ValueError, match=f"step 4 and can go from there to 8, got {until}"):
            run.advance(until)
    for options in ({"steps": 0}, {"dtype": torch.float16}):
        with pytest.raises(ValueError, match="got"):
            event_stream(program, **options)
    for late in ({"p": 1.5}, {"most": 0}):
        with pytest.raises(ValueError, match="got"):
            Late(**late)


def test_programs_that_lead_backward_or_do_not_fit_are_refused():
    rule = neurons()
    hop = Pool(Window(), ONE, ONE)
    with pytest.raises(ValueError, match="must lead forward"):
        EventProgram(ONE, (rule,), (Connection(1, 1, (hop,)),))
    with pytest.raises(ValueError, match="do not fit"):
        EventProgram((2, 1, 1), (rule,), (Connection(0, 1, (hop,)),))
    with pytest.raises(ValueError, match="only the last"):
        EventProgram(ONE, (neurons(fires=False), rule), ())
