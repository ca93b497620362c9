"""Compile the CPU kernels into one shared library beside their sources.

``python -m spikeloom.kernels.build`` does it by hand; the package's own build calls :func:`build`
too, before torch or this package is there, so this file needs only the standard library.

The library has a plain C interface: it fits every torch and every Python. The neurons are compiled
once per instruction set, and the library picks one when it is loaded.
"""

import argparse
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SOURCES = Path(__file__).parent / "cpu" / "src"
LIBRARY = Path(__file__).parent / "cpu" / "_kernels.so"
COMPILERS = ("c++", "g++", "clang++")
VARIED = (  # once per instruction set
    "neurons.cpp", "norm.cpp", "recurrent.cpp", "gather.cpp", "sums.cpp", "bits.cpp", "maxpool.cpp",
    "timed.cpp", "events.cpp", "synapses.cpp", "shown.cpp", "ei_lanes.cpp", "first_spike.cpp",
)  # fmt: skip
COMMON = (
    "dispatch.cpp", "norm_dispatch.cpp", "bits_dispatch.cpp", "maxpool_dispatch.cpp",
    "timed_dispatch.cpp", "products.cpp", "program.cpp", "threads.cpp", "pool.cpp",
    "events_queue.cpp", "synapses_dispatch.cpp", "shown_dispatch.cpp", "ei.cpp",
    "first_spike_dispatch.cpp",
)  # fmt: skip

# Contracting a * b + c would round once where the truth rounds twice.
FLAGS = (
    "-std=c++17", "-O2", "-fPIC", "-fvisibility=hidden", "-ffp-contract=off", "-pthread",
    "-Wno-psabi",
)  # fmt: skip
AVX2 = ("-mavx2", "-mfma")
AVX512 = (*AVX2, "-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq")
X86 = {"baseline": (), "avx2": AVX2, "avx512": AVX512}
MORE = {
    "sums.cpp": {"avx512popcnt": (*AVX512, "-mavx512vpopcntdq")}
}  # sets that only it makes use of
SANITIZE = ("-O1", "-g", "-fno-omit-frame-pointer", "-fsanitize=address,undefined")


class BuildError(RuntimeError):
    """The compiler refused; its words are in the message."""


def compiler() -> list[str] | None:
    """The C++ compiler as the start of a command: $CXX, or the first of the usual ones found."""
    if chosen := os.environ.get("CXX"):
        return shlex.split(chosen)
    found = next((path for name in COMPILERS if (path := shutil.which(name))), None)
    return [found] if found else None


def digest() -> str:
    """Tells one state of the sources from another."""
    found = hashlib.sha256()
    for path in sorted(SOURCES.iterdir()):
        if path.suffix in (".cpp", ".hpp"):
            found.update(path.name.encode() + path.read_bytes())
    return found.hexdigest()[:16]


def build(target: Path = LIBRARY, *, sanitize: bool = False) -> Path:
    """Compile the kernels.

    Args:
        target: the library to write.
        sanitize: with the address and undefined-behaviour sanitizers.

    Raises:
        BuildError: there is no compiler, or it failed.
    """
    command = compiler()
    if command is None:
        raise BuildError(f"no C++ compiler: set CXX or install one of {', '.join(COMPILERS)}")
    flags = [*FLAGS, *(SANITIZE if sanitize else ()), f'-DSPIKELOOM_SOURCES="{digest()}"']
    x86 = platform.machine().lower() in ("x86_64", "amd64")
    flags += ["-DSPIKELOOM_X86"] if x86 else []
    variants = X86 if x86 else {"baseline": ()}
    with tempfile.TemporaryDirectory() as folder:
        jobs = [
            (f"{n}.{v}.o", n, (*fs, f"-DISA={v}"))
            for n in VARIED
            for v, fs in (variants | (MORE.get(n, {}) if x86 else {})).items()
        ]
        jobs += [(f"{name}.o", name, ()) for name in COMMON]
        with ThreadPoolExecutor(os.cpu_count()) as pool:

            def compile_one(job: tuple[str, str, tuple[str, ...]]) -> str:
                output, name, more = job
                path = str(Path(folder) / output)
                _run([*command, *flags, *more, "-c", str(SOURCES / name), "-o", path])
                return path

            objects = list(pool.map(compile_one, jobs))
        linked = Path(folder) / target.name
        _run([*command, *flags, "-shared", *objects, "-o", str(linked)])
        # A process that has the old library open keeps it: replace the file, do not write to it.
        target.parent.mkdir(parents=True, exist_ok=True)
        staged = target.with_name(f".{target.name}.{os.getpid()}")
        shutil.copyfile(linked, staged)
        staged.replace(target)
    return target


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise BuildError(f"{command[0]} does not start: {error}") from error
    if done.returncode != 0:
        raise BuildError(f"{shlex.join(command)}\n{done.stderr.strip()}")


def main() -> int:
    """Entry point of ``python -m spikeloom.kernels.build``."""
    parser = argparse.ArgumentParser(description="Compile the CPU kernels.")
    parser.add_argument("--output", type=Path, default=LIBRARY, help="the library to write")
    parser.add_argument("--sanitize", action="store_true", help="with address and UB sanitizers")
    chosen = parser.parse_args()
    try:
        print(build(chosen.output, sanitize=chosen.sanitize))
    except BuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
