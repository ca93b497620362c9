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


def test_of_a_repeated_seed_the_run_started_last_counts(
    runs: list[Path], write_run: Write, tmp_path: Path
) -> None:
    for run, day in (
        (runs[1], 2),
        (write_run("newest", result={"recipe": BASE, "seed": 1, "test": {"accuracy": 0.7}}), 3),
        (write_run("oldest", result={"recipe": BASE, "seed": 1, "test": {"accuracy": 0.1}}), 1),
    ):
        machine = json.loads((run / "environment.json").read_text())
        machine["started"] = f"2026-01-0{day}T00:00:00+00:00"
        (run / "environment.json").write_text(json.dumps(machine))
    newest, oldest = tmp_path / "newest", tmp_path / "oldest"
    for order in ([*runs, newest, oldest], [oldest, newest, *runs]):
        found = compare(order)
        base = next(arm for arm in found.arms if arm.name == BASE)
        assert base.values == {0: 0.80, 1: 0.70, 2: 0.84}
        left = dict(found.left_out)
        assert left.keys() == {str(runs[1]), str(oldest)}
        said = f"repeated: {newest} is 'bptt/base' with seed 1, too, and was run later"
        assert said in left.values()
    text = write_compare(found, tmp_path / "page.html").read_text("utf-8")
    assert "Of runs that repeat an arm with a seed, the one started last counts." in text
    assert str(oldest) in text


def test_a_folder_given_twice_counts_once(runs: list[Path]) -> None:
    found = compare([*runs, runs[0], runs[0] / ".." / runs[0].name])
    assert found.left_out == ()
    assert [row["n"] for row in found.rows()] == [3, 3]


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
