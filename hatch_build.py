"""Compile the CPU kernels while the package is built, if this machine has a C++ compiler.

Without one the package installs all the same and runs the readable functions;
``spikeloom check`` says so. SPIKELOOM_NO_KERNELS=1 asks for that, and gives a wheel for any system.
"""

import importlib.util
import os
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Kernels(BuildHookInterface[Any]):
    """Adds the shared library to the wheel, or beside the sources for an editable install."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and mark the wheel as one for this system only."""
        if self.target_name != "wheel" or os.environ.get("SPIKELOOM_NO_KERNELS") == "1":
            return
        kernels = _load(Path(self.root) / "src" / "spikeloom" / "kernels" / "build.py")
        if kernels.compiler() is None:
            self.app.display_warning("no C++ compiler: installing without the fast CPU kernels")
            return
        try:
            library = kernels.build()
        except kernels.BuildError as error:
            self.app.display_warning(f"installing without the fast CPU kernels: {error}")
            return
        build_data["artifacts"].append(library.relative_to(self.root).as_posix())
        build_data["pure_python"] = False
        system = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["tag"] = f"py3-none-{system}"


def _load(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location("spikeloom_kernels_build", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
