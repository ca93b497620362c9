"""The command as a process of its own: pipes, terminals, signals."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from spikeloom.run.record import LAST, METRICS
from tests.cli.conftest import TINY

COMMAND = [sys.executable, "-m", "spikeloom"]
SOURCE = Path(__file__).parents[2] / "src"
# What would colour a pipe, or widen it.
ASKED_FOR = ("FORCE_COLOR", "TTY_COMPATIBLE", "COLUMNS", "TTY_INTERACTIVE")


def environment(**more: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if key not in ASKED_FOR}
    return {**kept, "PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1", **more}


def test_piped_run_has_no_control_codes_and_whole_lines(tmp_path: Path) -> None:
    out = tmp_path / ("long" * 30)
    done = subprocess.run(
        [*COMMAND, "run", "digits_vgg", *TINY, "--out", str(out)],
        capture_output=True, text=True, env=environment(), check=True,
    )  # fmt: skip
    assert done.stderr == ""
    assert "\x1b" not in done.stdout
    assert "\r" not in done.stdout
    assert f"report: {out / 'digits_vgg' / 'seed0' / 'report.html'}\n" in done.stdout


def test_help_needs_no_torch() -> None:
    code = "import sys; from spikeloom.cli import app; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env=environment()).returncode == 0


def test_unknown_text_encoding_does_not_stop_a_list() -> None:
    done = subprocess.run(
        [*COMMAND, "list", "surrogates"],
        capture_output=True, env=environment(LC_ALL="C", PYTHONUTF8="0"), check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode(errors="replace")


@pytest.mark.slow
def test_ctrl_c_says_how_to_go_on_and_resume_does(tmp_path: Path) -> None:
    folder = tmp_path / "digits_vgg" / "seed0"
    words = ["run", "digits_vgg", *TINY, "phase.0.epochs=500", "--out", str(tmp_path)]
    with subprocess.Popen(
        [*COMMAND, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=environment(),
    ) as process:  # fmt: skip
        assert process.stdout
        for line in process.stdout:
            if line.startswith("epoch   2/500"):
                break
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said == (
        f"interrupted; saved in {folder / LAST}\ngo on with: spikeloom resume {folder}\n"
    )
    done = len((folder / METRICS).read_text().splitlines())
    with subprocess.Popen(
        [*COMMAND, "resume", str(folder)], stdout=subprocess.PIPE, text=True, env=environment()
    ) as process:
        assert process.stdout
        first = next(line for line in process.stdout if line.startswith("epoch"))
        process.kill()
    assert first.startswith(f"epoch {done + 1:>3}/500")


def wait_until(true: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.2)
    return true()


def gone(group: int) -> bool:
    """Whether no process of that group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.slow
@pytest.mark.parametrize("end", ["Ctrl-C", "termination of the parent"])
def test_the_runs_of_a_sweep_end_with_it(tmp_path: Path, end: str) -> None:
    study, out = tmp_path / "study.toml", tmp_path / "out"
    study.write_text('recipe = "digits_vgg"\nseeds = [0, 1]\nbaseline = "a"\n[[arm]]\nname = "a"\n')
    words = ["sweep", str(study), *TINY, "phase.0.epochs=5000", "--out", str(out), "--jobs", "1"]
    with subprocess.Popen(
        [*COMMAND, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=environment(), start_new_session=True,
    ) as process:  # fmt: skip
        try:
            assert wait_until((out / "a" / "seed0" / METRICS).exists, 120)
            if end == "Ctrl-C":  # a terminal sends it to parent and children
                os.killpg(process.pid, signal.SIGINT)
            else:
                process.terminate()
            _, said = process.communicate(timeout=30)
            assert wait_until(lambda: gone(process.pid), 15)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    assert "Traceback" not in said
    assert not (out / "a" / "seed1").exists()
    if end == "Ctrl-C":
        assert process.returncode == 130
        assert f"go on with: {shlex.join(['spikeloom', *words])}\n" in said


@pytest.mark.slow
def test_several_processes_print_once_and_share_a_folder(tmp_path: Path) -> None:
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    words = ["-m", "spikeloom", "run", "digits_vgg", *TINY, "--out", str(tmp_path), "--json"]
    done = subprocess.run(
        [*launch, *words], capture_output=True, text=True, env=environment(), check=True
    )
    assert json.loads(done.stdout)["epochs"] == 2
    assert done.stderr.count("epoch 2/2") == 1
    assert [path.name for path in (tmp_path / "digits_vgg").iterdir()] == ["seed0"]
