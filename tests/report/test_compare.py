"""Comparisons over runs."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from spikeloom.registry import UnknownNameError
from spikeloom.report import compare, write_compare

Write = Callable[..., Path]
BASE, ARM = "bptt/base", "bptt/<arm>"
SCORES = {BASE: (0.80, 0.82, 0.84), ARM: (0.83, 0.84, 0.88)}


@pytest.fixture
def runs(write_run: Write) -> list[Path]:
    """Three seeds of two arms, differing as in the test of the paired difference."""
    return [
        write_run(
            f"{at}-{seed}",
            sample=False,
            shift=0.01 * seed,
            result={"recipe": recipe, "seed": seed, "test": {"accuracy": score, "count": 50}},
        )
        for at, (recipe, scores) in enumerate(SCORES.items())
        for seed, score in enumerate(scores)
    ]


def test_arms_are_summed_up_over_their_seeds(runs: list[Path]) -> None:
    base, arm = compare(runs, baseline=BASE).rows()
    assert (base["arm"], base["n"], base["seeds"]) == (BASE, 3, [0, 1, 2])
    assert (base["mean"], base["sd"]) == pytest.approx((0.82, 0.02))
    assert (base["difference"], base["interval"], base["pairs"]) == (None, None, None)
    assert (arm["mean"], arm["sd"]) == pytest.approx((0.85, 0.0264575), abs=1e-6)
    assert (arm["difference"], arm["pairs"]) == pytest.approx((0.03, 3))
    assert arm["interval"] == pytest.approx([0.0051586, 0.0548414], abs=1e-6)


def test_without_a_baseline_no_difference_is_claimed(runs: list[Path]) -> None:
    assert all(row["difference"] is None for row in compare(runs).rows())


def test_one_shared_seed_claims_no_interval(runs: list[Path]) -> None:
    _, arm = compare([*runs[:3], runs[4]], baseline=BASE).rows()
    assert (arm["n"], arm["sd"], arm["pairs"], arm["interval"]) == (1, None, 1, None)
    assert arm["difference"] == pytest.approx(0.02)


def test_any_number_of_the_result_is_a_metric(runs: list[Path]) -> None:
    assert compare(runs, metric="best.val.accuracy").rows()[0]["mean"] == pytest.approx(0.89)
    assert compare(runs, metric="firing_rates.features.0.neuron").rows()[0]["mean"] == 0.31


def test_json_holds_everything(runs: list[Path]) -> None:
    stored = json.loads(compare(runs, baseline=BASE).to_json())
    assert stored["metric"] == "test.accuracy"
    assert stored["arms"][1]["values"] == {"0": 0.83, "1": 0.84, "2": 0.88}
    assert stored["arms"][1]["difference"]["n"] == 3


def test_curves_are_means_over_seeds_at_the_epochs_all_have(
    runs: list[Path], write_run: Write
) -> None:
    short = write_run(
        "short", epochs=4, sample=False, shift=0.03, result={"recipe": BASE, "seed": 9}
    )
    curve = compare([*runs[:3], short]).arms[0].curve
    assert curve is not None
    assert curve.epochs == (2, 4)
    # validation accuracies of one epoch are 0, 1, 2 and 3 points above the first
    first = compare(runs[:1]).arms[0].curve
    assert first is not None
    assert first.sd == (None,) * 6
    assert curve.mean[0] - first.mean[0] == pytest.approx(0.015)
    assert curve.sd[0] == pytest.approx(0.0129099, abs=1e-6)


def test_runs_that_do_not_count_are_listed(runs: list[Path], write_run: Write) -> None:
    unfinished = write_run("unfinished", finished=False)
    broken = write_run(
        "broken", result={"recipe": BASE, "seed": 5, "test": {"accuracy": float("nan")}}
    )
    blind = write_run("blind", result={"recipe": BASE, "seed": 6, "test": {}})
    found = compare([*runs, unfinished, broken, blind])
    assert found.left_out == (
        (str(unfinished), "unfinished, there is no result.json"),
        (str(broken), "test.accuracy is nan"),
        (str(blind), "no test.accuracy in its result"),
    )
    assert [row["n"] for row in found.rows()] == [3, 3]


def test_a_seed_counts_once(runs: list[Path], write_run: Write) -> None:
    twice = write_run("twice", result={"recipe": BASE, "seed": 1})
    with pytest.raises(ValueError, match=r"are both seed 1 of 'bptt/base'; give one of them"):
        compare([*runs, twice])


def test_mistaken_names_get_the_nearest(runs: list[Path]) -> None:
    with pytest.raises(UnknownNameError, match=r"Did you mean 'bptt/base'\?"):
        compare(runs, baseline="bptt/bas")
    with pytest.raises(
        ValueError, match=r"unknown metric 'test.acc'. Did you mean 'test.accuracy'"
    ):
        compare(runs, metric="test.acc")


def test_nothing_to_compare_is_an_error(write_run: Write) -> None:
    with pytest.raises(ValueError, match="no run to compare: none was given"):
        compare([])
    with pytest.raises(ValueError, match=r"no run to compare: .*unfinished"):
        compare([write_run(finished=False)])


def test_the_page_shows_table_curves_and_what_was_left_out(
    runs: list[Path], write_run: Write, tmp_path: Path
) -> None:
    comparison = compare([*runs, write_run("open", finished=False)], baseline=BASE)
    text = write_compare(comparison, tmp_path / "compare.html").read_text("utf-8")
    assert "bptt/&lt;arm&gt;" in text
    assert "bptt/<arm>" not in text
    assert "+3.00\u202fpp" in text
    assert "+0.52\u202fpp to +5.48\u202fpp" in text
    assert text.count("<svg") == 2
    assert "validation accuracy" in text
    assert "unfinished, there is no result.json" in text
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", text)
