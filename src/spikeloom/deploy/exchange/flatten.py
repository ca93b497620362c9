"""The nodes and edges of a NIR graph, whatever graphs are within it."""

from collections.abc import Mapping
from typing import Any

from spikeloom.deploy.exchange.arrays import OURS
from spikeloom.deploy.exchange.graph import INPUT, OUTPUT, Edge
from spikeloom.registry import Unsupported


def flat(graph: Any, before: str = "") -> tuple[dict[str, Any], list[Edge], dict[str, Any]]:
    """Nodes and edges without graphs in graphs, and our metadata of the outermost one.

    Raises:
        Unsupported: a graph within that has other than one input and one output, or a node whose
            name with the graph's is that of another node.
    """
    nodes: dict[str, Any] = {}
    edges: list[Edge] = []
    entry: dict[str, str] = {}
    leave: dict[str, str] = {}
    for name, node in graph.nodes.items():
        place = f"{before}{name}"
        within = {place: node}
        if type(node).__name__ == "NIRGraph":
            within, inside, _ = flat(node, f"{place}.")
            ends = {kind: [n for n, each in within.items() if type(each).__name__ == kind]
                    for kind in ("Input", "Output")}  # fmt: skip
            if any(len(found) != 1 for found in ends.values()):
                raise Unsupported(
                    f"{place}: a graph within, with other than one input and one output"
                )
            entry[place], leave[place] = ends["Input"][0], ends["Output"][0]
            edges += inside
        if twice := sorted(nodes.keys() & within.keys()):
            raise Unsupported(f"there are two nodes {twice[0]}: of {place}, and one beside it")
        nodes |= within
    edges += [
        (leave.get(f"{before}{a}", f"{before}{a}"), entry.get(f"{before}{b}", f"{before}{b}"))
        for a, b in graph.edges
    ]
    metadata = graph.metadata if isinstance(graph.metadata, dict) else {}
    return nodes, edges, dict(metadata.get(OURS, {}))


def ends_of(nodes: Mapping[str, Any]) -> dict[str, str]:
    """The outermost input and output by their name in the file.

    Raises:
        Unsupported: other than one of each.
    """
    ends = {}
    for kind, own in (("Input", INPUT), ("Output", OUTPUT)):
        found = [name for name, node in nodes.items() if type(node).__name__ == kind]
        outer = [name for name in found if "." not in name] or found
        if len(outer) != 1:
            raise Unsupported(f"a graph with one {kind} can run here, this one has {outer}")
        ends[outer[0]] = own
    return ends
