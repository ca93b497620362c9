"""What the kernels on bits are told: structures, packed weights, values of neurons.

Mirrors sums.hpp. Everything a structure points to is kept alive by whoever holds ``alive``.
"""

import ctypes
import inspect
import math
from ctypes import POINTER, c_float, c_int32, c_int64, c_void_p
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from spikeloom.functional.coded import Coded
from spikeloom.functional.decay import Decay
from spikeloom.functional.program import NEURONS, Neurons, Program, Shape, Sum, Term, Window
from spikeloom.kernels.cpu.native import Call, Leak, Value

UNIT, WIDEST, TILE = 16, 128, 32
SUM, COUNT, ANY, UNPACK = range(4)
BITS, REALS = range(2)
PLAIN, FLOATS, SIGNS = range(3)
GROUP, WORD = 8, 64
KINDS = {"lif": 0, "cuba_lif": 1, "alif": 2, "li": 3}
RESETS = {"hard": 0, "soft": 1, "none": 2}
CROWDED = 0.27  # bits set for each value, from which on sums grow in tiles
CACHED = 16384  # bytes of a tile's sums
FEW_ROWS = 1024  # real values of a window up to which a sum over them is done here


class CWindow(ctypes.Structure):
    """Mirrors ``Window``."""

    _fields_ = tuple(
        (f"{name}_{axis}", c_int32)
        for name in ("kernel", "stride", "pad", "dilation")
        for axis in "yx"
    )


def _fields(kind: type, names: str) -> list[tuple[str, type]]:
    return [(name, kind) for name in names.split()]


class Source(ctypes.Structure):
    """Mirrors ``Source``."""

    _fields_ = (
        *_fields(c_int32, "kind weighted"),
        ("data", c_void_p),
        *_fields(c_int64, "planes plane height width channels step image row column channel"),
        ("window", CWindow),
        ("first_row", c_int64),
        ("scale", c_float),
        *_fields(c_void_p, "signs scales"),
        ("words", c_int64),
    )


class Op(ctypes.Structure):
    """Mirrors ``Op``."""

    _fields_ = (
        *_fields(c_int32, "kind constant crowded"),
        *_fields(c_int64, "steps batch height width channels planes plane"),
        ("sources", POINTER(Source)),
        ("count", c_int64),
        *_fields(c_void_p, "weights bias"),
        *_fields(c_int64, "rows block_width blocks"),
        ("neuron", POINTER(Call)),
        ("out", c_void_p),
        *_fields(c_int64, "step image row column tasks pixels tile"),
    )


SIZES = (Op, Source, CWindow)


