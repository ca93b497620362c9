"""A NIR file as a model that recipes can name."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from spikeloom.deploy import Graph, from_nir
from spikeloom.deploy.exchange.graph import INPUT
from spikeloom.layers import OverTime
from spikeloom.registry import register

FLAT = "flattened"


@register("model", "nir", status="exact")
def nir_model(
    *,
    file: Path,
    convention: str | None = None,
    dt: float | None = None,
    in_shape: tuple[int, ...],
    num_classes: int,
) -> Graph:
    """The network in a NIR file, stepped through as a convention says.

    Args:
        file: the NIR file.
        convention: as in :func:`~spikeloom.deploy.from_nir`; needed unless the file is ours.
        dt: length of a step [s], where the convention does not say it.
        in_shape: of one sample; images are flattened if the network takes vectors of that length.
        num_classes: K, which the network must put out.
    Shape:
        x_seq [T, N, *in_shape] -> [T, N, K]
    Raises:
        ValueError: inputs or classes that the network does not have; a file that cannot be read.
        Unsupported: no convention for a file that needs one; a node that cannot be read.
    """
    try:
        graph = from_nir(file, convention=convention, dt=dt)
    except FileNotFoundError as error:
        raise ValueError(str(error)) from error
    if graph.in_shape != tuple(in_shape):
        if graph.in_shape != (torch.Size(in_shape).numel(),):
            raise ValueError(
                f"{file} takes samples of shape {graph.in_shape}, the data have {tuple(in_shape)}"
            )
        graph = _flattening(graph, in_shape)
    with torch.no_grad():
        found = tuple(graph(torch.zeros(1, 1, *in_shape)).shape[2:])
    if found != (num_classes,):
        raise ValueError(f"{file} puts out {found}, the data have {num_classes} classes")
    return graph


def _flattening(graph: Graph, in_shape: Sequence[int]) -> Graph:
    """The graph behind a layer that flattens images."""

    def moved(edge: tuple[str, str]) -> tuple[str, str]:
        return (FLAT, edge[1]) if edge[0] == INPUT else edge

    layers = {FLAT: OverTime(nn.Flatten()), **graph.named()}
    edges = [(INPUT, FLAT), *map(moved, graph.edges)]
    delayed = [*map(moved, graph.delayed)]
    return Graph(layers, edges, in_shape=in_shape, delayed=delayed, at_rest=graph.at_rest)


__all__ = ["nir_model"]
