"""Numbered items are those of the specification of neuronal competition groups."""

import random
from dataclasses import replace

import pytest
import torch

from spikeloom.functional.first_spike import (
    FirstSpikeLayer,
    Groups,
    Rule,
    first_spike_learn,
    first_spikes,
    scores,
    updates,
)
from spikeloom.functional.first_spike.rules import desired

RULE = Rule(a_plus=1.0, a_minus=1.0, gap=0.2)  # so that plus is the error itself


def errors(rule, groups, y, t, v=None):
    return {u.neuron: u.plus for u in updates(rule, groups, y, t, v or [0.0] * groups.count)}


def layer(groups, inputs=30, threshold=3.0, mean=0.3):
    weight = (mean + 0.05 * torch.randn(groups.count, inputs)).clamp(0, 1)
    limit = torch.full((groups.count,), threshold)
    return FirstSpikeLayer(weight, limit, limit.clone(), weight.double().sum(1).float())


def learnt(given, t, y, groups, rule):
    """The layer after a batch; the given one stays as it is."""
    own = FirstSpikeLayer(*(part.clone() for part in given))
    first_spike_learn(t, y, own, groups=groups, rule=rule)
    return own


def samples(count=20, inputs=30, classes=3):
    t = torch.rand(count, inputs).masked_fill(torch.rand(count, inputs) < 0.3, 1.0)
    return t, torch.randint(classes, (count,))


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_item_1_desired_times_average_to_the_mean_and_lie_a_gap_apart(classes):
    groups, fired = Groups(classes), [random.uniform(0, 0.9) for _ in range(classes)]
    early, late = desired(groups, 0.2, fired)
    mean = sum(fired) / classes
    assert (early + (classes - 1) * late) / classes == pytest.approx(mean, abs=1e-15)
    assert late - early == pytest.approx(0.2, abs=1e-15)


def test_item_1_s2_errors_add_up_to_zero():
    t = [0.1, 0.5, 0.3, 0.6]
    assert sum(errors(RULE, Groups(4), 2, t).values()) == pytest.approx(0, abs=1e-15)


def test_item_2_without_a_spike_only_the_target_errs_by_the_gap():
    found = errors(RULE, Groups(4), 1, [1.0] * 4)
    assert found[1] == pytest.approx(0.2, abs=1e-15)
    assert all(found[n] == pytest.approx(0, abs=1e-15) for n in (0, 2, 3))


def test_silent_neurons_do_not_count_in_the_mean():
    assert errors(RULE, Groups(2), 0, [0.4, 1.0]) == pytest.approx({0: 0.1, 1: 0.5})


def test_item_3_row_sums_stay():
    groups, rule = Groups(3, 2, 1), replace(RULE, a_plus=0.1, a_minus=-0.1, compete=True)
    given, (t, y) = layer(groups), samples()
    after = learnt(given, t, y, groups, rule)
    torch.testing.assert_close(after.weight.sum(1), given.weight.sum(1), rtol=1e-6, atol=0)
    assert not torch.equal(after.weight, given.weight)


NCG = replace(RULE, a_plus=0.1, a_minus=-0.1, compete=True, regulation="competition", eta=0.6)


def test_item_4_thresholds_of_a_group_keep_their_sum_above_the_floor():
    groups, (t, y) = Groups(3, 5, 1), samples()
    given = layer(groups)
    given.own.add_(100.0)  # far above the floor; the targets are silent, and the potential decides
    after = learnt(given, t, y, groups, NCG)
    moved = (after.own - given.own).unflatten(0, (3, 5))
    torch.testing.assert_close(moved.sum(1), torch.zeros(3), atol=1e-3, rtol=0)
    assert (moved[:, 1:].abs() > 0.1).any(1).all()
    assert not moved[:, 0].any(), "the spared neuron takes no part"


