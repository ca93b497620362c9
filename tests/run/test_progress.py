"""What a run shows: bars where the terminal can, lines elsewhere, nothing when quiet."""

import io
import re
from pathlib import Path

from rich.console import Console

from spikeloom.run import session
from spikeloom.run.progress import Display, sentence
from tests.run.recipe import tiny


def shown(console: Console, folder: Path, *, quiet: bool = False) -> str:
    with Display(console, title="run folder: here", quiet=quiet) as display:
        session.train(tiny(run__twin=True), folder, watch=display)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_pipe_gets_whole_lines_without_control_codes(tmp_path: Path) -> None:
    said = shown(Console(file=io.StringIO(), width=20), tmp_path)
    assert "\x1b" not in said
    lines = said.splitlines()
    assert lines[0] == "run folder: here"
    assert [line[:9] for line in lines if line.startswith("epoch")] == [
        "epoch 1/2",
        "epoch 2/2",
    ] * 2
    assert sum("parameters" in line for line in lines) == 2


def test_a_terminal_gets_bars_that_are_gone_at_the_end(tmp_path: Path) -> None:
    screen = Console(file=io.StringIO(), width=80, force_terminal=True, force_interactive=True)
    said = shown(screen, tmp_path)
    assert re.search(r"epoch 2/2.*━.*loss \d", said)
    assert said.rstrip("\n").endswith("\x1b[2K")  # erased
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", said)
    bars = [line for line in plain.splitlines() if "━" in line]
    assert max(map(len, bars)) <= 76  # room for what a terminal echoes


def test_quiet_says_nothing(tmp_path: Path) -> None:
    assert shown(Console(file=io.StringIO()), tmp_path, quiet=True) == ""


def test_line_of_an_epoch_names_every_score() -> None:
    line = {
        "phase": 1, "epoch": 7, "seconds": 3725.4,
        "train": {"loss": 0.51234, "accuracy": 0.8412}, "val": {"psnr": 21.5},
    }  # fmt: skip
    said = sentence(line, 120, phases=2)
    scores = "train loss 0.5123 acc 84.12 %  val psnr 21.50 dB"
    assert said == f"phase 2/2  epoch   7/120  {scores}  1 h 2 min"
