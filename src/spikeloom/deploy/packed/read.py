"""From the header and the tensors of a packed file to a program, everything checked."""

import inspect
import math
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from spikeloom.deploy.packed.form import (
    POOLS,
    AnySpikeForm,
    CountForm,
    DecayForm,
    NeuronsForm,
    PoolForm,
    ProgramForm,
    SumForm,
    TensorForm,
    TermForm,
    WindowForm,
)
from spikeloom.deploy.packed.plan import index_bits
from spikeloom.functional import Decay
from spikeloom.functional.coded import Coded, of_index, unpacked
from spikeloom.functional.program import (
    NEURONS,
    AnySpike,
    Count,
    Neurons,
    Node,
    Other,
    Program,
    Shape,
    Sum,
    Term,
    Window,
)

RESETS = ("hard", "soft", "none")
LARGEST = torch.finfo(torch.float32).max
SMALL = 2**31  # values of an activation, beyond which a header is not believed


def program_of(form: ProgramForm, tensors: dict[str, Tensor]) -> Program:
    """The program that a header and tensors say.

    Raises:
        ValueError: they contradict each other or themselves; says where.
    """
    reader = Reader(form.in_shape, tensors)
    for key, node in enumerate(form.nodes):
        reader.add(str(key), node)
    if reader.left:
        raise ValueError(f"no part of the network has the tensor {min(reader.left)}")
    return replace(reader.program, flat=form.flat, steps=form.steps)


