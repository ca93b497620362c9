"""Which runs are seeds of one arm."""

from collections.abc import Callable
from pathlib import Path

from spikeloom.report.arms import arm_names
from spikeloom.report.folder import read_run

Write = Callable[..., Path]


def named(write_run: Write, *configs: str, **changes: object) -> list[str]:
    runs = []
    for at, config in enumerate(configs):
        run = write_run(f"run{at}", sample=False, result={"seed": at, **changes})
        (run / "config.toml").write_text(config)
        runs.append(read_run(run))
    return arm_names(runs)


def test_runs_that_differ_in_their_seed_are_one_arm(write_run: Write) -> None:
    configs = [f'title = "{seed}"\n[run]\nseed = {seed}\ndevice = "cpu"' for seed in range(3)]
    assert named(write_run, *configs) == ["bptt/synthetic_vgg"] * 3


def test_other_settings_set_arms_apart(write_run: Write) -> None:
    names = named(
        write_run, "[model]\nT = 2\n[run]\nseed = 0", "[model]\nT = 4\n[run]\nseed = 1",
        "[model]\nT = 2\n[run]\nseed = 2",
    )  # fmt: skip
    assert names == [f"bptt/synthetic_vgg model.T={T}" for T in (2, 4, 2)]


def test_settings_of_a_phase_are_named_by_its_place(write_run: Write) -> None:
    one, two = ('[[phase]]\nepochs = 3\nloss = { name = "' + loss + '" }' for loss in ("a", "b"))
    assert named(write_run, one, two)[1] == "bptt/synthetic_vgg phase.0.loss.name=b"


def test_a_setting_only_one_run_has_names_that_run(write_run: Write) -> None:
    assert named(write_run, "", "[model]\nwidth = 0.5") == [
        "bptt/synthetic_vgg",
        "bptt/synthetic_vgg model.width=0.5",
    ]


def test_a_stored_arm_name_goes_first_and_hides_no_difference(write_run: Write) -> None:
    names = named(write_run, "[model]\nT = 2", "[model]\nT = 4", arm="mine")
    assert names == ["mine model.T=2", "mine model.T=4"]
