"""From a program to the header and the tensors of a packed file."""

from typing import Any

import torch
from torch import Tensor, nn

from spikeloom.deploy.packed.form import (
    POOLS,
    AnySpikeForm,
    CodedForm,
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
from spikeloom.functional.coded import Coded, packed
from spikeloom.functional.program import (
    AnySpike,
    Count,
    Neurons,
    Node,
    Other,
    Program,
    Sum,
    Term,
    Window,
)
from spikeloom.registry import Unsupported

Tensors = dict[str, Tensor]


def formed(program: Program) -> tuple[ProgramForm, Tensors]:
    """The header and the tensors of a program.

    Raises:
        Unsupported: a layer that the file has no form for.
    """
    tensors: Tensors = {}
    nodes = tuple(_node(str(i), node, tensors) for i, node in enumerate(program.nodes))
    form = ProgramForm(
        in_shape=program.in_shape, flat=program.flat, steps=program.steps, nodes=nodes
    )
    return form, tensors


def _node(key: str, node: Node, tensors: Tensors) -> SumForm | CountForm | AnySpikeForm | PoolForm:
    if isinstance(node, Sum):
        tensors[f"{key}.bias"] = _own(node.bias)
        terms = tuple(_term(f"{key}.{k}", term, tensors) for k, term in enumerate(node.terms))
        neurons = _neurons(key, node.neurons, tensors) if node.neurons else None
        return SumForm(name=node.name, shape=node.shape, terms=terms, neurons=neurons)
    if isinstance(node, Other):
        return _pool(node)
    window = _window(node.window)
    if isinstance(node, AnySpike):
        return AnySpikeForm(name=node.name, shape=node.shape, source=node.source, window=window)
    assert isinstance(node, Count)
    return CountForm(
        name=node.name, shape=node.shape, sources=node.sources, window=window, scale=node.scale
    )


def _term(key: str, term: Term, tensors: Tensors) -> TermForm:
    coded = None
    if term.coded is not None:
        coded = _coded(key, term.coded, tensors)
    elif term.weight is not None:
        tensors[f"{key}.weight"] = _own(term.weight)
    return TermForm(
        source=term.source, sizes=term.sizes,
        window=_window(term.window), coded=coded, dense=term.dense, density=term.density,
    )  # fmt: skip


def _coded(key: str, coded: Coded, tensors: Tensors) -> CodedForm:
    tensors[f"{key}.scale"] = _own(coded.scale)
    if coded.index is None or coded.codebook is None:
        assert coded.bits is not None
        tensors[f"{key}.signs"] = coded.bits
        return CodedForm()
    K, row = coded.codebook.shape
    tensors[f"{key}.index"] = packed(coded.index, index_bits(K))
    tensors[f"{key}.codebook"] = packed(coded.codebook > 0, 1)
    return CodedForm(codewords=K, row=row)


def _neurons(key: str, neurons: Neurons, tensors: Tensors) -> NeuronsForm:
    def value(name: str, given: Any) -> Any:
        if isinstance(given, Decay):
            return DecayForm(keep=value(name, given.keep), decay_input=given.decay_input)
        if not isinstance(given, Tensor):
            return float(given) if type(given) is int else given
        tensors[f"{key}.{name}"] = _own(given)
        return TensorForm(tensor=f"{key}.{name}")

    arguments = {
        name: value(name, given) for name, given in neurons.arguments.items() if given is not None
    }
    return NeuronsForm(kind=neurons.kind, name=neurons.name, arguments=arguments)


def _pool(node: Other) -> PoolForm:
    kind = next((kind for kind in POOLS if isinstance(node.layer, getattr(nn, kind))), None)
    if kind is None:
        raise Unsupported(
            f"{node.name}: a packed file has no form of {type(node.layer).__name__}, only of "
            + ", ".join(POOLS)
        )
    given = {name: getattr(node.layer, name) for name in POOLS[kind]}
    return PoolForm.model_validate(
        {
            "name": node.name, "shape": node.shape, "source": node.source,
            "layer": kind, "arguments": given,
        }
    )  # fmt: skip


def _window(w: Window) -> WindowForm:
    return WindowForm(kernel=w.kernel, stride=w.stride, padding=w.padding, dilation=w.dilation)


def _own(value: Tensor) -> Tensor:
    return value.detach().to(torch.float32).contiguous().clone()
