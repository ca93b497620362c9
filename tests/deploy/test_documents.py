"""The examples on the pages about inference and files run, and so do those of docstrings."""

import doctest
import re
from pathlib import Path

import pytest

from spikeloom.deploy.exchange import graph
from spikeloom.deploy.packed import file as packed_file
from spikeloom.deploy.packed import network

PAGE = Path(__file__).parents[2] / "docs" / "inference.md"


def test_the_page_runs(capsys):
    (snippet,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    exec(compile(snippet, "inference.md", "exec"), {})
    assert "or of bits" in capsys.readouterr().out


def test_the_page_about_packed_files_runs():
    page = PAGE.with_name("packed.md").read_text(encoding="utf-8")
    (snippet,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(compile(snippet, "packed.md", "exec"), {})


def test_the_page_about_interchange_runs(monkeypatch, tmp_path):
    pytest.importorskip("nir")
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    page = PAGE.with_name("interchange.md").read_text(encoding="utf-8")
    for snippet in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(compile(snippet, "interchange.md", "exec"), {})


@pytest.mark.parametrize("module", [network, packed_file, graph])
def test_the_docstring_runs(module):
    results = doctest.testmod(module)
    assert results.attempted > 0
    assert results.failed == 0
