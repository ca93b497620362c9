"""Schedules are functions of progress; parameter groups follow names."""

import pytest
import torch
from torch import nn

from spikeloom.run.build import build
from spikeloom.run.config import ConfigError, Part
from spikeloom.run.optimize import Special, cosine, groups, linear, steps


def test_cosine_starts_at_one_halves_and_ends_at_its_floor() -> None:
    assert cosine()(0) == 1
    assert cosine()(0.5) == pytest.approx(0.5)
    assert cosine()(1) == pytest.approx(0)
    assert cosine(floor=0.2)(1) == pytest.approx(0.2)


def test_warmup_rises_linearly_to_the_full_rate() -> None:
    schedule = linear(warmup=0.2)
    assert schedule(0.1) == pytest.approx(0.5)
    assert schedule(0.2) == 1
    assert schedule(0) > 0


def test_steps_fall_where_told() -> None:
    schedule = steps(at=[0.5, 0.75], gamma=0.1)
    assert [schedule(s) for s in (0.49, 0.5, 0.75)] == pytest.approx([1, 0.1, 0.01])


def test_steps_may_have_a_factor_each() -> None:
    schedule = steps(at=[0.75, 0.25, 0.5], gamma=[0.5, 0.25, 2.0])
    assert [schedule(s) for s in (0.0, 0.25, 0.5, 0.75)] == [1, 0.25, 0.5, 0.25]
    with pytest.raises(ValueError, match="2 factors for 1 shares"):
        steps(at=[0.5], gamma=[0.1, 0.1])
    with pytest.raises(ValueError, match="between 0 and 1"):
        steps(at=[0.5, 1.0], gamma=[0.1, 0.1])


def test_no_decay_patterns_spare_what_they_name() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    decayed, spared = groups(model, [Special(["norms"], weight_decay=0.0)])
    assert decayed["params"] == [model[0].weight]
    assert len(spared["params"]) == 3
    assert spared["weight_decay"] == 0
    with pytest.raises(ValueError, match="matches no parameter"):
        groups(model, [Special(["*.gamma"])])


def test_first_matching_group_takes_a_parameter() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    rest, slow, spared = groups(
        model, [Special(["1.*"], lr_scale=0.1), Special(["norms"], weight_decay=0.0)]
    )
    assert rest["params"] == [model[0].weight]
    assert [p is q for p, q in zip(slow["params"], model[1].parameters(), strict=True)] == [
        True
    ] * 2
    assert slow["lr_scale"] == 0.1
    assert len(spared["params"]) == 1
    assert spared["params"][0] is model[0].bias


def test_optimizer_arguments_are_checked() -> None:
    weight = [nn.Parameter(torch.zeros(1))]
    for arguments in ({"lr": -1.0}, {"lr": "fast"}, {"lr": 0.1, "momentum": -1.0}, {"mu": 0.1}):
        with pytest.raises(ConfigError):
            build(Part.model_validate({"name": "sgd", **arguments}), "optimizer", weight)


def test_cosine_may_stop_half_way_and_stay() -> None:
    """HetSyn's on SHD: a cosine over 40 of 100 epochs, of which 38 are made."""
    schedule = cosine(warmup=0.02, over=0.4, until=0.38)
    assert schedule(0.02) == 1
    assert schedule(0.21) == pytest.approx(0.5)
    for share in (0.38, 0.5, 1.0):
        assert schedule(share) == pytest.approx(0.0068, abs=1e-4)


@pytest.mark.parametrize("ends", [{"over": 0.05}, {"until": 0.05}, {"over": 1.5}])
def test_a_cosine_that_ends_before_its_warmup_is_refused(ends: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="after the warmup"):
        cosine(warmup=0.1, **ends)