class Reader:
    """Builds nodes one after the other; ``left`` are the tensors that nobody asked for."""

    def __init__(self, in_shape: tuple[int, ...], tensors: dict[str, Tensor]) -> None:
        self.tensors, self.left = tensors, set(tensors)
        self.program = Program(in_shape, ())
        _check(math.prod(in_shape) < SMALL, "the input is too large")

    def add(self, key: str, form: SumForm | CountForm | AnySpikeForm | PoolForm) -> None:
        """Read one node."""
        C, H, W = form.shape
        _check(C * H * W < SMALL, f"{form.name} is too large: {form.shape}")
        if isinstance(form, SumForm):
            node: Node = self._sum(key, form)
        elif isinstance(form, PoolForm):
            node = self._pool(form)
        elif isinstance(form, CountForm):
            for source in form.sources:
                self._pooled(form.name, source, form.window, form.shape)
            scales = {self.program.scales[source] for source in form.sources}
            _check(len(scales) == 1, f"{form.name}: adds counts of different scales")
            node = Count(form.name, form.shape, form.sources, _window(form.window), form.scale)
        else:
            self._pooled(form.name, form.source, form.window, form.shape)
            single = self.program.levels[form.source] == 1
            _check(single, f"{form.name}: looks for spikes among counts")
            node = AnySpike(form.name, form.shape, form.source, _window(form.window))
        self.program = replace(self.program, nodes=(*self.program.nodes, node))

    def _source(self, name: str, index: int) -> Shape:
        shapes = self.program.shapes
        _check(
            index < len(shapes),
            f"{name}: takes activation {index}, and only {len(shapes)} come before it",
        )
        return shapes[index]

    def _tensor(self, name: str, shape: tuple[int, ...] | None, dtype: torch.dtype) -> Tensor:
        _check(name in self.left, f"the tensor {name} is missing or used twice")
        self.left.discard(name)
        found = self.tensors[name]
        _check(
            found.dtype == dtype and shape in (None, tuple(found.shape)),
            f"the tensor {name} is {found.dtype} {tuple(found.shape)}, expected {dtype} {shape}",
        )
        if dtype.is_floating_point:
            _check(
                bool(found.isfinite().all()), f"the tensor {name} holds numbers that are not finite"
            )
        return found

    def _floats(self, name: str, *shape: int) -> Tensor:
        return self._tensor(name, shape, torch.float32)

    def _sum(self, key: str, form: SumForm) -> Sum:
        bias = self._floats(f"{key}.bias", form.shape[0])
        terms = tuple(self._term(f"{key}.{k}", form, term) for k, term in enumerate(form.terms))
        neurons = self._neurons(form, form.neurons) if form.neurons else None
        return Sum(form.name, form.shape, terms, bias, neurons)

    def _term(self, key: str, node: SumForm, form: TermForm) -> Term:
        came, window = self._source(node.name, form.source), _window(form.window)
        term = partial(Term, form.source, window=window, dense=form.dense, density=form.density)
        if form.sizes is None:
            same = came == node.shape and window == Window() and form.coded is None
            _check(same, f"{node.name}: adds {came} to {node.shape}")
            return term()
        outputs, C, kh, kw = form.sizes
        _check(outputs * C * kh * kw < SMALL, f"{node.name}: has too many weights")
        grouped = came[0] % C == 0 and outputs % (came[0] // C) == 0
        fits = came[0] == C if form.coded else grouped
        _check(
            fits and (kh, kw) == window.kernel and (outputs, *_seen(window, came)) == node.shape,
            f"{node.name}: weights {form.sizes} on {came} do not give {node.shape}",
        )
        if form.coded is None:
            return term(self._floats(f"{key}.weight", *form.sizes))
        return term(coded=self._coded(key, node.name, form))

    def _coded(self, key: str, name: str, form: TermForm) -> Coded:
        assert form.sizes is not None
        assert form.coded is not None
        outputs, C, kh, kw = form.sizes
        scale = self._floats(f"{key}.scale", outputs)
        K, row = form.coded.codewords, form.coded.row
        _check((K is None) == (row is None), f"{name}: says half of what a codebook is")
        if K is None or row is None:
            bits = self._tensor(f"{key}.signs", (-(-outputs * C * kh * kw // 8),), torch.uint8)
            return Coded(form.sizes, scale, bits=bits)
        kernels = -(-C * kh * kw // row)
        book = self._tensor(f"{key}.codebook", None, torch.uint8)
        signs = 2 * unpacked(book, 1, K * row).view(K, row) - 1
        stream = self._tensor(f"{key}.index", None, torch.uint8)
        index = unpacked(stream, index_bits(K), outputs * kernels).view(outputs, kernels)
        try:
            return of_index(index, signs, scale, form.sizes)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error

    def _neurons(self, node: SumForm, form: NeuronsForm) -> Neurons:
        _check(form.kind in NEURONS, f"{node.name}: no neurons are called {form.kind!r}")
        known = {
            name: p
            for name, p in inspect.signature(NEURONS[form.kind]).parameters.items()
            if p.kind is p.KEYWORD_ONLY and name not in ("surrogate", "detach_reset")
        }
        values: dict[str, Any] = {}
        for name, given in form.arguments.items():
            _check(name in known, f"{node.name}: {form.kind} has no argument {name!r}")
            values[name] = self._value(node, name, given)
            _check(
                _alike(name, values[name], known[name].default),
                f"{node.name}: {name} = {values[name]!r} is no value for {form.kind}",
            )
        return Neurons(form.kind, values, form.name)

    def _value(self, node: SumForm, name: str, given: Any) -> Any:
        if isinstance(given, DecayForm):
            keep = given.keep
            if isinstance(keep, TensorForm):
                keep = self._value(node, name, keep)
            return Decay(keep, given.decay_input)
        if not isinstance(given, TensorForm):
            return given
        found = self._tensor(given.tensor, None, torch.float32)
        try:
            found.expand(node.shape)
        except RuntimeError as error:
            raise ValueError(
                f"{node.name}: {name} of shape {tuple(found.shape)} for neurons {node.shape}"
            ) from error
        return found

    def _pooled(self, name: str, source: int, window: WindowForm, shape: Shape) -> None:
        came, w = self._source(name, source), _window(window)
        _check(self.program.levels[source] is not None, f"{name}: counts real values")
        fits = (came[0], *_seen(w, came)) == shape
        inside = all(2 * p <= k for p, k in zip(w.padding, w.kernel, strict=True))
        _check(fits and inside, f"{name}: pools {came} to {shape} through {w}")

    def _pool(self, form: PoolForm) -> Other:
        came = self._source(form.name, form.source)
        more = sorted({*form.arguments} - {*POOLS[form.layer]})
        _check(not more, f"{form.name}: {form.layer} takes no {', '.join(more)} here")
        try:
            layer = getattr(nn, form.layer)(**form.arguments)
            with torch.no_grad():
                out = layer(torch.empty(1, *came, device="meta"))
        except (TypeError, ValueError, RuntimeError) as error:
            raise ValueError(f"{form.name}: {form.layer} does not run: {error}") from error
        _check(tuple(out.shape[1:]) == form.shape, f"{form.name}: gives {tuple(out.shape[1:])}")
        return Other(form.name, form.shape, form.source, layer)


def _alike(name: str, value: Any, default: Any) -> bool:
    """Whether a value is of the kind that an argument takes, and fits float32."""
    if isinstance(value, float) and abs(value) > LARGEST:
        return False
    if name == "reset":
        return value in RESETS
    if isinstance(default, bool):
        return isinstance(value, bool)
    if isinstance(default, Decay) or name in ("decay", "synapse", "adaptation_decay"):
        return isinstance(value, Decay)
    if name == "v_reset":
        return isinstance(value, float)
    return isinstance(value, float | Tensor)


def _window(form: WindowForm) -> Window:
    return Window(form.kernel, form.stride, form.padding, form.dilation)


def _seen(w: Window, shape: Shape) -> tuple[int, int]:
    """Height and width that a window gives."""
    sizes = []
    for axis, length in enumerate(shape[1:]):
        reach = w.dilation[axis] * (w.kernel[axis] - 1) + 1
        sizes.append((length + 2 * w.padding[axis] - reach) // w.stride[axis] + 1)
    return sizes[0], sizes[1]


def _check(fine: bool, otherwise: str) -> None:
    if not fine:
        raise ValueError(otherwise)
