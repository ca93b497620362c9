"""What a user gets from `pip install spikeloom`."""

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Names of the files in a wheel built from this tree, without the network."""
    out = tmp_path_factory.mktemp("wheel")
    command = "pip wheel --no-deps --no-build-isolation --wheel-dir"
    build = subprocess.run(
        [sys.executable, "-m", *command.split(), str(out), str(ROOT)],
        env=os.environ | {"PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert build.returncode == 0, build.stdout + build.stderr
    (file,) = out.glob("spikeloom-*.whl")
    with zipfile.ZipFile(file) as archive:
        return set(archive.namelist())


def test_every_dependency_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    pins = (ROOT / "constraints.txt").read_text().split()
    assert pins[0].startswith("torch==")
    pinned = {_plain(pin.partition("==")[0]) for pin in pins if "==" in pin}
    wanted = {_plain(name) for group in groups for name in group}
    assert wanted - {"spikeloom"} <= pinned


def _plain(requirement: str) -> str:
    """The name alone, spelt as package indexes compare it."""
    return re.split(r"[^\w.-]", requirement)[0].lower().replace("_", "-")


def test_wheel_holds_every_file_of_the_package(wheel: set[str]) -> None:
    package = ROOT / "src" / "spikeloom"
    files = {
        path.relative_to(ROOT / "src").as_posix()
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert files == {name for name in wheel if name.startswith("spikeloom/")}


@pytest.mark.parametrize("pattern", ["py.typed", "recipes/**/*.toml", "**/*.jinja"])
def test_wheel_holds_what_is_not_python(wheel: set[str], pattern: str) -> None:
    found = list((ROOT / "src" / "spikeloom").glob(pattern))
    assert found, f"no file of the package matches {pattern}"
    assert {path.relative_to(ROOT / "src").as_posix() for path in found} <= wheel


def test_wheel_installs_nothing_beside_the_package(wheel: set[str]) -> None:
    others = {name.partition("/")[0] for name in wheel} - {"spikeloom"}
    assert len(others) == 1
    assert others.pop().endswith(".dist-info")


def test_wheel_carries_licence_and_command(wheel: set[str]) -> None:
    names = {name.partition(".dist-info/")[2] for name in wheel}
    assert {"licenses/LICENSE", "entry_points.txt"} <= names
