"""The table of a study."""

import json
from pathlib import Path

from spikeloom.report import summary


def run(out: Path, arm: str, seed: int, accuracy: float) -> Path:
    folder = out / arm / f"seed{seed}"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text("")
    (folder / "result.json").write_text(
        json.dumps(
            {
                "recipe": "r", "arm": arm, "seed": seed, "seconds": 10.0,
                "test": {"accuracy": accuracy}, "val": {"accuracy": accuracy + 0.01},
                "best": {"epoch": 1, "val": {"accuracy": accuracy + 0.02}},
                "firing_rates": {"0": 0.1, "1": 0.3},
            }
        )
    )  # fmt: skip
    return folder


def test_every_arm_has_mean_spread_and_paired_difference(tmp_path: Path) -> None:
    plain = [run(tmp_path, "plain", seed, value) for seed, value in enumerate((0.5, 0.6, 0.7))]
    better = [run(tmp_path, "better", seed, value) for seed, value in enumerate((0.52, 0.62, 0.75))]
    head, _, first, second = summary([*plain, *better], "plain").splitlines()
    assert head.split(" | ")[2] == "test (%)"
    cells = [cell.strip() for cell in first.strip("| ").split("|")]
    assert cells[:4] == ["plain", "3", "60.00 ± 10.00", "baseline"]
    assert cells[-2:] == ["0.200", "10"]
    cells = [cell.strip() for cell in second.strip("| ").split("|")]
    # Differences 2, 2 and 5 points: mean 3, sd 1.732, t(0.975, 2) = 4.3027.
    assert cells[:4] == ["better", "3", "63.00 ± 11.53", "+3.00 (−1.30 to +7.30)"]
    assert cells[4] == "64.00 ± 11.53"


def test_scores_that_not_all_runs_have_are_left_out(tmp_path: Path) -> None:
    folder = run(tmp_path, "plain", 0, 0.5)
    result = json.loads((folder / "result.json").read_text())
    result["val"] = None
    (folder / "result.json").write_text(json.dumps(result))
    assert "validation" not in summary([folder], "plain")