def test_a_win_raises_the_threshold_by_its_share_and_losses_lower_it_to_the_floor():
    groups, (t, _) = Groups(3, 5, 1), samples(1)
    given = layer(groups)
    after = learnt(given, t, torch.tensor([1]), groups, NCG)
    moved = (after.own - given.own).unflatten(0, (3, 5))
    assert sorted(moved[1].tolist()) == pytest.approx([0, 0, 0, 0, 0.6 * 3 / 4], abs=1e-6)
    assert not moved[[0, 2]].any()


def test_item_4_a_single_target_changes_nothing():
    groups, (t, y) = Groups(3, 2, 1), samples()
    given = layer(groups)
    assert torch.equal(learnt(given, t, y, groups, NCG).own, given.own)


def test_item_5_competition_among_one_is_none():
    groups, given, (t, y) = Groups(3), layer(Groups(3)), samples()
    for rule in (RULE, replace(RULE, name="sstdp")):
        pair = [learnt(given, t, y, groups, replace(rule, compete=c)) for c in (True, False)]
        assert torch.equal(pair[0].weight, pair[1].weight)


def test_item_5_a_step_of_zero_regulates_nothing():
    groups, given, (t, y) = Groups(3, 5, 1), layer(Groups(3, 5)), samples()
    pair = [learnt(given, t, y, groups, r) for r in (
        replace(NCG, eta=0.0), replace(NCG, regulation="none", eta=0.0))]  # fmt: skip
    assert torch.equal(pair[0].weight, pair[1].weight)


def test_item_5_a_group_of_two_with_one_spared_is_pcn():
    groups, given, (t, y) = Groups(3, 2, 1), layer(Groups(3, 2)), samples()
    pcn = replace(NCG, regulation="none", eta=0.0)
    pair = [learnt(given, t, y, groups, rule) for rule in (NCG, pcn)]
    assert torch.equal(pair[0].weight, pair[1].weight)


def test_item_6_both_rules_agree_where_the_target_is_late_and_all_others_early():
    t = [0.6, 0.5, 0.55]
    assert errors(RULE, Groups(3), 0, t) == errors(replace(RULE, name="sstdp"), Groups(3), 0, t)


def test_sstdp_leaves_alone_who_is_far_enough():
    found = errors(replace(RULE, name="sstdp"), Groups(3), 0, [0.1, 0.9, 0.4])
    assert found[0] == found[1] == 0
    assert found[2] < 0


def test_item_7_inputs_of_equal_time_may_change_places():
    t = torch.randint(4, (6, 24)) / 4
    weight, limit = torch.rand(5, 24), torch.full((5,), 4.0)
    order = torch.randperm(24)
    pair = first_spikes(t, weight, limit), first_spikes(t[:, order], weight[:, order], limit)
    assert torch.equal(pair[0][0], pair[1][0])
    torch.testing.assert_close(pair[0][1], pair[1][1], rtol=1e-12, atol=0)


def test_item_8_spikes_are_those_of_every_time_tried_in_turn():
    t = (torch.randint(9, (8, 40)) / 8).clamp(max=1)
    weight, limit = torch.rand(6, 40), torch.rand(6) * 20
    found, v = first_spikes(t, weight, limit)
    for b, o in ((b, o) for b in range(8) for o in range(6)):
        for time in sorted(set(t[b].tolist()) - {1.0}):
            potential = float(weight[o, t[b] <= time].double().sum())
            if potential > float(limit[o]):
                assert float(found[b, o]) == time
                break
        else:
            assert float(found[b, o]) == 1
        assert float(v[b, o]) == pytest.approx(potential, rel=1e-12)


def test_a_potential_at_the_threshold_fires_only_where_that_is_enough():
    t, weight, limit = torch.tensor([[0.5]]), torch.tensor([[0.25]]), torch.tensor([0.25])
    assert float(first_spikes(t, weight, limit)[0]) == 1
    assert float(first_spikes(t, weight, limit, strict=False)[0]) == 0.5


