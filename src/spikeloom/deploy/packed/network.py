"""Inference on bits: a trained network as a program that keeps its spikes as single bits."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from spikeloom.deploy.fold import Folder
from spikeloom.deploy.packed.limits import with_limits
from spikeloom.deploy.packed.plan import table
from spikeloom.deploy.record import recorded
from spikeloom.functional.program import Node, Program, Sum, Term, activations, bits_set
from spikeloom.functional.sequence import check_sequence
from spikeloom.kernels.program import Runner
from spikeloom.layers import TokenMixing
from spikeloom.registry import Unsupported

BREAK_EVEN = 0.6  # bits set for each value, from which on products of all values are faster


class Packed(nn.Module):
    """A trained feed-forward network whose spikes are single bits from first neuron to read-out.

    Made by :func:`infer`; ``print`` shows the plan. It has no parameters, learns nothing and runs
    on the CPU.

    Args:
        program: what it computes.
    Shape:
        x_seq [T, N, *] -> logits_seq [T, N, K]
    """

    def __init__(self, program: Program) -> None:
        super().__init__()
        self.program = program
        self.runner = Runner(program)

    def forward(self, x_seq: Tensor) -> Tensor:
        return self.runner(x_seq)

    def __repr__(self) -> str:
        return f"Packed: {table(self.program)}"


def infer(
    model: nn.Module, sample: Tensor, *, break_even: float = BREAK_EVEN, steps: int | None = None
) -> Packed:
    """Pack a trained network: norms folded into weights, spikes kept as bits.

    The model is run once on the sample, in evaluation mode, to see what it consists of and how many
    of its spikes are set. A layer sums the weights of set bits where these are few, and multiplies
    all values where they are many; weights of one bit and less stay so, and set bits are counted.
    The result equals the model's but for rounding: a spike can
    differ only where the potential lies within rounding of the threshold. A packed network computes
    in float32 and answers in it, whatever dtype the model and its input have.

    Args:
        model: layers of ``spikeloom.layers`` and additions between them; it is not changed, and
            later changes of it do not reach what was packed.
        sample: inputs like those to come [v_threshold].
        break_even: set bits for each value, from which on a layer multiplies all values.
        steps: the only T to come, if there is one: for T = 1, scales and norms of layers of one bit
            and less become whole thresholds, see ``packed.limits.with_limits``.
    Shape:
        sample [T, N, *]; any T and N later
    Returns:
        A module: x_seq [T, N, *] -> logits_seq [T, N, K] in float32.
    Raises:
        Unsupported: a layer cannot be packed, says which and why; the sample is not on the CPU.
        ValueError: no time axis, or an empty sample.
    Example:
        >>> from spikeloom.layers import LIF, OverTime
        >>> model = nn.Sequential(OverTime(nn.Linear(9, 8)), LIF(), OverTime(nn.Linear(8, 3)))
        >>> x_seq = torch.rand(4, 2, 9)
        >>> torch.allclose(infer(model, x_seq)(x_seq), model(x_seq), atol=1e-5)
        True
    """
    check_sequence(sample)
    if sample.numel() == 0:
        raise ValueError(f"the sample must hold something, got the shape {tuple(sample.shape)}")
    if sample.device.type != "cpu":
        raise Unsupported(
            f"packed networks run on the CPU; move the model there from {sample.device}"
        )
    try:
        noted, out = recorded(model, sample)
        program = Folder(tuple(sample.shape[2:]), noted, out, also=(TokenMixing,)).program()
    except Unsupported as error:
        raise Unsupported(f"this network cannot be packed: {error}") from error
    program = planned(program, sample, break_even)
    return Packed(with_limits(program) if steps == 1 else program)


def planned(program: Program, sample: Tensor, break_even: float) -> Program:
    """The program with the densities that the sample has, and a choice for every product."""
    densities = [1.0]
    with torch.no_grad():
        for index, value in enumerate(activations(program, sample), start=1):
            level = program.levels[index]
            scale = program.scales[index]
            densities.append(1.0 if level is None else bits_set(value, scale, level))
    nodes = tuple(_planned(node, program, densities, break_even) for node in program.nodes)
    return replace(program, nodes=nodes)


def _planned(node: Node, program: Program, densities: list[float], break_even: float) -> Node:
    if not isinstance(node, Sum):
        return node

    def choose(term: Term) -> Term:
        density = densities[term.source]
        spikes = program.levels[term.source] is not None
        dense = spikes and term.weight is not None and density > break_even
        return replace(term, density=density, dense=dense)

    return replace(node, terms=tuple(map(choose, node.terms)))