def units(channels: int) -> int:
    """Units of 16 bits that the channels of a pixel take."""
    return -(-channels // UNIT)


def window(w: Window) -> CWindow:
    """The structure of a window."""
    return CWindow(*w.kernel, *w.stride, *w.padding, *w.dilation)


@dataclass(frozen=True)
class Block:
    """Output channels that one pass over the bits serves."""

    width: int
    count: int


def blocks(channels: int, widest: int = WIDEST) -> Block:
    """As few blocks as can be, of equal width."""
    all_units = units(channels)
    count = -(-all_units * UNIT // widest)
    return Block(-(-all_units // count) * UNIT, count)


def gathered(program: Program, term: Term) -> bool:
    """Whether the sum over this term is done here; else a dense product with torch comes first."""
    if term.weight is None:  # coded, or added as it is
        return True
    if term.dense or term.weight.shape[1] != program.shapes[term.source][0]:  # groups
        return False
    if program.levels[term.source] is not None:
        return True
    return math.prod(term.weight.shape[1:]) <= FEW_ROWS


@dataclass(frozen=True)
class PackedSigns:
    """Coded weights as the kernels read them: a bit for each weight, and the outputs' scales."""

    signs: Tensor
    scales: Tensor

    @property
    def words(self) -> int:
        """Words that the bits of one output take."""
        return self.signs.shape[1]


def packed_signs(coded: Coded, wide: int, scale: float) -> PackedSigns:
    """Bits by tap, then channel, channels in whole units; ``scale``: of the values that come in.

    Shape:
        signs int64 [wide / GROUP, words, GROUP], scales [wide]
    """
    out, C = coded.shape[:2]
    bits = (coded.signs() > 0).permute(0, 2, 3, 1)
    bits = F.pad(bits, (0, units(C) * UNIT - C)).flatten(1)
    words = -(-bits.shape[1] // WORD)
    bits = F.pad(bits, (0, words * WORD - bits.shape[1], 0, wide - out)).to(torch.uint8)
    octets = bits.view(wide, words, WORD // 8, 8) << torch.arange(8, dtype=torch.uint8)
    signs = octets.sum(-1, dtype=torch.uint8).view(torch.int64).view(-1, GROUP, words)
    return PackedSigns(
        signs.transpose(1, 2).contiguous(), F.pad(coded.scale * scale, (0, wide - out)).contiguous()
    )


class PackedSum:
    """Weights and bias of a sum as the kernels read them: [block][row][channel of the block]."""

    def __init__(self, program: Program, node: Sum) -> None:
        self.block = blocks(node.shape[0])
        wide = self.block.width * self.block.count
        parts, self.first_rows, rows = [], [], 0
        self.signs: list[PackedSigns | None] = []
        for term in node.terms:
            self.first_rows.append(rows)
            self.signs.append(
                packed_signs(term.coded, wide, program.scales[term.source]) if term.coded else None
            )
            if term.weight is None or not gathered(program, term):
                continue
            parts.append(_rows(program, term, wide))
            rows += len(parts[-1])
        self.rows = rows
        if rows * self.block.width * 4 >= 2**32:
            raise ValueError(f"{node.name} has too many weights ({rows} x {wide})")
        none = torch.zeros(1, wide, dtype=torch.float32, device="cpu")
        table = torch.cat(parts) if parts else none
        table = table.view(-1, self.block.count, self.block.width).transpose(0, 1)
        self.weights = table.contiguous()
        self.bias = F.pad(node.bias.float(), (0, wide - node.shape[0])).contiguous()
        self.neuron: Call | None = None
        self.alive: list[Tensor] = []
        if node.neurons is not None:
            self.neuron = neuron_call(node.neurons, node.shape, self.alive)


def _rows(program: Program, term: Term, wide: int) -> Tensor:
    """[rows, wide]: by tap, then channel; spikes have channels in whole units."""
    assert term.weight is not None
    weight = term.weight.float() * program.scales[term.source]
    out, C = weight.shape[:2]
    more = 0 if program.levels[term.source] is None else units(C) * UNIT - C
    weight = F.pad(weight.permute(2, 3, 1, 0), (0, wide - out, 0, more))
    return weight.reshape(-1, wide)


def neuron_call(neurons: Neurons, shape: Shape, alive: list[Tensor]) -> Call:
    """The neuron of a sum; its tensors go to ``alive``."""
    parameters = inspect.signature(NEURONS[neurons.kind]).parameters
    given = {name: p.default for name, p in parameters.items()} | dict(neurons.arguments)
    call = Call(kind=KINDS[neurons.kind])
    call.reset = RESETS[given.get("reset", "none")]
    call.strict = int(given.get("strict", False))
    call.v_reset = float(given.get("v_reset", 0.0))
    call.leak = leak(given["decay"], shape, alive)
    second = given.get("synapse") or given.get("adaptation_decay")
    call.second = leak(second or Decay(0.0), shape, alive)
    call.threshold = number_or_tensor(given.get("v_threshold", 0.0), shape, alive)
    call.beta = number_or_tensor(given.get("beta", 0.0), shape, alive)
    return call


def leak(decay: Decay, shape: Shape, alive: list[Tensor]) -> Leak:
    gain = 1.0 if isinstance(decay.keep, Tensor) else float(decay.gain)
    return Leak(number_or_tensor(decay.keep, shape, alive), gain, int(decay.decay_input))


def number_or_tensor(value: float | Tensor, shape: Shape, alive: list[Tensor]) -> Value:
    if not isinstance(value, Tensor):
        return Value(0, 1, 1, 0, float(value))
    if value.numel() > 1:
        per_channel = tuple(value.shape) == (shape[0], 1, 1)
        value = (value if per_channel else value.expand(shape)).permute(1, 2, 0)
    value = value.detach().float().contiguous()
    alive.append(value)
    return Value(value.data_ptr(), 1, value.numel(), 0, 0.0)


def crowded(node: Sum, program: Program) -> bool:
    """Whether rows are added to a tile of sums: where few bits are set, each tap brings too few."""
    found = [
        t.density
        for t in node.terms
        if t.weight is not None and program.levels[t.source] and gathered(program, t)
    ]
    return max(found, default=0.0) >= CROWDED and node.shape[1] * node.shape[2] > 1


def tile(packed: PackedSum, node: Sum, steps: int, program: Program) -> int:
    """Pixels whose sums grow together; 0: one after the other."""
    if not any(packed.signs) and not crowded(node, program):
        return 0
    return max(1, min(TILE, CACHED // (4 * steps * packed.block.width)))


def costs(program: Program, node: Sum, packed: PackedSum) -> float:
    """Nanoseconds a pixel, a step and a block take, roughly: what is shared out and what is not."""
    vectors = packed.block.width / UNIT
    total = 10.0 + 2 * vectors
    for term, signs in zip(node.terms, packed.signs, strict=True):
        if signs is not None:
            level = program.levels[term.source] or 1
            total += signs.words * (0.5 + 0.4 * vectors) * level.bit_length()
            continue
        if term.weight is None or not gathered(program, term):
            continue
        taps = math.prod(term.window.kernel)
        channels = term.weight.shape[1]
        total += taps * (units(channels) + channels * term.density * (0.2 + 0.15 * vectors))
    return total
