"""The example on the page about inference runs, and so does that of the docstring."""

import doctest
import re
from pathlib import Path

import torch

import spikeloom.deploy.infer
from spikeloom.deploy import infer

PAGE = Path(__file__).parents[2] / "docs" / "inference.md"


def test_the_page_runs(capsys):
    (snippet,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    exec(compile(snippet, "inference.md", "exec"), {})
    assert "or of bits" in capsys.readouterr().out


def test_the_docstring_runs():
    found = doctest.DocTestFinder().find(
        infer, globs={**vars(spikeloom.deploy.infer), "torch": torch}
    )
    runner = doctest.DocTestRunner()
    for test in found:
        runner.run(test)
    assert runner.summarize().attempted > 0
    assert runner.summarize().failed == 0
