"""The page about kernels holds a snippet that runs."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "kernels.md"


def test_the_snippet_of_the_page_runs(capsys):
    (snippet,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    exec(compile(snippet, PAGE.name, "exec"), {})
    assert capsys.readouterr().out.startswith("lif: ")
