"""The plan of a packed network as a table."""

import math

from spikeloom.functional.coded import Coded
from spikeloom.functional.program import AnySpike, Count, Node, Program, Sum, Term

Row = tuple[str, str, str, str, str]
HEAD: Row = ("layer", "shape", "density", "choice", "events")


def table(program: Program) -> str:
    """A line for each product, pooling and addition.

    ``density``: bits set for each value that goes in; ``events``: rows of weights that are added
    up for a sample and a step.
    """
    rows = [HEAD, *(row for node in program.nodes for row in _rows(program, node))]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEAD))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0]), row[1].ljust(widths[1]), row[2].rjust(widths[2])]
        cells += [row[3].ljust(widths[3]), row[4].rjust(widths[4])]
        lines.append("  ".join(cells).rstrip())
    return "\n  ".join([f"{program.in_shape} -> {program.shapes[-1]}", *lines])


def _rows(program: Program, node: Node) -> list[Row]:
    shape = " x ".join(map(str, node.shape))
    if isinstance(node, AnySpike):
        return [(node.name, shape, "", "or of bits", "")]
    if isinstance(node, Count):
        return [(node.name, shape, "", "count of bits", "")]
    if not isinstance(node, Sum):
        return [(node.name, shape, "", "real values", "")]
    return [_product(program, node, term, shape) for term in node.terms]


def _product(program: Program, node: Sum, term: Term, shape: str) -> Row:
    if term.coded is not None:
        counted = f"{bits_a_weight(term.coded):.2g} bit, counted"
        return (node.name, shape, f"{term.density:.1%}", counted, "")
    if term.weight is None:
        return (f"{node.name} (shortcut)", shape, "", "added", "")
    if program.levels[term.source] is None:
        return (node.name, shape, "", "real values", "")
    if term.dense:
        return (node.name, shape, f"{term.density:.1%}", "dense", "")
    seen = math.prod(term.weight.shape[1:]) * node.shape[1] * node.shape[2]
    return (node.name, shape, f"{term.density:.1%}", "gather", f"{seen * term.density:,.0f}")


def bits_a_weight(coded: Coded) -> float:
    """Bits that a weight takes in a file, without codebook and scales."""
    if coded.index is None or coded.codebook is None:
        return 1.0
    return index_bits(len(coded.codebook)) / coded.codebook.shape[1]


def index_bits(codewords: int) -> int:
    """Bits of an index."""
    return max(1, (codewords - 1).bit_length())
