"""The example on the page about inference runs, and so does that of the docstring."""

import doctest
import re
from pathlib import Path

from spikeloom.deploy import packed

PAGE = Path(__file__).parents[2] / "docs" / "inference.md"


def test_the_page_runs(capsys):
    (snippet,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    exec(compile(snippet, "inference.md", "exec"), {})
    assert "or of bits" in capsys.readouterr().out


def test_the_docstring_runs():
    results = doctest.testmod(packed)
    assert results.attempted > 0
    assert results.failed == 0
