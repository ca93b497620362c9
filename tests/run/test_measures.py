import math

import pytest
import torch

from spikeloom.registry import entries
from spikeloom.run.measures import Measure, measure


def made(name: str, outputs: int = 3, T: int = 2) -> Measure:
    return measure(name)(outputs=outputs, T=T)


def test_rse_of_the_zero_predictor_is_exactly_one():
    """Item 8 of the specification of multi-grade learning."""
    found, y = made("rse"), torch.randn(7, 3)
    found.add(torch.zeros(1, 7, 3), y)
    assert found.result()["rse"] == 1.0
    assert measure("rse").headline(measure("rse").quick(torch.zeros(1, 7, 3), y), 7) == 1.0


@pytest.mark.parametrize("name", [entry.name for entry in entries("measure")])
def test_parts_add_up_to_the_whole(name):
    logits_seq, y = torch.randn(2, 9, 3), torch.rand(9, 3)
    y = torch.arange(9) % 3 if name == "accuracy" else y
    whole, parts = made(name), made(name)
    whole.add(logits_seq, y)
    parts.add(logits_seq[:, :4], y[:4])
    parts.add(logits_seq[:, 4:], y[4:])
    found = whole.result()
    assert parts.result()[whole.key] == pytest.approx(found[whole.key], rel=1e-12)
    assert found["count"] == 9
    quick = [measure(name).quick(logits_seq[:, at], y[at]) for at in ([*range(4)], [*range(4, 9)])]
    sums = [sum(pair) for pair in zip(*quick, strict=True)]
    assert measure(name).headline(sums, 9) == pytest.approx(found[whole.key], rel=1e-6)


def test_errors_are_those_of_the_mean_output():
    logits_seq, y = torch.randn(2, 9, 3), torch.rand(9, 3)
    found = made("psnr")
    found.add(logits_seq, y)
    error = (logits_seq.mean(0) - y).double()
    result = found.result()
    assert result["mse"] == pytest.approx(float(error.square().mean()), rel=1e-6)
    assert result["psnr"] == pytest.approx(-10 * math.log10(result["mse"]))
    relative = error.square().sum() / y.double().square().sum()
    assert result["rse"] == pytest.approx(float(relative), rel=1e-6)


def test_ranks_say_which_score_is_better():
    assert measure("rse").rank(0.1) > measure("rse").rank(0.2)
    assert measure("psnr").rank(30.0) > measure("psnr").rank(20.0)
    assert measure("psnr").text(24.183) == "24.18 dB"
    assert measure("rse").text(6.54e-6) == "6.54e-06"
    assert measure("accuracy").text(0.5) == "50.00 %"


def test_scores_without_an_error_or_without_targets_are_no_errors():
    for name, want in (("rse", 0.0), ("psnr", math.inf)):
        found = made(name)
        found.add(torch.zeros(1, 4, 3), torch.zeros(4, 3))
        assert found.result()[name] == want
    found = made("rse")
    found.add(torch.ones(1, 4, 3), torch.zeros(4, 3))
    assert found.result()["rse"] == math.inf
