"""What a gradient would pass on its way back."""

from typing import Any

from torch import Tensor


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
