"""The example on the page about energy runs, and so do those of the docstrings."""

import doctest
import re
from importlib import import_module
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[3] / "docs" / "energy.md"


def test_the_page_runs(capsys: pytest.CaptureFixture[str]) -> None:
    first, *_ = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    exec(compile(first, "energy.md", "exec"), {})
    assert "pJ, of which memory" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["counter", "fan_out", "price", "quantise", "values"])
def test_the_docstrings_run(name: str) -> None:
    results = doctest.testmod(import_module(f"spikeloom.deploy.energy.{name}"))
    assert results.attempted > 0
    assert results.failed == 0
