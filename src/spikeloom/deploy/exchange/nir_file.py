"""NIR files: a network out, one in, and whether the two agree on recorded inputs."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from spikeloom import __version__
from spikeloom.deploy.exchange.agreement import Agreement, check, compare, watched
from spikeloom.deploy.exchange.arrays import OURS
from spikeloom.deploy.exchange.conventions import NEURONS, Convention, chain_of, listed, named
from spikeloom.deploy.exchange.flatten import ends_of, flat
from spikeloom.deploy.exchange.graph import INPUT, OUTPUT, Edge, Graph
from spikeloom.deploy.exchange.neurons import Rule, neuron_from, neuron_node, silent_about
from spikeloom.deploy.exchange.package import DamagedFileError, package
from spikeloom.deploy.exchange.pieces import Delay
from spikeloom.deploy.exchange.stateless import checkable, layer_from, stateless_node
from spikeloom.deploy.exchange.unfold import graph_of
from spikeloom.layers import Temporal
from spikeloom.registry import Unsupported

DT = 1e-4  # [s], the step that most readers assume


@dataclass(frozen=True)
class Exported:
    """What was written, and how far it agrees with the network.

    ``notes``: of each layer, what its node does not say and only its metadata do.
    """

    path: Path
    agreement: tuple[Agreement, ...]
    largest_error: float
    notes: Mapping[str, str] = field(default_factory=dict)
    data: Path | None = None

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {
            "path": str(self.path),
            "data": str(self.data) if self.data else None,
            "layers": [each.as_dict() for each in self.agreement],
            "largest_error": self.largest_error,
            "notes": dict(self.notes),
        }


def to_nir(
    model: nn.Module, path: Path | str, sample: Tensor, *, dt: float = DT, rule: Rule = "euler"
) -> Exported:
    """Write a trained network as a NIR file, read it back and compare the spikes.

    Beside ``net.nir`` lies ``net.data.nir``: the sample, the spikes of all neurons and the output,
    as recorded data of the ``nir`` package.

    Args:
        model: layers of ``spikeloom.layers`` and additions between them, or a :class:`Graph`.
        path: where to.
        sample: inputs like those to come.
        dt: length that a step gets [s].
        rule: how time constants come from what a neuron keeps per step: ``euler`` or
            ``exponential``. The choice is for other readers; ours read what is kept.
    Shape:
        sample [T, N, *]
    Returns:
        The agreement of every neuron layer of the file as read back with the model.
    Raises:
        Unsupported: a layer that NIR cannot say, with the reason; ``nir`` is missing; or the file
            read back does something else than the model, and is not kept.
        ValueError: an empty sample, dt <= 0, or another rule.
        OSError: the file cannot be written.
    """
    nir, path = package("nir", "nir"), Path(path)
    if not 0 < dt < float("inf"):
        raise ValueError(f"dt must be > 0 seconds and finite, got {dt}")
    if rule not in ("euler", "exponential"):
        raise ValueError(f"rule must be 'euler' or 'exponential', got {rule!r}")
    if sample.numel() == 0:
        raise ValueError(f"the sample must hold something, got the shape {tuple(sample.shape)}")
    graph = graph_of(model, sample)
    nodes = nir_graph(graph, dt=dt, rule=rule)
    expected = watched(model, sample)
    data = data_of(path)
    with _whole(path) as draft:
        nir.write(str(draft), nodes)
        found = _activations(from_nir(draft), sample)
        agreement = compare(expected, found)
        error = check(agreement, expected[OUTPUT], found[OUTPUT], f"{path}, read back,")
    with _whole(data) as draft:
        nir.write_data(str(draft), _recording(nir, sample, expected, dt))
    return Exported(path, agreement, error, _notes(nodes), data)


def nir_graph(graph: Graph, *, dt: float = DT, rule: Rule = "euler") -> Any:
    """A graph as ``nir.NIRGraph``.

    Raises:
        Unsupported: a layer that NIR cannot say, with the reason.
    """
    nir = package("nir", "nir")
    shapes = _shapes(graph)
    nodes: dict[str, Any] = {INPUT: nir.Input({"input": np.array(graph.in_shape)})}
    for name, layer in graph.named().items():
        if isinstance(layer, Temporal) and not isinstance(layer, Delay):
            nodes[name] = neuron_node(name, layer, shapes[name], dt, rule, nir)
        else:
            before = shapes[graph.sources[name][0][0]]
            nodes[name] = stateless_node(name, layer, before, dt, nir)
    nodes[OUTPUT] = nir.Output({"output": np.array(shapes[OUTPUT])})
    about = {
        "version": __version__,
        "dt": dt,
        "unit": "s",
        "rule": rule,
        "sums": "what enters a node in the same step, in the order of the edges",
        "delayed": "\n".join("\t".join(edge) for edge in graph.delayed),
        "at_rest": graph.at_rest,
    }
    checked = all(map(checkable, nodes.values()))
    edges = [tuple(edge) for edge in graph.edges]
    return nir.NIRGraph(nodes, edges, metadata={OURS: about}, type_check=checked)


def from_nir(
    path: Path | str | Any, *, convention: str | None = None, dt: float | None = None
) -> Graph:
    """Read a NIR file, or a ``nir.NIRGraph``, as a module of Spikeloom layers.

    Files written by :func:`to_nir` say themselves how they are stepped through. All others need the
    name of a convention, as does one of ours that is to be read as another library would.

    Args:
        path: the file.
        convention: ``norse``, ``sinabs``, ``snntorch`` or ``spikingjelly``: as that library reads
            it; ``euler`` or ``exponential``: the equations, with steps of ``dt``.
        dt: length of a step [s]; else the convention's, or the file's.
    Returns:
        A :class:`Graph`: x_seq [T, N, *] -> [T, N, *].
    Raises:
        Unsupported: no convention for a file that needs one, a node that it cannot read, more than
            one input or output; ``nir`` is missing.
        DamagedFileError: the file is no NIR file or contradicts itself.
        FileNotFoundError: it is not there.
        ValueError: dt <= 0.
    """
    if dt is not None and not 0 < dt < float("inf"):
        raise ValueError(f"dt must be > 0 seconds and finite, got {dt}")
    nodes, edges, about = flat(_read(path))
    chosen = named(convention) if convention is not None else None
    if chosen is not None and dt is None:
        dt = chosen.dt
        if dt is None:
            raise Unsupported(f"the convention {chosen.name!r} needs dt, the length of a step [s]")
    elif dt is None and "dt" in about:
        dt = float(about["dt"])
    ends = ends_of(nodes)
    layers: dict[str, nn.Module] = {}
    first: dict[str, str] = {}
    inner: list[Edge] = []
    for name, node in nodes.items():
        if name not in ends:
            chain = _chain(name, node, chosen, dt)
            places = [f"{name}.{suffix}" if suffix else name for suffix, _ in chain]
            if taken := [place for place in places if place != name and place in nodes]:
                raise Unsupported(f"{name}: a part of it would be {taken[0]}, which is a node, too")
            layers |= zip(places, (layer for _, layer in chain), strict=True)
            first[name] = places[0]
            inner += pairwise(places)
    renamed = [
        (ends.get(source, source), ends.get(target, first.get(target, target)))
        for source, target in edges
    ]
    at_rest = chosen.at_rest if chosen is not None else bool(about.get("at_rest", True))
    return _graph(layers, [*renamed, *inner], nodes, ends, about, first, at_rest=at_rest)


def _graph(
    layers: dict[str, nn.Module],
    edges: list[Edge],
    nodes: Mapping[str, Any],
    ends: Mapping[str, str],
    about: Mapping[str, Any],
    first: Mapping[str, str],
    *,
    at_rest: bool,
) -> Graph:
    entry = next(node for name, node in nodes.items() if ends.get(name) == INPUT)
    (shape,) = entry.input_type.values()
    delayed = None
    if "delayed" in about:
        pairs = [line.split("\t") for line in str(about["delayed"]).splitlines()]
        delayed = [(source, first.get(target, target)) for source, target in pairs]
    try:
        in_shape = tuple(int(size) for size in np.atleast_1d(shape))
        graph = Graph(layers, edges, in_shape=in_shape, delayed=delayed, at_rest=at_rest)
        _shapes(graph)
        return graph
    except ValueError as error:
        raise DamagedFileError(f"this graph cannot run: {error}") from error


def data_of(path: Path) -> Path:
    """Where the recorded data of a file lie: ``net.data.nir`` beside ``net.nir``."""
    return path.with_suffix(f".data{path.suffix}")


def verify(
    path: Path | str,
    data: Path | str | None = None,
    *,
    convention: str | None = None,
    dt: float | None = None,
) -> tuple[Agreement, ...]:
    """Run a file on the inputs recorded with it, and compare what its nodes put out.

    Args:
        path: the file.
        data: the recorded data; ``net.data.nir`` beside ``net.nir`` unless told otherwise.
        convention: as in :func:`from_nir`, for files that are not ours.
        dt: likewise.
    Raises:
        DamagedFileError: one of the files cannot be read, or they do not belong together.
        FileNotFoundError: one is not there.
        Unsupported: a file that needs a convention, and none is given.
    """
    nir, path = package("nir", "nir"), Path(path)
    graph = from_nir(path, convention=convention, dt=dt)
    ends = ends_of(flat(_read(path))[0])
    data = Path(data) if data is not None else data_of(path)
    with _reading(data):
        found = nir.read_data(str(data)).nodes
        values = {ends.get(name, name): _unrecorded(node) for name, node in found.items()}
        x_seq = values[INPUT].unflatten(2, graph.in_shape).float()
    own = _activations(graph, x_seq)
    if missing := values.keys() - own.keys():
        raise DamagedFileError(f"{data} records {', '.join(sorted(missing))}, which {path} lacks")
    return compare(values, own)


def _read(path: Any) -> Any:
    nir = package("nir", "nir")
    if isinstance(path, nir.NIRGraph):
        return path
    with _reading(Path(path)):
        graph = nir.read(str(path), type_check=False)
        if not isinstance(graph, nir.NIRGraph):
            raise DamagedFileError(f"{path} holds a {type(graph).__name__}, expected a graph")
        return graph


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    try:
        yield
    except (OSError, KeyError, ValueError, TypeError, AssertionError, AttributeError) as error:
        if isinstance(error, DamagedFileError):
            raise
        raise DamagedFileError(f"{path} is no NIR file that can be read: {error!r}") from error


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """A draft that takes the place of the file once it is complete."""
    draft = path.with_name(f".{path.name}.part")
    try:
        yield draft
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _chain(
    name: str, node: Any, chosen: Convention | None, dt: float | None
) -> list[tuple[str, nn.Module]]:
    kind = type(node).__name__
    if kind in ("Input", "Output"):  # of a graph within
        return [("", nn.Identity())]
    if kind not in NEURONS:
        try:
            return [("", layer_from(name, node, dt))]
        except (Unsupported, DamagedFileError):
            raise
        except (ValueError, TypeError, KeyError, IndexError) as error:
            raise DamagedFileError(f"{name}: this {kind} cannot be read: {error!r}") from error
    about = (node.metadata or {}).get(OURS)
    if chosen is not None:
        assert dt is not None
        return chain_of(name, node, chosen, dt)
    if about is not None:
        return [("", neuron_from(name, node, about))]
    raise Unsupported(
        f"{name}: this {kind} does not say how it is stepped through, and libraries differ; name "
        f"the convention of the one that wrote it:\n{listed()}"
    )


def _shapes(graph: Graph) -> dict[str, tuple[int, ...]]:
    """[*] of what every layer puts out."""
    x_seq = torch.zeros(1, 1, *graph.in_shape)
    return {name: tuple(y.shape[2:]) for name, y in _activations(graph, x_seq).items()}


def _activations(graph: Graph, x_seq: Tensor) -> dict[str, Tensor]:
    with torch.no_grad():
        return graph.activations(x_seq)


def _recording(nir: Any, sample: Tensor, expected: Mapping[str, Tensor], dt: float) -> Any:
    """Inputs, spikes and output in the form of nir: samples, steps, values."""
    nodes = {}
    for name, value in {INPUT: sample, **expected}.items():
        array = value.flatten(2).transpose(0, 1).contiguous().numpy()
        spikes = name not in (INPUT, OUTPUT)
        grid = nir.TimeGriddedData(array.astype(bool) if spikes else array, dt)
        nodes[name] = nir.NIRNodeData({"spikes" if spikes else "value": grid})
    return nir.NIRGraphData(nodes)


def _unrecorded(node: Any) -> Tensor:
    (grid,) = node.observables.values()
    return torch.from_numpy(np.asarray(grid.data)).transpose(0, 1)


def _notes(graph: Any) -> dict[str, str]:
    found = {
        name: silent_about(node.metadata[OURS])
        for name, node in graph.nodes.items()
        if OURS in node.metadata
    }
    return {name: ", ".join(notes) for name, notes in found.items() if notes}
