"""The survey finds what is there, and says how to mend what is not."""

import shutil
from pathlib import Path

import pytest
import torch

from spikeloom.run.machine import OPTIONAL, Finding, survey


def found(root: Path | None = None) -> dict[str, Finding]:
    return {finding.what: finding for finding in survey(root)}


def test_data_sets_are_there_absent_or_damaged(tmp_path: Path) -> None:
    (tmp_path / "cifar-100-binary").mkdir()
    for name in ("train.bin", "test.bin"):
        (tmp_path / "cifar-100-binary" / name).write_bytes(b"cut off")
    findings = found(tmp_path)
    assert findings["data: digits"] == Finding("data: digits", "1,437 + 360 images")
    assert findings["data: mnist"].found == "not there"
    assert "data.download=true" in findings["data: mnist"].hint
    assert findings["data: cifar100"].found == "not readable"
    assert "cut off" in findings["data: cifar100"].hint


def test_a_cut_down_data_set_is_counted_with_what_to_add(tmp_path: Path) -> None:
    (tmp_path / "cifar-100-binary").mkdir()
    for name, count in (("train.bin", 5), ("test.bin", 2)):
        (tmp_path / "cifar-100-binary" / name).write_bytes(bytes(3074 * count))
    finding = found(tmp_path)["data: cifar100"]
    assert finding.found == "5 + 2 images"
    assert not finding.ok
    assert "data.partial=true" in finding.hint


def test_more_threads_than_cores_are_pointed_out() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(4096)
    try:
        finding = found()["threads"]
    finally:
        torch.set_num_threads(before)
    assert not finding.ok
    assert "OMP_NUM_THREADS=" in finding.hint


def test_missing_compiler_and_packages_come_with_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    findings = found()
    assert "install g++" in findings["compiler"].hint
    for package, hint in OPTIONAL.items():
        assert findings[f"package: {package}"].hint == hint


def test_optional_packages_are_the_extras_of_the_project() -> None:
    import tomllib

    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    extras = tomllib.loads(text)["project"]["optional-dependencies"].keys()
    assert OPTIONAL.keys() == extras - {"dev", "docs"}


def test_what_does_not_work_always_has_a_hint(tmp_path: Path) -> None:
    assert all(finding.ok or finding.hint for finding in survey(tmp_path / "absent"))
