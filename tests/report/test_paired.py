"""Statistics against numbers computed by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from spikeloom.report.paired import Difference, mean_sd, paired_difference

BASE = {0: 0.80, 1: 0.82, 2: 0.84, 7: 0.10}
ARM = {0: 0.83, 1: 0.84, 2: 0.88, 9: 0.99}


def test_spread_is_the_sample_standard_deviation() -> None:
    # mean 5; squares 9 + 1 + 1 + 1 + 0 + 0 + 4 + 16 = 32; sd = sqrt(32 / 7)
    assert mean_sd([2, 4, 4, 4, 5, 5, 7, 9]) == pytest.approx((5.0, math.sqrt(32 / 7)))


def test_one_value_has_no_spread() -> None:
    assert mean_sd([0.5]) == (0.5, None)
    with pytest.raises(ValueError, match="mean of no values"):
        mean_sd([])


def test_only_shared_seeds_are_paired() -> None:
    # differences 0.03, 0.02, 0.04; t(0.975, 2) = 4.302653; half = 4.302653 * 0.01 / sqrt(3)
    found = paired_difference(ARM, BASE)
    assert found.n == 3
    assert found.mean == pytest.approx(0.03)
    assert found.sd == pytest.approx(0.01)
    assert found.interval == pytest.approx((0.0051586, 0.0548414), abs=1e-6)


def test_two_pairs_give_a_wide_interval() -> None:
    # differences 1 and 3; sd = sqrt(2); t(0.975, 1) = 12.7062; half = 12.7062
    found = paired_difference({0: 1.0, 1: 3.0}, {0: 0.0, 1: 0.0})
    assert found.interval == pytest.approx((2 - 12.7062, 2 + 12.7062), abs=1e-4)


def test_below_two_pairs_no_interval_is_claimed() -> None:
    assert paired_difference({0: 3.0, 1: 9.0}, {0: 1.0}) == Difference(1, 2.0, None, None)
    assert paired_difference({0: 3.0}, {1: 1.0}) == Difference(0, None, None, None)


def test_equal_differences_give_a_point() -> None:
    found = paired_difference({0: 2.0, 1: 3.0}, {0: 1.0, 1: 2.0})
    assert found.interval == (1.0, 1.0)


@given(st.lists(st.floats(-10, 10), min_size=3, max_size=9, unique=True))
def test_the_interval_is_that_of_scipys_t_test(values: list[float]) -> None:
    arm = {seed: value + 0.01 * seed**2 for seed, value in enumerate(values)}
    base = {seed: value**2 for seed, value in enumerate(values)}
    wanted = stats.ttest_rel(list(arm.values()), list(base.values())).confidence_interval(0.95)
    found = paired_difference(arm, base).interval
    assert found is not None
    assert np.allclose(found, wanted, rtol=1e-6, atol=1e-9)