def test_a_silent_neuron_takes_all_inputs_as_causal():
    groups = Groups(2)
    given = layer(groups, 3, threshold=50.0)._replace(total=None)
    t, y = torch.tensor([[0.1, 0.9, 1.0]]), torch.tensor([0])
    rule = Rule(a_plus=0.5, a_minus=-1.0, gap=0.2)
    own = FirstSpikeLayer(*(None if p is None else p.clone() for p in given))
    first_spike_learn(t, y, own, groups=groups, rule=rule)
    torch.testing.assert_close(own.weight[0] - given.weight[0], torch.full((3,), 0.1))
    torch.testing.assert_close(own.weight[1], given.weight[1])


def test_r_stdp_moves_the_first_neuron_alone():
    rule = Rule("r_stdp", a_plus=0.1, a_minus=-0.2, anti_plus=-0.3, anti_minus=0.4)
    groups, t, v = Groups(2, 2), [0.5, 0.4, 0.4, 1.0], [0.0, 1.0, 2.0, 0.0]
    assert updates(rule, groups, 1, t, v) == [(2, 0.1, -0.2)]
    assert updates(rule, groups, 0, t, v) == [(2, -0.3, 0.4)]
    assert updates(rule, Groups(2, 2, 1), 1, t, v) == [(2, -0.3, 0.4)], "no target, no reward"


def test_dropped_neurons_neither_fire_nor_win():
    groups = Groups(2)
    given, (t, y) = layer(groups, threshold=0.1), samples(5, classes=2)
    dropped = torch.tensor([[True, False]] * 5)
    how = {"groups": groups, "rule": Rule("r_stdp")}
    fired, v = first_spike_learn(t, y, given, dropped=dropped, **how)
    assert (fired[:, 0] == 1).all()
    assert (scores(fired, v, 2).argmax(1) == 1).all()


def test_one_threshold_a_neuron_has_no_floor_and_serves_all_samples():
    groups, (t, y) = Groups(3, 2), samples(60)
    given = layer(groups)
    own = FirstSpikeLayer(given.weight.clone(), given.threshold.clone(), given.own, given.total)
    own = own._replace(own=own.threshold)
    first_spike_learn(t, y, own, groups=groups, rule=replace(NCG, regulation="neuron"))
    assert (own.threshold < 3.0).any()
    torch.testing.assert_close(own.threshold.sum(), torch.tensor(18.0), rtol=1e-5, atol=0)


def test_changes_shrink_towards_the_bounds():
    groups = Groups(2)
    for start, plus in ((0.0, 1.0), (1.0, torch.e**-2)):
        weight = torch.full((2, 4), start)
        limit = torch.full((2,), 99.0)
        rule = Rule(a_plus=-0.1 if start else 0.1, a_minus=0.0, gap=1.0, beta=2.0)
        first_spike_learn(
            torch.zeros(1, 4), torch.tensor([0]), FirstSpikeLayer(weight, limit, limit),
            groups=groups, rule=rule,
        )  # fmt: skip
        assert float((weight[0] - start).abs().amax()) == pytest.approx(0.1 * plus, rel=1e-5)


@pytest.mark.parametrize("sizes", [(1, 1, 0), (3, 0, 0), (3, 2, 2), (3, 1, -1)])
def test_groups_without_targets_are_refused(sizes):
    with pytest.raises(ValueError, match="a target"):
        Groups(*sizes)


def test_scores_are_highest_where_the_first_spike_is():
    t, v = torch.randint(4, (200, 12)) / 3, torch.rand(200, 12).double()
    found = scores(t, v, 4).argmax(1)
    for row in range(200):
        first = min(range(12), key=lambda n: (float(t[row, n]), -float(v[row, n])))
        assert int(found[row]) == first // 3
    assert (scores(t, v, 4) - (2 - t.unflatten(1, (4, 3)).amin(2))).abs().max() < 1e-6
