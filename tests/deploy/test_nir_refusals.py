"""NIR: files and graphs that are damaged, contradict themselves or cannot run are refused."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from spikeloom.deploy import (
    DamagedFileError,
    Graph,
    Unsupported,
    from_nir,
    nir_graph,
    to_nir,
    verify,
)
from spikeloom.functional import exponential
from spikeloom.layers import (
    LIF,
    Linear,
    OverTime,
)

nir = pytest.importorskip("nir")
T, N = 4, 3


def test_a_neuron_that_keeps_nothing_has_no_exponential_time_constant(tmp_path):
    net = nn.Sequential(OverTime(Linear(3, 2)), LIF(decay=exponential(1e-9)))
    with pytest.raises(Unsupported, match="1: keeps 0 to 0 of its state"):
        to_nir(net, tmp_path / "net.nir", torch.rand(2, 2, 3), rule="exponential")
    assert not list(tmp_path.iterdir())


def test_damaged_files_are_refused(tmp_path):
    path = tmp_path / "net.nir"
    with pytest.raises(FileNotFoundError):
        from_nir(path)
    path.write_bytes(b"no HDF5")
    with pytest.raises(DamagedFileError, match="no NIR file"):
        from_nir(path)
    net = nn.Sequential(OverTime(Linear(3, 2)), LIF())
    to_nir(net, path, torch.rand(2, 2, 3))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DamagedFileError):
        from_nir(path)
    path.write_bytes(whole)
    path.with_suffix(".data.nir").write_bytes(b"")
    with pytest.raises(DamagedFileError):
        verify(path)


ONE = np.ones(3)
SPIKES = nir.LIF(2 * ONE, ONE, 0 * ONE, ONE)
MAP = nir.Affine(np.ones((3, 3)), ONE)


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ({"a": nir.Affine(np.ones((5, 3)), np.ones(5)), "b": SPIKES}, r"b.* of shape \(5,\)"),
        ({"a": nir.Affine(np.ones((3, 4)), ONE), "b": SPIKES}, r"a cannot .* of shape \(3,\)"),
        ({"a": nir.Conv2d((4, 4), np.ones((3, 2, 3, 3)), 1, 0, 1, 1, ONE)}, "a cannot take"),
        ({"a": nir.Affine(np.full((3, 3), np.nan), ONE)}, "a: this Affine .* NaN"),
        ({"a": nir.Delay(-ONE)}, "a: delays of -1 to -1 steps"),
        ({"a": nir.LIF(0 * ONE, ONE, 0 * ONE, ONE)}, "a: LIF does not work .* keep must be"),
        ({"a": SPIKES, "a.drive": MAP}, "a: a part of it would be a.drive"),
        ({"a.input": MAP, "a": nir.NIRGraph.from_list(SPIKES)}, "two nodes a.input"),
    ],
)
def test_files_whose_nodes_do_not_fit_are_refused_by_name(nodes, words):
    """None of them ends in an error of torch or numpy, or in a warning."""
    row = {"input": nir.Input(np.array([3])), **nodes, "output": nir.Output(np.array([3]))}
    row["input"].input_type = {"input": np.array([3])}
    graph = nir.NIRGraph(row, [*pairwise(row)], type_check=False)
    with pytest.raises((Unsupported, DamagedFileError), match=words):
        from_nir(graph, convention="euler", dt=1.0)


def test_what_enters_a_node_has_one_shape():
    layers = {"a": OverTime(Linear(3, 1)), "b": LIF()}
    edges = [("input", "a"), ("input", "b"), ("a", "b"), ("b", "output")]
    with pytest.raises(ValueError, match=r"b gets samples of shapes \[\(3,\), \(1,\)\]"):
        Graph(layers, edges, in_shape=(3,))(torch.rand(T, N, 3))


def test_a_node_that_contradicts_its_metadata_is_refused():
    graph = nir_graph(Graph({"a": LIF()}, [("input", "a"), ("a", "output")], in_shape=(2,)))
    graph.nodes["a"].tau = 2 * graph.nodes["a"].tau
    with pytest.raises(DamagedFileError, match="its tau is not what its metadata say"):
        from_nir(graph)
    del graph.nodes["a"].metadata["spikeloom"]["fires"]
    with pytest.raises(DamagedFileError, match="metadata are damaged"):
        from_nir(graph)


def test_without_the_package_the_error_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "nir", None)
    with pytest.raises(Unsupported, match=r"pip install 'spikeloom\[nir\]'"):
        from_nir(tmp_path / "net.nir")
    with pytest.raises(Unsupported, match=r"pip install 'spikeloom\[nir\]'"):
        to_nir(nn.Identity(), tmp_path / "net.nir", torch.rand(2, 2, 3))


def test_graphs_that_cannot_run_are_refused():
    with pytest.raises(ValueError, match="leads to no layer"):
        Graph({"a": LIF()}, [("input", "b")], in_shape=(2,))
    with pytest.raises(ValueError, match="there twice"):
        Graph({"a": LIF()}, [("input", "a"), ("input", "a"), ("a", "output")], in_shape=(2,))
    with pytest.raises(ValueError, match="nothing enters a"):
        Graph({"a": LIF()}, [("a", "output")], in_shape=(2,))
    graph = Graph({"a": LIF()}, [("input", "a"), ("a", "output")], in_shape=(2,))
    with pytest.raises(ValueError, match=r"built for samples of shape \(2,\)"):
        graph(torch.rand(2, 2, 3))
