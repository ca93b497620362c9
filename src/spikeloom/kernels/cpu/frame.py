"""A program laid out in memory for one T and N: one call of the library for each run of its ops.

Between the runs stand the dense products that torch computes. Spikes never leave their bits but
there and, where the network ends in spikes, at the end.
"""

import ctypes
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from spikeloom.functional.program import (
    Count,
    Node,
    Other,
    Program,
    Shape,
    Sum,
    Term,
    Window,
    weighted,
)
from spikeloom.kernels.cpu import native, sums
from spikeloom.kernels.cpu.sums import Op, PackedSum, Source, gathered, units, window

ALONE = 200e3  # nanoseconds of work below which threads cost more than they give
PIECE = 10e3  # nanoseconds of work handed out at once


@dataclass(frozen=True)
class Place:
    """Where an activation lies: bits [plane, t, n, y, x, unit], or floats [t, n, y, x, channel]."""

    data: Tensor | None  # None: the input of the call
    steps: int
    planes: int = 0  # 0: real values

    def dense(self) -> Tensor:
        """Real values as [M, C, H, W], channels last."""
        assert self.data is not None
        return self.data.flatten(0, 1).permute(0, 3, 1, 2)


class Frame:
    """Memory and ops for sequences of one T and N.

    Args:
        program: what to run.
        packed: the packed sums by node.
        T, N: sizes.
        constant: the input is one step repeated.
    """

    def __init__(
        self, program: Program, packed: dict[int, PackedSum], T: int, N: int, constant: bool
    ) -> None:
        self.program, self.packed, self.T, self.N = program, packed, T, N
        self.constant = constant
        self.places = [Place(None, 1 if constant else T)]
        self.runs: list[Callable[[], None]] = []
        self.input_sources: list[Source] = []
        self.input = torch.empty(0, dtype=torch.float32, device="cpu")
        self.products: dict[int, Tensor] = {}
        self.alive: list[object] = []
        self._ops: list[Op] = []
        self._cost = 0.0
        for index, node in enumerate(program.nodes):
            self.places.append(self._lay(index, node))
        self.output = self._dense(len(program.nodes))
        self._close()

    def run(self, x_seq: Tensor) -> Tensor:
        """The output [T, N, C, H, W]; it is overwritten by the next call."""
        x = x_seq[:1] if self.constant else x_seq
        x = x.reshape(*x.shape[:2], *self.program.shapes[0]).float()
        if not all(source.weighted for source in self.input_sources):
            # Added as it is, a pixel is read in vectors: its channels must lie side by side.
            x = x.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)
        self.input = x
        step, image, channel, row, column = self.input.stride()
        for source in self.input_sources:
            source.data = self.input.data_ptr()
            source.step = 0 if self.constant else step
            source.image, source.channel, source.row, source.column = image, channel, row, column
        for part in self.runs:
            part()
        out: Tensor = self.output()
        out = out.unflatten(0, (-1, self.N))
        return out.expand(self.T, -1, -1, -1, -1)

    def _lay(self, index: int, node: Node) -> Place:
        if isinstance(node, Sum):
            return self._lay_sum(index, node)
        if isinstance(node, Other):
            return self._lay_other(node)
        sources = node.sources if isinstance(node, Count) else (node.source,)
        levels = self.program.levels[index + 1]
        assert levels is not None
        place = self._bits(node.shape, levels.bit_length())
        op = self._op(node.shape, sums.COUNT if isinstance(node, Count) else sums.ANY, place)
        array = (Source * len(sources))()
        for target, source in zip(array, sources, strict=True):
            self._point(target, source, node.window)
        taps = math.prod(node.window.kernel) * len(sources)
        self._add(op, array, (2.0 + place.planes) * taps * units(node.shape[0]))
        return place

    def _lay_sum(self, index: int, node: Sum) -> Place:
        packed = self.packed[index]
        array = (Source * len(node.terms))()
        for k, (target, term) in enumerate(zip(array, node.terms, strict=True)):
            if not gathered(self.program, term):
                self._multiply(target, term)
                continue
            self._point(target, term.source, term.window)
            target.first_row = packed.first_rows[k]
            target.weighted = sums.PLAIN if term.weight is None else sums.FLOATS
            if (signs := packed.signs[k]) is not None:
                target.weighted, target.words = sums.SIGNS, signs.words
                target.signs, target.scales = signs.signs.data_ptr(), signs.scales.data_ptr()
        still = all(self._still(term.source) for term in node.terms)
        spikes = node.neurons is not None and node.neurons.kind != "li"
        steps = 1 if still and node.neurons is None else self.T
        place = self._bits(node.shape, 1) if spikes else self._reals(node.shape, steps)
        op = self._op(node.shape, sums.SUM, place)
        op.constant = int(still)
        op.weights, op.bias = packed.weights.data_ptr(), packed.bias.data_ptr()
        op.rows, op.block_width, op.blocks = packed.rows, packed.block.width, packed.block.count
        op.tile = sums.tile(packed, node, steps, self.program)
        op.crowded = int(sums.crowded(node, self.program))
        if packed.neuron is not None:
            op.neuron = ctypes.pointer(packed.neuron)
        self._add(op, array, sums.costs(self.program, node, packed))
        return place

    def _lay_other(self, node: Other) -> Place:
        place = self._reals(node.shape, self.places[node.source].steps)
        dense = self._dense(node.source)
        self._close()

        def apply() -> None:
            with torch.autocast("cpu", enabled=False):
                place.dense().copy_(node.layer(dense()))

        self.runs.append(apply)
        return place

    def _multiply(self, target: Source, term: Term) -> None:
        """Lets torch compute a term's part of a sum, which is then added as it is."""
        dense = self._dense(term.source)
        self._close()
        still, key = self._still(term.source), len(self.runs)
        target.kind, target.channel, target.scale, target.window = (
            sums.REALS,
            1,
            1.0,
            window(Window()),
        )
        product = dense_product(term, self.program.shapes[term.source])

        def multiply() -> None:
            with torch.autocast("cpu", enabled=False):  # what comes out is read as float32
                y = self.products[key] = product(dense())
            _, C, H, W = y.shape
            target.data, target.row, target.column = y.data_ptr(), W * C, C
            target.image, target.step = H * W * C, 0 if still else self.N * H * W * C

        self.runs.append(multiply)

    def _dense(self, index: int) -> Callable[[], Tensor]:
        """What gives an activation as real values [M, C, H, W] once the ops so far have run."""
        place = self.places[index]
        if index == 0:
            return lambda: self.input.flatten(0, 1)
        if not place.planes:
            return place.dense
        shape = self.program.shapes[index]
        real = self._reals(shape, self.T)
        array = (Source * 1)()
        self._point(array[0], index, Window())
        self._add(self._op(shape, sums.UNPACK, real), array, 4.0 * place.planes * units(shape[0]))
        return real.dense

    def _point(self, target: Source, index: int, seen: Window) -> None:
        """Let a source read an activation through a window."""
        C, H, W = self.program.shapes[index]
        place = self.places[index]
        target.channels, target.height, target.width = C, H, W
        target.window, target.scale = window(seen), self.program.scales[index]
        target.kind = sums.BITS if place.planes else sums.REALS
        if place.data is None:
            self.input_sources.append(target)
            return
        target.data = place.data.data_ptr()
        *plane, step, image, row, column, channel = place.data.stride()
        target.planes, target.plane = place.planes, plane[0] if plane else 0
        target.step = 0 if self._still(index) else step
        target.image, target.row, target.column, target.channel = image, row, column, channel

    def _op(self, shape: Shape, kind: int, place: Place) -> Op:
        assert place.data is not None
        *plane, step, image, row, column, _ = place.data.stride()
        return Op(
            kind=kind, steps=place.steps, batch=self.N, channels=shape[0], height=shape[1],
            width=shape[2], blocks=1, planes=place.planes, plane=plane[0] if plane else 0,
            out=place.data.data_ptr(), step=step, image=image, row=row, column=column,
        )  # fmt: skip

    def _add(self, op: Op, sources: "ctypes.Array[Source]", cost: float) -> None:
        """Append an op that takes ``cost`` nanoseconds a pixel, a step and a block."""
        op.sources, op.count = ctypes.cast(sources, ctypes.POINTER(Source)), len(sources)
        self.alive.append(sources)
        pixels, of_pixel = self.N * op.height * op.width, cost * op.steps
        op.pixels = max(1, min(pixels, round(PIECE / of_pixel)))
        op.tasks = -(-pixels // op.pixels) * op.blocks
        self._ops.append(op)
        self._cost += of_pixel * pixels * op.blocks

    def _close(self) -> None:
        """Make one call of the ops so far."""
        if not self._ops:
            return
        ops = (Op * len(self._ops))(*self._ops)
        count, alone = len(self._ops), self._cost < ALONE
        run = native.opened().spikeloom_program_run

        def call() -> None:
            if run(ops, count, 1 if alone else torch.get_num_threads()) != 0:
                raise MemoryError("no memory for the working rows of a sum")

        self.runs.append(call)
        self._ops, self._cost = [], 0.0

    def _still(self, index: int) -> bool:
        return self.places[index].steps == 1 and (self.T == 1 or not self.places[index].planes)

    def _bits(self, shape: Shape, planes: int) -> Place:
        C, H, W = shape
        sizes = (planes, self.T, self.N, H, W, units(C))
        return Place(torch.zeros(sizes, dtype=torch.int16, device="cpu"), self.T, planes)

    def _reals(self, shape: Shape, steps: int) -> Place:
        C, H, W = shape
        sizes = (steps, self.N, H, W, C)
        return Place(torch.zeros(sizes, dtype=torch.float32, device="cpu"), steps)


def dense_product(term: Term, shape: Shape) -> Callable[[Tensor], Tensor]:
    """A term's product on real values [M, C, H, W], channels last.

    A kernel as large as the image is one matrix product.
    """
    assert term.weight is not None
    if (*shape, 0, 0) == (*term.weight.shape[1:], *term.window.padding):
        flat = term.weight.permute(0, 2, 3, 1).flatten(1).contiguous()
        return lambda x: F.linear(x.permute(0, 2, 3, 1).flatten(1), flat)[:, :, None, None]
    weight = term.weight.contiguous(memory_format=torch.channels_last)
    plain = Term(term.source, weight, term.window)
    return lambda x: weighted(plain, x).contiguous(memory_format=torch.channels_last)
