"""From a trained model to a graph: norms folded, shortcuts as edges, spikes pooled by sums."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from spikeloom.deploy.exchange.graph import ALONE, INPUT, OUTPUT, Edge, Graph
from spikeloom.deploy.exchange.pieces import Heaviside, Scale
from spikeloom.deploy.fold import Folder
from spikeloom.deploy.layers import pooling
from spikeloom.deploy.record import leaves, recorded
from spikeloom.functional import Decay
from spikeloom.functional.program import (
    AnySpike,
    Count,
    Neurons,
    Other,
    Program,
    Sum,
    Term,
    Window,
)
from spikeloom.layers import (
    ALIF,
    IF,
    LI,
    LIF,
    LTMD,
    CubaLIF,
    Linear,
    OverTime,
    ReLU,
    StepBatchNorm,
    TemporalEffectiveBatchNorm,
    TokenMixing,
)
from spikeloom.registry import Unsupported

KINDS = ("lif", "cuba_lif", "li", "recurrent_lif")
REASONS: dict[type[nn.Module], str] = {
    ALIF: "no primitive has a threshold that adapts",
    TemporalEffectiveBatchNorm: "its factor differs from step to step, and nodes know no steps",
    StepBatchNorm: "its statistics differ from step to step, and nodes know no steps",
    ReLU: "no primitive rectifies",
    TokenMixing: "no primitive has weights from place to place that leave images; ONNX can say it",
}


def graph_of(model: nn.Module, sample: Tensor) -> Graph:
    """What a trained model does in evaluation, as a graph of layers without norms.

    Norms are folded into weights and biases, max-pooling of spikes becomes a sum over the window
    and a threshold of one half, recurrent neurons become neurons and a map that leads back.

    Args:
        model: layers of ``spikeloom.layers`` and additions between them, or a graph, which is
            returned as it is.
        sample: inputs like those to come.
    Shape:
        sample [T, N, *]
    Raises:
        Unsupported: names the layer that has no form in a graph, and why.
    """
    if isinstance(model, Graph):
        return model
    for name, module in leaves(model):
        layer = module.module if isinstance(module, OverTime) else module
        for kind, reason in REASONS.items():
            if isinstance(layer, kind):
                raise Unsupported(f"{name}: {type(layer).__name__} cannot be exported: {reason}")
    try:
        steps, out = recorded(model, sample)
        program = Folder(tuple(sample.shape[2:]), steps, out, KINDS, coded=False).program()
    except Unsupported as error:
        raise Unsupported(f"this network has no form as a graph: {error}") from error
    return Unfolder(program).graph()


@dataclass(frozen=True)
class Value:
    """An activation: the sum of what these nodes put out, of one shape."""

    names: tuple[str, ...]
    shape: tuple[int, ...]


class Unfolder:
    """Turns the nodes of a program into layers and edges, one after the other."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.layers: dict[str, nn.Module] = {}
        self.edges: list[Edge] = []
        self.delayed: list[Edge] = []
        self.values = [Value((INPUT,), program.in_shape)]
        for node in program.nodes:
            self.values.append(self._node(node))

    def graph(self) -> Graph:
        """The graph of all nodes; the last one's sum comes out."""
        last = self.values[-1]
        if self.program.flat:
            last = self._vector(len(self.values) - 1)
        self._join(last.names, OUTPUT)
        return Graph(self.layers, self.edges, in_shape=self.program.in_shape, delayed=self.delayed)

    def _node(self, node: Any) -> Value:
        if isinstance(node, Sum):
            return self._sum(node)
        if isinstance(node, Count):
            names = tuple(name for s in node.sources for name in self.values[s].names)
            value = Value(names, self.values[node.sources[0]].shape)
            if node.window == Window():
                return value
            return self._average(node.name, node.window, value, node.shape)
        if isinstance(node, AnySpike):
            return self._any(node)
        assert isinstance(node, Other)
        layer = node.layer
        assert isinstance(layer, nn.MaxPool2d | nn.AvgPool2d | nn.AdaptiveAvgPool2d)
        window = pooling(node.name, layer, self.program.shapes[node.source])
        if window is None or isinstance(layer, nn.MaxPool2d):
            raise Unsupported(
                f"{node.name}: {type(layer).__name__} of real values cannot be exported; nodes sum "
                "or average whole windows"
            )
        return self._average(node.name, window, self.values[node.source], node.shape)

    def _average(self, name: str, window: Window, value: Value, shape: tuple[int, ...]) -> Value:
        if len(value.shape) == 1 and window.kernel == (1, 1):
            return value
        layer = nn.AvgPool2d(window.kernel, window.stride, window.padding)
        return Value((self._add(name, OverTime(layer), value.names),), shape)

    def _any(self, node: AnySpike) -> Value:
        w = node.window
        if w.dilation != (1, 1):
            raise Unsupported(f"{node.name}: no primitive pools over a window with gaps")
        amplitude = self.program.scales[node.source]
        pool = nn.AvgPool2d(w.kernel, w.stride, w.padding, divisor_override=1)
        name = self._add(f"{node.name}.sum", OverTime(pool), self.values[node.source].names)
        name = self._add(node.name, Heaviside(torch.tensor(0.5 * amplitude)), (name,))
        if amplitude != 1.0:
            name = self._add(f"{node.name}.scale", Scale(torch.tensor(amplitude)), (name,))
        return Value((name,), node.shape)

    def _sum(self, node: Sum) -> Value:
        bias: Tensor | None = node.bias if node.bias.any() else None
        alone = len(node.terms) == 1
        parts = []
        for term in sorted(node.terms, key=lambda term: term.weight is None):
            if term.weight is not None:
                parts.append(self._product(node.name, term, bias, alone))
                bias = None
            else:
                parts.append(self.values[term.source])
        shape = min((part.shape for part in parts), key=len)
        names = tuple(name for part in parts for name in part.names)
        if len(shape) == 1:
            parts = [self._flattened(part) for part in parts]
            names = tuple(name for part in parts for name in part.names)
        if bias is not None:  # shortcuts alone, and a bias
            names = (self._add(node.name, _diagonal(torch.ones_like(bias), bias, shape), names),)
        if node.neurons is None:
            return Value(names, shape)
        return Value((self._neurons(node.neurons, names, shape),), shape)

    def _product(self, name: str, term: Term, bias: Tensor | None, alone: bool) -> Value:
        assert term.weight is not None
        weight, w, source = term.weight, term.window, self.values[term.source]
        channels, H, W = self.program.shapes[term.source]
        outputs = len(weight)
        if weight.shape[1] == 1 and channels > 1 and w == Window() and channels == outputs:
            layer = _diagonal(weight.flatten(), bias, source.shape)
            return Value((self._add(name, layer, source.names),), source.shape)
        whole = tuple(weight.shape[1:]) == (channels, H, W) and w.padding == (0, 0)
        pooled = term.source > 0 and isinstance(self.program.nodes[term.source - 1], Count | Other)
        vector = len(source.shape) != 3
        if whole and (vector or (H, W) != (1, 1) or (alone and pooled)):
            flat = self._vector(term.source)
            return Value(
                (self._add(name, _linear(weight.flatten(1), bias), flat.names),), (outputs,)
            )
        groups = channels // weight.shape[1]
        conv = nn.Conv2d(
            channels, outputs, w.kernel, w.stride, w.padding, w.dilation, groups, bias is not None
        )
        _fill(conv, weight, bias)
        image = (outputs, *nn.Conv2d.forward(conv, torch.zeros(1, channels, H, W)).shape[2:])
        return Value((self._add(name, OverTime(conv), source.names),), image)

    def _neurons(self, neurons: Neurons, names: tuple[str, ...], shape: tuple[int, ...]) -> str:
        given = {key: _shaped(value, shape) for key, value in neurons.arguments.items()}
        weight = given.pop("weight", None)
        name = self._add(neurons.name, neuron_layer(neurons.kind, given), names)
        if weight is not None:
            back: nn.Module = _linear(weight, None)
            if len(shape) == 3:
                conv = nn.Conv2d(shape[0], shape[0], 1, bias=False)
                _fill(conv, weight[:, :, None, None], None)
                back = OverTime(conv)
            heard = self._add(f"{name}.recurrent", back, (name,))
            self._join((heard,), name)
            self.delayed.append((heard, name))
        return name

    def _vector(self, index: int) -> Value:
        """The activation as vectors; flattened once however many want it."""
        self.values[index] = value = self._flattened(self.values[index])
        return value

    def _flattened(self, value: Value) -> Value:
        if len(value.shape) == 1:
            return value
        name = f"{value.names[0]}.flat"
        if name not in self.layers:
            self._add(name, OverTime(nn.Flatten()), value.names)
        return Value((name,), (int(torch.Size(value.shape).numel()),))

    def _add(self, name: str, layer: nn.Module, entering: Sequence[str]) -> str:
        base, count = name or ALONE, 2
        name = base
        while name in self.layers or name in (INPUT, OUTPUT):
            name, count = f"{base}_{count}", count + 1
        self.layers[name] = layer
        self._join(entering, name)
        return name

    def _join(self, sources: Sequence[str], target: str) -> None:
        for source, times in Counter(sources).items():
            if times > 1:
                source = self._add(f"{source}.times", Scale(torch.tensor(float(times))), (source,))
            self.edges.append((source, target))


