"""Runs programs of ``functional.program``: on bits with the compiled kernels, or as the truth does.

Follows the door: the kernels serve unless :func:`spikeloom.kernels.use` asks for the truth or
there is no compiled library; asked for by name they raise if they cannot.
"""

import ctypes
from collections import OrderedDict
from threading import Lock
from typing import Any

import torch
from torch import Tensor

from spikeloom.functional.program import Program, Sum, check_input, run_program
from spikeloom.kernels.cpu import native
from spikeloom.kernels.cpu.frame import Frame
from spikeloom.kernels.cpu.sums import SIZES, PackedSum
from spikeloom.kernels.door import CannotServeError
from spikeloom.kernels.setting import current

KEPT = 4  # sizes (T, N) whose memory is kept for the next call
Key = tuple[int, int, bool]


class Runner:
    """A program and what its runs keep: packed weights, and memory for the sizes seen last.

    Calls from several threads at once are safe: each takes memory of its own.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self._packed: dict[int, PackedSum] | None = None
        self._frames: OrderedDict[Key, list[Frame]] = OrderedDict()
        self._lock = Lock()

    def __call__(self, x_seq: Tensor) -> Tensor:
        """The output sequence.

        Shape:
            x_seq [T, N, *in_shape] -> [T, N, C], or [T, N, C, H, W] if the program is not flat

        Raises:
            ValueError: the input does not fit.
            CannotServeError: the kernels were asked for by name and cannot run.
        """
        check_input(self.program, x_seq)
        if x_seq.device.type != "cpu":
            raise ValueError(
                f"a packed network runs on the CPU, the input is on {x_seq.device}; move it"
            )
        if not _on_bits():
            with torch.no_grad(), torch.autocast("cpu", enabled=False):
                return run_program(self.program, x_seq)
        T, N = x_seq.shape[:2]
        key = (T, N, T > 1 and x_seq.stride(0) == 0)
        free, frame = self._free(key)
        with torch.no_grad():
            frame = frame or self._frame(key)
            out = frame.run(x_seq).clone(memory_format=torch.contiguous_format)
        free.append(frame)
        return out.flatten(2) if self.program.flat else out

    def _frame(self, key: Key) -> Frame:
        with torch.inference_mode(False):  # it serves later calls of either mode
            return Frame(self.program, self._pack(), *key)

    def _free(self, key: Key) -> tuple[list[Frame], Frame | None]:
        """Where the frames of a size wait, and one of them if there is any."""
        with self._lock:
            free = self._frames.setdefault(key, [])
            self._frames.move_to_end(key)
            while len(self._frames) > KEPT:
                self._frames.popitem(last=False)
            return free, free.pop() if free else None

    def _pack(self) -> dict[int, PackedSum]:
        if self._packed is None:
            self._packed = {
                index: PackedSum(self.program, node)
                for index, node in enumerate(self.program.nodes)
                if isinstance(node, Sum)
            }
        return self._packed

    def __getstate__(self) -> dict[str, Any]:
        return {"program": self.program}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["program"])  # type: ignore[misc]


def _on_bits() -> bool:
    asked = current().name
    if asked == "truth" or (asked is None and native.OPENED is None):
        return False
    if asked not in (None, "cpu"):
        raise CannotServeError(f"programs have no implementation {asked!r}, only cpu, truth")
    if native.OPENED is None:
        raise CannotServeError(f"cpu cannot run this program: {native.PROBLEM}")
    return True


def _check_sizes() -> None:
    if native.OPENED is None:
        return
    for which, kind in enumerate(SIZES):
        if native.OPENED.spikeloom_program_size(which) != ctypes.sizeof(kind):
            raise ImportError(f"{kind.__name__} differs between sums.py and sums.hpp")


_check_sizes()
