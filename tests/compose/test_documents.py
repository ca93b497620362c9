"""The README's and the architecture page's snippets run."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from spikeloom import registry
from spikeloom.run import session
from tests.run.recipe import tiny

ROOT = Path(__file__).parents[2]


def snippets(name: str) -> list[str]:
    text = (ROOT / name).read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)


def test_readme_example_learns(capsys: pytest.CaptureFixture[str]) -> None:
    for snippet in snippets("README.md"):
        exec(compile(snippet, "README.md", "exec"), {})
    assert float(capsys.readouterr().out.split()[-1]) > 0.9


def test_readme_example_starts_before_line_thirty_and_is_short() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert lines.index("```python") < 30
    assert len(snippets("README.md")[0].strip().splitlines()) <= 17


def test_everything_the_architecture_page_adds_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelves = {kind: dict(shelf) for kind, shelf in registry._entries.items()}
    monkeypatch.setattr(registry, "_entries", shelves)
    added = snippets("docs/architecture.md")
    assert len(added) == 6
    for snippet in added:
        assert len(snippet.splitlines()) < 30
        exec(compile(snippet, "architecture.md", "exec"), {})
    config = tiny(
        model__neuron={"name": "noisy_lif", "sigma": 0.05},
        phase__0__loss="last_step_mse",
        phase__0__learner="sign_bptt",
        phase__0__callback=["small_weights"],
        data={"name": "stripes", "batch": 32, "val": 100},
        model__width=0.2,
        phase__0__epochs=4,
    )
    result = session.train(config, tmp_path / "images")
    assert result["test"]["accuracy"] > 0.9
    recorded = tiny(
        data={"name": "chirps", "batch": 32, "val": 100},
        model={"name": "spiking_mlp", "hidden": [8], "T": 5, "encoder": "recorded"},
        phase__0__epochs=1,
    )
    assert session.train(recorded, tmp_path / "events")["test"]["count"] == 600


def test_the_benchmark_page_is_made_from_the_rows_it_names() -> None:
    text = (ROOT / "docs/benchmarks.md").read_text(encoding="utf-8")
    source = re.findall(r"Made by benchmarks/page.py from (\S+);", text)[0]
    command = [sys.executable, "benchmarks/page.py", source]
    made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert made == text
