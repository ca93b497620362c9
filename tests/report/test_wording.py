"""Numbers in words."""

import math

import pytest

from spikeloom.report import wording


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, "–"), (math.nan, "–"), (0.04, "0.0 s"), (59.94, "59.9 s"), (59.99, "1 min 0 s"),
        (192.4, "3 min 12 s"), (3599.7, "1 h 0 min"), (7384, "2 h 3 min"),
    ],
)  # fmt: skip
def test_duration(seconds: float | None, said: str) -> None:
    assert wording.duration(seconds).replace("\u202f", " ") == said


def test_unknown_numbers_are_a_dash() -> None:
    assert {wording.number(None), wording.percent(None), wording.count(None)} == {"–"}
    assert wording.change("test.accuracy", None) == "–"


def test_thousands_are_set_apart() -> None:
    assert wording.count(1234567) == "1\u202f234\u202f567"


def test_accuracies_are_per_cent_and_their_differences_points() -> None:
    assert wording.quantity("test.accuracy", 0.9125) == "91.25\u202f%"
    assert wording.quantity("test.loss", 0.9125) == "0.9125"
    assert wording.change("accuracy", -0.0125) == "−1.25\u202fpp"
    assert wording.change("seconds", 12.0) == "+12"