def neuron_layer(kind: str, given: Mapping[str, Any]) -> nn.Module:
    """The layer of neurons for a function's name and its arguments."""
    if kind == "li":
        return LI(**given)
    if kind == "cuba_lif":
        return CubaLIF(**given)
    decay: Decay = given["decay"]
    rest = given["v_reset"] if given["reset"] == "hard" else 0.0
    if float(torch.as_tensor(given["v_threshold"]).min()) <= rest:
        return LTMD(learn=(), **given)  # the one kind whose threshold may lie below the reset
    if bool((torch.as_tensor(decay.keep) == 1).all()) and not decay.decay_input:
        return IF(**{key: value for key, value in given.items() if key != "decay"})
    return LIF(**given)


def _shaped(value: Any, shape: tuple[int, ...]) -> Any:
    """A value of a program, [C, 1, 1] or [C, H, W], for samples of the shape."""
    if isinstance(value, Decay):
        return Decay(_shaped(value.keep, shape), value.decay_input)
    if isinstance(value, Tensor) and len(shape) == 1 and value.dim() == 3:
        return value.expand(-1, 1, 1).reshape(-1) if value.shape[0] > 1 else value.reshape(())
    return value


def _linear(weight: Tensor, bias: Tensor | None) -> OverTime:
    layer = Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    _fill(layer, weight, bias)
    return OverTime(layer)


def _diagonal(scale: Tensor, bias: Tensor | None, shape: tuple[int, ...]) -> nn.Module:
    """A factor for each channel: no grouped convolution, as type checks of NIR refuse these."""
    if len(shape) == 1:
        return Scale(scale) if bias is None else _linear(torch.diag(scale), bias)
    conv = nn.Conv2d(len(scale), len(scale), 1, bias=bias is not None)
    _fill(conv, torch.diag(scale)[:, :, None, None], bias)
    return OverTime(conv)


def _fill(layer: nn.Linear | nn.Conv2d, weight: Tensor, bias: Tensor | None) -> None:
    layer.weight.data = weight.detach().clone()
    if bias is not None:
        assert layer.bias is not None
        layer.bias.data = bias.detach().clone()
