"""What a gradient would pass on its way back."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge


def nodes_behind(value: Tensor) -> set[Any]:
    """All nodes of the graph that a tensor's gradient would go through."""
    found: set[Any] = set()
    ahead: list[Any] = [value.grad_fn]
    while ahead:
        node = ahead.pop()
        if node is None or node in found:
            continue
        found.add(node)
        ahead += [before for before, _ in node.next_functions]
    return found


def leaves_behind(value: Tensor) -> set[Tensor]:
    """The leaves that a tensor's gradient would reach."""
    nodes = nodes_behind(value)
    return {node.variable for node in nodes if getattr(node, "variable", None) is not None}


def is_sum_of(value: Tensor, parts: Sequence[GradientEdge]) -> bool:
    """Whether a tensor is the one output given, or the sum of all of them and nothing else."""
    missing = [tuple(part[:2]) for part in parts]
    ahead: list[Any] = [tuple(get_gradient_edge(value)[:2])] if value.requires_grad else [(None, 0)]
    while ahead:
        edge = ahead.pop()
        if edge in missing:
            missing.remove(edge)
        elif edge[0] is not None and edge[0].name() == "AddBackward0" and edge[0]._saved_alpha == 1:
            ahead += edge[0].next_functions
        else:
            return False
    return not missing
